//! One HTTP/1 connection from a caller, from its first request to its last.

mod answer;
mod attempt;
mod classified;
mod consult;
mod exchange;
pub mod forwarded;
mod local;
mod pause;
mod relay;
mod request;
mod response;
mod streaming;
mod upgrade;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::access_log::Entry;
use crate::failure::{Cause, Failure};
use crate::plan::NotHttpPlan;
use crate::plugin::Named;
use crate::route::{self, BoundTo, Routed};
use crate::router::Server;
use crate::serve::buffer::Buffer;
use crate::serve::detect::{self, Beginning};
use crate::serve::pulse::{Interrupt, Pulse};
use crate::serve::{handshake, original, tcp};
use crate::stats::Counted;
use crate::stream::Stream;
use crate::wire::h1::{Parse, RequestHead, ResponseHead};
use crate::worker::Worker;
use exchange::H1Exchange;
use relay::shorter;

/// Bytes read from a caller, or from an endpoint, at once.
const READ_BYTES: usize = 16 * 1024;
/// How long we read from a caller that is still sending what nobody wants, so that it can read our answer: in all, and without
/// a byte from it.
const LINGER_MS: u64 = 30_000;
const LINGER_SILENCE_MS: u64 = 2000;

/// The working memory of one request; kept by the worker while a connection is idle.
#[derive(Debug)]
pub struct Scratch {
    /// From the caller.
    input: Buffer,
    request: RequestHead,
    /// To the endpoint.
    output: Vec<u8>,
    /// From the endpoint.
    reply: Buffer,
    response: ResponseHead,
    /// To the caller.
    back: Vec<u8>,
    /// The service name and the request's own dtab, and where the first ends.
    key: Vec<u8>,
    path_end: usize,
    head_room: usize,
    /// The request's part of its line in the access log.
    access: Entry,
    /// What the identifiers in Python have said of the request.
    named: Vec<Named>,
    /// The host that the caller asked for, where the endpoint is asked for another.
    asked_host: Vec<u8>,
}

impl Scratch {
    /// Makes working memory for heads of up to `head_room` bytes.
    pub fn new(head_room: usize) -> Self {
        let room = READ_BYTES.max(head_room + 1024);
        Self {
            input: Buffer::new(room),
            request: RequestHead::default(),
            output: Vec::with_capacity(READ_BYTES),
            reply: Buffer::new(room),
            response: ResponseHead::default(),
            back: Vec::with_capacity(READ_BYTES),
            key: Vec::with_capacity(256),
            path_end: 0,
            head_room,
            access: Entry::default(),
            named: Vec::new(),
            asked_host: Vec::new(),
        }
    }

    /// Whether heads of `head_room` bytes fit.
    pub fn holds(&self, head_room: usize) -> bool {
        self.head_room >= head_room
    }

    /// Forgets the last request, and gives back memory that only an unusual one needed.
    pub fn reset(&mut self) {
        self.input.clear();
        self.reply.clear();
        self.request.clear();
        self.response.clear();
        self.access.reset();
        self.named = Vec::new();
        for bytes in [&mut self.output, &mut self.back, &mut self.key] {
            bytes.clear();
            bytes.shrink_to(4 * READ_BYTES);
        }
    }
}

/// Whether the connection serves another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Request,
    /// Close, but let the caller read what we wrote although it may still be sending.
    Close,
    /// Close at once so that the caller sees that the response is cut.
    Cut,
}

/// Why a connection is not served any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Closed,
    /// A request has come, and there is a new plan to serve it by.
    Replanned,
}

struct Connection<'a> {
    worker: &'a Worker,
    server: &'a Server,
    /// The worker's count of plans when `server` was looked up.
    changes: u64,
    pulse: &'a Pulse,
    stream: Stream,
    peer: SocketAddr,
    /// Where it was on its way to before it was redirected here, if an identifier wants to know.
    original: Option<Box<SocketAddr>>,
    opened_ms: u64,
}

