//! A new connection to an endpoint.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::Endpoint;
use crate::mail::Outbox;
use crate::plan::SocketOptions;
use crate::stats::ClientStats;
use crate::stream::Stream;
use crate::tls::client::ClientTlsPlan;
use crate::tls::reloading::Reloading;

/// When an end of which nothing is heard is asked whether it is still there, how often, and after how many questions without an
/// answer the connection is given up: two minutes in all.
const ALIVE_AFTER: Duration = Duration::from_secs(60);
const ALIVE_EVERY: Duration = Duration::from_secs(10);
const ALIVE_TRIES: u32 = 6;

/// A connection to an endpoint, counted for as long as it is open.
#[derive(Debug)]
pub struct Link {
    pub stream: Stream,
    opened: Instant,
    stats: Arc<ClientStats>,
    endpoint: Arc<Endpoint>,
}

impl Link {
    /// Takes in a stream that has just been opened.
    pub fn new(stream: Stream, stats: &Arc<ClientStats>, endpoint: &Arc<Endpoint>) -> Self {
        stats.connects.add(1);
        stats.pool_size.add(1);
        endpoint.connections.fetch_add(1, Relaxed);
        Self {
            stream,
            opened: Instant::now(),
            stats: stats.clone(),
            endpoint: endpoint.clone(),
        }
    }

    /// Whether it has been open for longer than a limit; without one it never has, and nobody looks at the clock.
    pub fn is_older_than(&self, limit_ms: Option<u64>) -> bool {
        let older = limit_ms.is_some_and(|limit_ms| self.opened.elapsed() >= Duration::from_millis(limit_ms));
        if older {
            self.stats.closings.lifetime.add(1);
        }
        older
    }

    /// Counts the link among those that have idled for too long.
    pub(super) fn count_expired(&self) {
        self.stats.closings.idle.add(1);
    }

    /// Counts the link in (1) or out (-1) of those that idle.
    pub(super) fn count_idle(&self, change: i64) {
        self.stats.pool_cached.add(change);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stats.closes.add(1);
        self.stats
            .closings
            .duration_ms
            .record(self.opened.elapsed().as_millis() as u64);
        self.stats.pool_size.sub(1);
        self.endpoint.connections.fetch_sub(1, Relaxed);
    }
}

/// Connects within `timeout_ms`; the error's kind is `TimedOut` when that was too short.
pub async fn connect(address: SocketAddr, timeout_ms: u64, options: &SocketOptions) -> io::Result<TcpStream> {
    let stream = match tokio::time::timeout(Duration::from_millis(timeout_ms), TcpStream::connect(address)).await {
        Ok(connected) => connected?,
        Err(_elapsed) => return Err(io::ErrorKind::TimedOut.into()),
    };
    apply(&stream, options)?;
    if options.keep_alive.is_none() {
        ask_if_alive(&SockRef::from(&stream))?;
    }
    Ok(stream)
}

/// Begins TLS on a new connection, within `timeout_ms`; an error tells what was wrong with the other side or our files.
pub async fn encrypt(
    stream: TcpStream,
    tls: &Reloading<ClientTlsPlan>,
    timeout_ms: u64,
    outbox: &Outbox,
) -> io::Result<Stream> {
    let (config, name) = match &*tls.get(outbox) {
        Ok(tls) => (tls.config.clone(), tls.name(stream.peer_addr()?.ip())),
        Err(message) => return Err(io::Error::other(message.clone())),
    };
    let handshake = tokio_rustls::TlsConnector::from(config).connect(name, stream);
    match tokio::time::timeout(Duration::from_millis(timeout_ms), handshake).await {
        Ok(Ok(stream)) => Ok(Stream::encrypted(tokio_rustls::TlsStream::Client(stream))),
        Ok(Err(error)) => Err(io::Error::new(
            error.kind(),
            format!("the TLS handshake failed: {error}"),
        )),
        Err(_elapsed) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the TLS handshake took too long",
        )),
    }
}

/// Has the kernel find out whether the other end is still there, on a connection or on those that a listening socket takes.
///
/// A body may be silent for hours, as server-sent events are, so that no timeout of ours can tell the silence of a host that is gone.
pub fn ask_if_alive(socket: &SockRef<'_>) -> io::Result<()> {
    let asking = TcpKeepalive::new().with_time(ALIVE_AFTER).with_interval(ALIVE_EVERY);
    socket.set_tcp_keepalive(&asking.with_retries(ALIVE_TRIES))
}

/// Sets the options of an open connection that its listening socket has not.
pub fn apply(stream: &TcpStream, options: &SocketOptions) -> io::Result<()> {
    if options.no_delay {
        stream.set_nodelay(true)?;
    }
    match options.keep_alive {
        None => Ok(()),
        Some(true) => ask_if_alive(&SockRef::from(stream)),
        Some(false) => SockRef::from(stream).set_keepalive(false),
    }
}
