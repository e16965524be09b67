//! The TLS handshake of a caller's connection, in that connection's own task.

use std::pin::Pin;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsStream};

use crate::mail::Level;
use crate::router::Server;
use crate::serve::pulse::Pulse;
use crate::stats::ServerStats;
use crate::stream::Stream;
use crate::tls::reloading::Reloading;
use crate::tls::server::ServerTlsPlan;
use crate::worker::Worker;

/// Shakes hands within the time that a request's head may take; none when that failed, which is counted.
pub(super) async fn accept(
    worker: &Worker,
    server: &Server,
    tls: &Reloading<ServerTlsPlan>,
    stream: TcpStream,
    pulse: &Pulse,
) -> Option<Stream> {
    let stats = &server.stats[worker.index];
    let began_us = worker.now_us();
    let config = match &*tls.get(&worker.outbox) {
        Ok(config) => Arc::clone(config),
        Err(message) => {
            worker.outbox.note(Level::Error, "tls", message.clone());
            return None;
        }
    };
    // Nobody waits for an answer yet: a worker that drains may drop it.
    pulse.idle.set(true);
    pulse.expect_by(Some(worker.tick_ms() + server.plan.head_timeout_ms));
    let mut accepting = TlsAcceptor::from(config).accept(stream);
    let accepted = pulse.until(|context| Pin::new(&mut accepting).poll(context)).await;
    pulse.expect_by(None);
    let took_us = worker.now_us().saturating_sub(began_us);
    if let Ok(Ok(stream)) = accepted {
        stats.tls_handshake_us.record(took_us);
        Some(Stream::encrypted(TlsStream::Server(stream)))
    } else {
        stats.tls_failed_handshake_us.record(took_us);
        None
    }
}

/// Counts an encrypted connection for as long as it is open.
pub(super) struct Encrypted<'a>(&'a ServerStats);

impl<'a> Encrypted<'a> {
    pub(super) fn new(stats: &'a ServerStats) -> Self {
        stats.tls_connections.add(1);
        Self(stats)
    }
}

impl Drop for Encrypted<'_> {
    fn drop(&mut self) {
        self.0.tls_connections.sub(1);
    }
}
