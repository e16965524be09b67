//! Responses that we make ourselves.

use super::relay::{NEVER, Waits, shorter_or_never};
use super::{Connection, Next, Scratch};
use crate::classify::Class;
use crate::failure::{Cause, Failure};
use crate::wire::h1::{Body, Method, Version};
use crate::wire::text::clip;

/// Tells the caller why its request failed; without `head_length` its head could not be read, and the connection ends.
pub(super) async fn answer_failure(
    connection: &mut Connection<'_>,
    scratch: &mut Scratch,
    failure: &Failure,
    head_length: Option<usize>,
) -> Next {
    if failure.cause == Cause::Cancelled {
        return Next::Close;
    }
    let limits = &connection.server.router.plan.http;
    // An edge tells strangers nothing of what is inside (reference/linker.md §5.7).
    let withheld = connection
        .server
        .plan
        .withhold_errors
        .then(|| withhold(connection, failure));
    let edge = connection.server.plan.clear_context && withheld.is_none();
    let message = withheld.as_ref().unwrap_or(&failure.message);
    let body = if edge {
        ""
    } else {
        clip(message, limits.max_error_body_bytes)
    };
    let mut fields: Vec<u8> = Vec::new();
    if !edge {
        fields.extend_from_slice(b"l5d-err: ");
        let start = fields.len();
        form_encode(message, &mut fields);
        // Half of what a head may hold, so that the next linker on the way can take it too.
        fields.truncate(start + limits.max_head_bytes / 2);
        fields.extend_from_slice(b"\r\n");
    }
    if failure.retryable && !edge && withheld.is_none() {
        fields.extend_from_slice(b"l5d-retryable: true\r\n");
    }
    if failure.cause == Cause::Rejected {
        fields.extend_from_slice(b"finagle-http-nack: true\r\nRetry-After: 0\r\n");
    }
    if let Some(seconds) = failure.retry_after_s {
        fields.extend_from_slice(format!("Retry-After: {seconds}\r\n").as_bytes());
    }
    fields.extend_from_slice(b"Content-Type: text/plain\r\n");
    answer(
        connection,
        scratch,
        failure.status,
        &fields,
        body.as_bytes(),
        head_length,
    )
    .await
}

/// What a stranger is told of a failure: its status and room, and an id under which the operator finds the rest.
fn withhold(connection: &Connection<'_>, failure: &Failure) -> String {
    let room = failure.room.name().to_ascii_uppercase();
    let code = format!("Biandou error {} {room}", failure.status);
    if matches!(failure.cause, Cause::Rejected | Cause::RateLimited) {
        // These come in floods, and say all there is to say.
        return code;
    }
    let Connection { worker, server, .. } = connection;
    let id = format!("{:016x}", worker.random.borrow_mut().u64(..));
    worker.outbox.withheld(&id, &server.router.plan.label, failure);
    format!("{code} id={id}")
}

/// Answers with a bare status (`/$/io.buoyant.http.status/<code>`).
pub(super) async fn answer_status(
    connection: &mut Connection<'_>,
    scratch: &mut Scratch,
    status: u16,
    class: Class,
    head_length: usize,
) -> Next {
    let fields: &[u8] = match class {
        _ if connection.server.plan.clear_context => b"",
        Class::Success => b"l5d-success-class: 1.0\r\n",
        _ => b"l5d-success-class: 0.0\r\n",
    };
    answer(connection, scratch, status, fields, b"", Some(head_length)).await
}

pub(super) async fn answer(
    connection: &mut Connection<'_>,
    scratch: &mut Scratch,
    status: u16,
    fields: &[u8],
    body: &[u8],
    head_length: Option<usize>,
) -> Next {
    let request = &scratch.request;
    let next = match head_length {
        // A body that has not come yet is not waited for.
        Some(length) if request.keep_alive && skip_body(scratch, length) && !connection.is_draining() => Next::Request,
        _ => Next::Close,
    };
    let head_only = head_length.is_some() && scratch.request.method == Method::Head;
    let back = &mut scratch.back;
    back.clear();
    super::response::push_status_line(back, status, reason(status).as_bytes());
    back.extend_from_slice(fields);
    if !(100..200).contains(&status) && status != 204 {
        super::response::push_content_length(back, body.len() as u64);
    }
    if next == Next::Close {
        back.extend_from_slice(b"Connection: close\r\n");
    } else if scratch.request.version == Version::Http10 {
        back.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    back.extend_from_slice(b"\r\n");
    if !head_only && status != 204 && status != 304 {
        back.extend_from_slice(body);
    }
    let stats = &connection.server.stats[connection.worker.index];
    stats.sent_bytes.add(back.len() as u64);
    let Connection {
        worker, server, pulse, ..
    } = *connection;
    let waits = Waits {
        worker,
        pulse,
        deadline: &pulse.main,
        stall_ms: shorter_or_never(server.plan.stall_ms(), server.plan.socket.write_timeout_ms),
        silence_ms: NEVER,
        idle_ms: NEVER,
        until_ms: NEVER,
    };
    match waits.write(&mut connection.stream, back).await {
        Ok(()) => next,
        Err(_gone) => Next::Cut,
    }
}

/// Steps over a request whose body is here whole; false if the rest has yet to come.
fn skip_body(scratch: &mut Scratch, head_length: usize) -> bool {
    let body_length = match scratch.request.body {
        Body::None => 0,
        Body::Exact(length) if length <= (scratch.input.len() - head_length) as u64 => length as usize,
        _ => return false,
    };
    scratch.input.consume(head_length + body_length);
    true
}

/// Writes text as form data in ISO-8859-1, as `l5d-err` carries it (reference/linker.md §5.1).
fn form_encode(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for character in text.chars() {
        match u8::try_from(u32::from(character)) {
            Ok(b' ') => out.push(b'+'),
            Ok(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'*' | b'_' | b'-') => out.push(byte),
            Ok(byte) => {
                out.push(b'%');
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
            Err(_) => out.extend_from_slice(b"%3F"),
        }
    }
}

/// The reason phrase of a status.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l5d_err_is_form_data() {
        let mut out = Vec::new();
        form_encode("Unable to route: /svc/a\n\u{e9}\u{4e2d}", &mut out);
        assert_eq!(out, b"Unable+to+route%3A+%2Fsvc%2Fa%0A%E9%3F");
    }
}
