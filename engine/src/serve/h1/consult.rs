//! Asking the plugins in Python about a request, before it is identified.

use super::{Connection, Next, Scratch, local};
use crate::failure::Failure;
use crate::mail::Outgoing;
use crate::plugin::{self, Advice, PluginPlan};
use crate::stats::Counted;
use crate::wire::h1::{Parse, RequestHead};

/// A filter's own answer is no longer than this.
const REPLY_BYTES_MAX: usize = 1 << 20;

/// What the plugins have made of a request.
enum Consulted {
    /// Its head is this long now.
    Go(usize),
    /// A filter has answered with this status.
    Replied { status: u16, next: Next },
}

/// Asks, and gives the length of the head that goes on, or what comes after a request that is answered already.
pub(super) async fn step(
    connection: &mut Connection<'_>,
    scratch: &mut Scratch,
    head_length: usize,
    plan: &PluginPlan,
    started_us: u64,
) -> Result<usize, Next> {
    match consult(connection, scratch, head_length, plan).await {
        Ok(Consulted::Go(length)) => Ok(length),
        Ok(Consulted::Replied { status, next }) => {
            let stats = &connection.server.stats[connection.worker.index];
            let took_us = connection.worker.now_us() - started_us;
            stats.finish(status, took_us, Counted::of(status, None));
            stats.received_bytes.add(scratch.input.take_count());
            Err(next)
        }
        Err(failure) => Err(connection.refuse(scratch, &failure, Some(head_length)).await),
    }
}

/// Asks, and does as the plugins say; a caller that has gone is not waited for.
async fn consult(
    connection: &mut Connection<'_>,
    scratch: &mut Scratch,
    head_length: usize,
    plan: &PluginPlan,
) -> Result<Consulted, Failure> {
    let server = connection.server;
    let advice = {
        let letter = |ticket| letter(ticket, connection, scratch);
        let consultations = &server.router.consultations;
        let mut waiting = consultations
            .ask(plan.max_waiting, letter)
            .ok_or_else(Failure::overloaded)?;
        // Python has the same limit, and tells which plugin it was; this one is for a loop that stands still.
        let timeout_ms = plan.timeout_ms + 250;
        tokio::select! {
            biased;
            advice = &mut waiting.advice => advice.map_err(|_| Failure::plugin("the plugins are gone"))?,
            paused = connection.pause(timeout_ms) => {
                paused?;
                return Err(Failure::plugin("the plugins took too long"));
            }
        }
    };
    match advice {
        Advice::Go { remove, add, names } => {
            let head_length = if remove.is_empty() && add.is_empty() {
                head_length
            } else {
                rewrite(connection, scratch, head_length, &remove, &add)?
            };
            scratch.named = names;
            Ok(Consulted::Go(head_length))
        }
        Advice::Reply { status, headers, body } => {
            let mut fields = Vec::new();
            let sound = headers
                .iter()
                .all(|(name, value)| plugin::push_header(name, value, &mut fields));
            let bytes: Option<Vec<u8>> = body.chars().map(|character| u8::try_from(character).ok()).collect();
            let bytes = bytes
                .filter(|bytes| sound && (200..600).contains(&status) && fields.len() + bytes.len() <= REPLY_BYTES_MAX);
            let bytes = bytes.ok_or_else(|| Failure::plugin("a filter's answer is no valid response"))?;
            let next = local::answer(connection, scratch, status, &fields, &bytes, Some(head_length)).await;
            Ok(Consulted::Replied { status, next })
        }
        Advice::Failed { message } => Err(Failure::plugin(&message)),
        Advice::Class { .. } => Err(Failure::plugin("the plugins gave what was not asked for")),
    }
}

fn letter(ticket: u64, connection: &Connection<'_>, scratch: &Scratch) -> Outgoing {
    let bytes = scratch.input.bytes();
    let request = &scratch.request;
    Outgoing::Consult {
        ticket,
        router: connection.server.router.plan.label.clone(),
        method: plugin::as_text(request.method_span.get(bytes)),
        target: plugin::as_text(request.target.get(bytes)),
        headers: plugin::fields_as_text(&request.headers, bytes),
        peer: connection.peer.to_string(),
        local: connection.server.address.to_string(),
        answered: None,
    }
}

/// Writes the head anew, and reads it again as if the caller had sent it so; gives back its length.
fn rewrite(
    connection: &Connection<'_>,
    scratch: &mut Scratch,
    head_length: usize,
    remove: &[String],
    add: &[(String, String)],
) -> Result<usize, Failure> {
    let bad = || Failure::plugin("a filter changed headers that it may not change, or made the head too large");
    let Scratch { input, request, .. } = scratch;
    let bytes = input.bytes();
    let mut head = Vec::with_capacity(head_length + 256);
    head.extend_from_slice(request.method_span.get(bytes));
    head.push(b' ');
    head.extend_from_slice(request.target.get(bytes));
    head.extend_from_slice(match request.version {
        crate::wire::h1::Version::Http10 => b" HTTP/1.0\r\n",
        crate::wire::h1::Version::Http11 => b" HTTP/1.1\r\n",
    });
    if !remove.iter().all(|name| plugin::may_set(name)) {
        return Err(bad());
    }
    for header in &request.headers {
        let name = header.name.get(bytes);
        if !remove.iter().any(|gone| gone.as_bytes().eq_ignore_ascii_case(name)) {
            head.extend_from_slice(header.line.get(bytes));
        }
    }
    if !add
        .iter()
        .all(|(name, value)| plugin::push_header(name, value, &mut head))
    {
        return Err(bad());
    }
    head.extend_from_slice(b"\r\n");
    // Read aside first: on failure what the caller has sent is as it was, and the connection can go on.
    let limits = &connection.server.limits;
    let complete = |parsed| matches!(parsed, Ok(Parse::Complete(length)) if length == head.len());
    if !complete(RequestHead::default().parse(&head, limits)) || !input.replace(head_length, &head) {
        return Err(bad());
    }
    request.clear();
    if !complete(request.parse(input.bytes(), limits)) {
        return Err(bad());
    }
    Ok(head.len())
}