/// Serves a connection until either side is done with it.
// An async fn would hold what it is given twice, for as long as the connection lives.
#[allow(clippy::manual_async_fn)]
pub fn serve(
    worker: Rc<Worker>,
    server: Arc<Server>,
    stream: TcpStream,
    peer: SocketAddr,
    pulse: Rc<Pulse>,
) -> impl Future<Output = ()> {
    async move {
        let stats = server.stats[worker.index].clone();
        stats.connects.add(1);
        let admitted = server.admitted();
        let opened_ms = worker.tick_ms();
        // A connection that is gone already needs no options.
        if crate::endpoint::connect::apply(&stream, &server.plan.socket).is_ok() {
            let mut original = original::wanted(&server.router, &stream, server.address).map(Box::new);
            let stream = match (&server.plan.not_http, &server.tls) {
                (None, None) => Some(Stream::Plain(stream)),
                // Boxed, since both are large and soon over.
                (_, Some(tls)) => Box::pin(handshake::accept(&worker, &server, tls, stream, &pulse)).await,
                (Some(plan), None) => Box::pin(pass_other(&worker, &server, plan, stream, peer, &pulse)).await,
            };
            let Some(mut stream) = stream else {
                drop(admitted);
                stats.count_close(worker.tick_ms() - opened_ms);
                return;
            };
            stream.look();
            let _encrypted = matches!(stream, Stream::Tls(_)).then(|| handshake::Encrypted::new(&stats));
            let mut server = server;
            loop {
                // A server that was removed keeps its rules for what it still does.
                server = worker.server(server.id).unwrap_or(server);
                let mut connection = Connection {
                    worker: &worker,
                    server: &server,
                    changes: worker.changes(),
                    pulse: &pulse,
                    stream,
                    peer,
                    original: original.take(),
                    opened_ms,
                };
                if connection.run().await == Ended::Closed {
                    break;
                }
                (stream, original) = (connection.stream, connection.original);
            }
        }
        drop(admitted);
        stats.count_close(worker.tick_ms() - opened_ms);
    }
}

/// Has a connection passed on that does not speak HTTP; gives one back that does.
async fn pass_other(
    worker: &Worker,
    server: &Server,
    plan: &NotHttpPlan,
    stream: TcpStream,
    peer: SocketAddr,
    pulse: &Pulse,
) -> Option<Stream> {
    let beginning = detect::beginning(&stream, plan.silence_ms).await;
    if beginning == Beginning::Http {
        return Some(Stream::Plain(stream));
    }
    let router = worker.labelled(&plan.router)?;
    let connection = tcp::Connection {
        worker,
        server,
        router: &router,
        pulse,
        peer,
        original: original::wanted(&router, &stream, server.address),
        // Who has been silent for so long is not waited for once more.
        hello_ms: if beginning == Beginning::Silence {
            0
        } else {
            plan.silence_ms
        },
    };
    connection.pass(&mut Stream::Plain(stream)).await;
    None
}

/// A request that the server has taken; counted out also when its task is dropped.
struct Admitted<'a>(&'a Server, usize);

impl<'a> Admitted<'a> {
    /// Counts a request in, unless the server has its fill, or had it lately.
    fn to(server: &'a Server, worker: usize, scratch: &Scratch, now_us: u64) -> Result<Self, Failure> {
        if !server.admit_request() {
            return Err(Failure::overloaded());
        }
        let stats = &server.stats[worker];
        stats.pending.add(1);
        let admitted = Self(server, worker);
        if let Some(limit) = &server.limit {
            let value_of = |header: &str| scratch.request.sole_value(header, scratch.input.bytes());
            limit
                .take(now_us, value_of)
                .inspect_err(|_| stats.rate_limited.add(1))?;
        }
        Ok(admitted)
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        let Self(server, worker) = self;
        server.stats[*worker].pending.sub(1);
        server.release_request();
    }
}

