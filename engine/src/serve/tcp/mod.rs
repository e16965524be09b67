//! Connections that are passed on as they are: one is one request, from its first byte to its last.

mod exchange;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::failure::Failure;
use crate::identify::{Identifier, Meant};
use crate::route::{self, BoundTo, Routed};
use crate::router::{Router, Server};
use crate::serve::pulse::Pulse;
use crate::serve::{detect, handshake, original};
use crate::stats::Counted;
use crate::stream::Stream;
use crate::worker::Worker;
use exchange::TcpExchange;

/// What a plan calls the routers of connections.
pub const PROTOCOL: &str = "tcp";

/// Passes a connection on.
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
        let stats = &server.stats[worker.index];
        stats.connects.add(1);
        let admitted = server.admitted();
        let opened_ms = worker.tick_ms();
        // A connection that is gone already needs no options.
        if crate::endpoint::connect::apply(&stream, &server.plan.socket).is_ok() {
            let connection = Connection {
                worker: &worker,
                server: &server,
                router: &server.router,
                pulse: &pulse,
                peer,
                original: original::wanted(&server.router, &stream, server.address),
                hello_ms: server.plan.head_timeout_ms,
            };
            let stream = match &server.tls {
                None => Some(Stream::Plain(stream)),
                Some(tls) => Box::pin(handshake::accept(&worker, &server, tls, stream, &pulse)).await,
            };
            if let Some(mut stream) = stream {
                let _encrypted = matches!(stream, Stream::Tls(_)).then(|| handshake::Encrypted::new(stats));
                connection.pass(&mut stream).await;
            }
        }
        drop(admitted);
        stats.count_close(worker.tick_ms() - opened_ms);
    }
}

/// A connection from a caller, and the router that is to pass it on, which need not be that of the server.
#[derive(Clone, Copy)]
pub(super) struct Connection<'a> {
    pub(super) worker: &'a Worker,
    pub(super) server: &'a Server,
    pub(super) router: &'a Router,
    pub(super) pulse: &'a Pulse,
    pub(super) peer: SocketAddr,
    /// Where it was on its way to before it was redirected here.
    pub(super) original: Option<SocketAddr>,
    /// How long to wait for what TLS asks for.
    pub(super) hello_ms: u64,
}

impl Connection<'_> {
    /// Takes the connection down the road. One that leads nowhere is reset: nothing else can be told in a protocol that we do
    /// not know.
    pub(super) async fn pass(&self, stream: &mut Stream) {
        let Self {
            worker, server, pulse, ..
        } = *self;
        let meant = Meant {
            original: self.original,
            server_name: self.server_name(stream).await,
        };
        pulse.idle.set(false);
        pulse.expect_by(None);
        let stats = &server.stats[worker.index];
        if !server.admit_request() {
            stats.nacks.add(1);
            self.lose(stream, &Failure::overloaded());
            stats.finish_connection(Counted::Failure(Some(Failure::overloaded().cause)));
            return;
        }
        let _admitted = Admitted::new(server, worker.index);
        let limited = server.limit.as_ref().map_or(Ok(()), |limit| {
            let taken = limit.take(worker.now_us(), |_header| None);
            taken.inspect_err(|_| stats.rate_limited.add(1))
        });
        let began_us = worker.now_us();
        let mut bound_to: Option<BoundTo> = None;
        let mut exchange = TcpExchange::new(self, stream, meant);
        let routed = match limited {
            Ok(()) => route::route(worker, self.router, &mut exchange, &mut bound_to).await,
            Err(failure) => Err(failure),
        };
        let (latency_us, counted) = match routed {
            Ok(Routed::Served(served)) => (served.latency_us, Counted::response(served.class, None)),
            Ok(Routed::Status(status, class)) => {
                self.lose(stream, &Failure::no_status(status));
                (worker.now_us() - began_us, Counted::response(class, None))
            }
            Err(failure) => {
                self.lose(stream, &failure);
                (worker.now_us() - began_us, Counted::Failure(Some(failure.cause)))
            }
        };
        stats.finish_connection(counted);
        if let Some(bound_to) = bound_to {
            bound_to.finish(latency_us, counted);
        }
    }

    async fn server_name(&self, stream: &mut Stream) -> Option<Box<str>> {
        if !self.router.plan.identifiers.contains(&Identifier::Sni) {
            return None;
        }
        match stream {
            // Nobody waits for an answer yet: a worker that drains need not wait for it.
            Stream::Plain(stream) => Box::pin(detect::server_name(stream, self.hello_ms)).await,
            Stream::Tls(_) => stream.server_name(),
        }
    }

    /// Resets the connection and logs why.
    fn lose(&self, stream: &mut Stream, failure: &Failure) {
        // Failing to reset leaves an ordinary close.
        let _reset = stream.socket().set_zero_linger();
        let message = failure.message.trim_end();
        let message = format!(
            "{}: a connection from {} is lost: {message}",
            self.router.plan.label, self.peer
        );
        self.worker.tell_loss(failure.room.name(), message);
    }
}

/// A connection that the server has taken; counted out also when its task is dropped.
struct Admitted<'a>(&'a Server, usize);

impl<'a> Admitted<'a> {
    fn new(server: &'a Server, worker: usize) -> Self {
        server.stats[worker].pending.add(1);
        Self(server, worker)
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        let Self(server, worker) = self;
        server.stats[*worker].pending.sub(1);
        server.release_request();
    }
}