impl Connection<'_> {
    async fn run(&mut self) -> Ended {
        loop {
            if !self.wait_for_request().await {
                return Ended::Closed;
            }
            if self.worker.changes() != self.changes {
                return Ended::Replanned;
            }
            let mut scratch = self.worker.scratch(self.server);
            let next = self.serve_requests(&mut scratch).await;
            let owed = !scratch.input.is_empty();
            self.worker.reuse(scratch);
            match next {
                Next::Request => {}
                Next::Close => {
                    self.close(owed).await;
                    return Ended::Closed;
                }
                Next::Cut => {
                    // Failing to reset leaves an ordinary close.
                    let _reset = self.stream.socket().set_zero_linger();
                    return Ended::Closed;
                }
            }
        }
    }

    /// Whether the connection is to end after what it does now: the process stops, or the server was removed.
    fn is_draining(&self) -> bool {
        self.worker.is_draining() || self.pulse.is_draining()
    }

    /// Waits, holding no memory, until bytes come; false when the connection is over.
    async fn wait_for_request(&mut self) -> bool {
        let plan = &self.server.plan;
        let now_ms = self.worker.tick_ms();
        let idle = shorter(plan.idle_timeout_ms, plan.socket.read_timeout_ms).map(|timeout_ms| now_ms + timeout_ms);
        let life = plan.life_timeout_ms.map(|timeout_ms| self.opened_ms + timeout_ms);
        self.pulse.idle.set(true);
        self.pulse.expect_by(idle.into_iter().chain(life).min());
        let readable = self.pulse.until(|context| self.stream.poll_read_ready(context)).await;
        if matches!(readable, Err(Interrupt::Expired)) {
            let closings = &self.server.stats[self.worker.index].closings;
            let too_long = match (life, plan.socket.read_timeout_ms) {
                (Some(end_ms), _) if end_ms <= self.worker.tick_ms() => &closings.lifetime,
                (_, Some(timeout_ms)) if plan.idle_timeout_ms.is_none_or(|idle_ms| timeout_ms < idle_ms) => {
                    &closings.read_timeout
                }
                _ => &closings.idle,
            };
            too_long.add(1);
        }
        matches!(readable, Ok(Ok(())))
    }

    /// Serves requests as long as bytes of the next one are there.
    async fn serve_requests(&mut self, scratch: &mut Scratch) -> Next {
        loop {
            match self.read_head(scratch).await {
                Head::Complete(length) => {
                    let next = self.serve_request(scratch, length).await;
                    if next != Next::Request {
                        return next;
                    }
                }
                unserved => {
                    let stats = &self.server.stats[self.worker.index];
                    stats.received_bytes.add(scratch.input.take_count());
                    return match unserved {
                        Head::Bad(failure) => self.refuse(scratch, &failure, None).await,
                        _ => Next::Close,
                    };
                }
            }
            if scratch.input.is_empty() {
                return Next::Request;
            }
            // Who sends many requests at once is not served before all others.
            tokio::task::coop::consume_budget().await;
        }
    }

    async fn read_head(&mut self, scratch: &mut Scratch) -> Head {
        let mut begun = false;
        loop {
            if !scratch.input.is_empty() {
                match scratch.request.parse(scratch.input.bytes(), &self.server.limits) {
                    Ok(Parse::Complete(length)) => return Head::Complete(length),
                    Ok(Parse::Partial) => {}
                    Err(error) => {
                        self.server.stats[self.worker.index].count_malformed(error.kind);
                        return Head::Bad(Failure::malformed(error.status(), error.to_string()));
                    }
                }
                if scratch.input.is_full() {
                    return Head::Bad(Failure::malformed(431, "the request's head is too large"));
                }
                if !begun {
                    begun = true;
                    self.pulse.idle.set(false);
                    let plan = &self.server.plan;
                    let timeout_ms = shorter(Some(plan.head_timeout_ms), plan.socket.read_timeout_ms);
                    let deadline_ms = timeout_ms.map(|timeout_ms| self.worker.tick_ms() + timeout_ms);
                    self.pulse.expect_by(deadline_ms);
                }
            }
            let Scratch { input, .. } = scratch;
            let stream = &mut self.stream;
            match self.pulse.until(|context| input.poll_fill(stream, context)).await {
                Ok(Ok(count)) if count > 0 => {}
                // Empty lines alone, which some send after a body, are no request that somebody waits for.
                Err(Interrupt::Expired) if input.bytes().iter().any(|byte| !matches!(byte, b'\r' | b'\n')) => {
                    return Head::Bad(Failure::malformed(408, "the request's head took too long"));
                }
                // The end of the stream, an error or an idle connection: nobody waits for an answer.
                _ => return Head::Ended,
            }
        }
    }

    async fn serve_request(&mut self, scratch: &mut Scratch, head_length: usize) -> Next {
        self.pulse.idle.set(false);
        self.pulse.expect_by(None);
        let started_us = self.worker.now_us();
        let (worker, server) = (self.worker, self.server);
        let stats = &*server.stats[worker.index];
        let admitted = match Admitted::to(server, worker.index, scratch, started_us) {
            Ok(admitted) => admitted,
            Err(failure) => {
                if failure.cause == Cause::Rejected {
                    stats.nacks.add(1);
                }
                return self.refuse(scratch, &failure, Some(head_length)).await;
            }
        };
        let mut head_length = head_length;
        if let Some(plan) = &server.router.plan.plugins
            && plan.sees_requests
        {
            // Boxed, so that it takes no room in the tasks of those that have no plugins.
            match Box::pin(consult::step(self, scratch, head_length, plan, started_us)).await {
                Ok(length) => head_length = length,
                Err(next) => return next,
            }
        }
        let mut bound_to: Option<BoundTo> = None;
        let mut exchange = H1Exchange::new(self, scratch, head_length, started_us);
        let routed = match exchange.check() {
            Ok(()) => route::route(worker, &server.router, &mut exchange, &mut bound_to).await,
            Err(failure) => Err(failure),
        };
        let progress = exchange.progress();
        let mut next = progress.next;
        let (status, latency_us, counted) = match routed {
            Ok(Routed::Served(served)) => {
                if served.whole {
                    let response = scratch.response.body.length();
                    stats.payloads.record(scratch.request.body.length(), response);
                } else {
                    stats.broken_streams.add(1);
                }
                (served.status, served.latency_us, Counted::response(served.class, None))
            }
            Ok(Routed::Status(status, class)) => {
                next = local::answer_status(self, scratch, status, class, head_length).await;
                let counted = Counted::response(class, None);
                (status, self.worker.now_us() - started_us, counted)
            }
            Err(failure) => {
                next = if progress.begun {
                    Next::Cut
                } else {
                    // Who sends nonsense once is not trusted with where his next request begins.
                    let sound = !progress.body_lost && failure.cause != Cause::BadRequest;
                    let head_length = Some(head_length).filter(|_| sound);
                    local::answer_failure(self, scratch, &failure, head_length).await
                };
                let counted = Counted::of(failure.status, Some(failure.cause));
                (failure.status, self.worker.now_us() - started_us, counted)
            }
        };
        drop(admitted);
        stats.finish(status, latency_us, counted);
        stats.received_bytes.add(scratch.input.take_count());
        if let Some(bound_to) = bound_to {
            bound_to.finish(latency_us, counted);
        }
        // Who was told, just before the process began to stop, that the connection stays may be sending the next request.
        if next == Next::Request && self.pulse.is_draining() {
            return Next::Close;
        }
        next
    }

    /// Answers a request that goes no further; without `head_length` where the next one begins is not known.
    async fn refuse(&mut self, scratch: &mut Scratch, failure: &Failure, head_length: Option<usize>) -> Next {
        let stats = &self.server.stats[self.worker.index];
        stats.finish(failure.status, 0, Counted::of(failure.status, Some(failure.cause)));
        local::answer_failure(self, scratch, failure, head_length).await
    }

    /// Closes so that the caller can read all that was written: closing a socket with unread bytes resets it, and a reset
    /// may overtake our last bytes (RFC 9112 §9.6).
    async fn close(&mut self, owed: bool) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let mut waste = Buffer::new(if owed { READ_BYTES } else { 1024 });
        let until_ms = self.worker.tick_ms() + LINGER_MS;
        self.pulse.idle.set(true);
        loop {
            waste.clear();
            let silence_ms = self.worker.tick_ms() + LINGER_SILENCE_MS;
            self.pulse.expect_by(Some(silence_ms.min(until_ms)));
            let stream = &mut self.stream;
            match self.pulse.until(|context| waste.poll_fill(stream, context)).await {
                Ok(Ok(count)) if count > 0 && self.worker.tick_ms() < until_ms => {}
                _ => return,
            }
        }
    }
}

enum Head {
    Complete(usize),
    Bad(Failure),
    /// Nobody is there to answer.
    Ended,
}

/// The cause that is counted for an error of a connection to an endpoint.
fn cause_of(error: &std::io::Error) -> Cause {
    match error.kind() {
        std::io::ErrorKind::InvalidData => Cause::BadResponse,
        _ => Cause::ChannelClosed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_bytes<A, B, C, D, E, F: Future>(_: fn(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_is_small() {
        let bytes = future_bytes(serve);
        assert!(bytes <= 3000, "a connection's task takes {bytes} bytes");
    }
}
