//! A new connection to an endpoint.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::plan::SocketOptions;

/// Connects within `timeout_ms`; the error's kind is `TimedOut` when that was too short.
pub async fn connect(
    address: SocketAddr,
    timeout_ms: u64,
    options: &SocketOptions,
) -> io::Result<TcpStream> {
    let stream = match tokio::time::timeout(
        Duration::from_millis(timeout_ms),
        TcpStream::connect(address),
    )
    .await
    {
        Ok(connected) => connected?,
        Err(_elapsed) => return Err(io::ErrorKind::TimedOut.into()),
    };
    apply(&stream, options)?;
    Ok(stream)
}

/// Sets the options of an open connection.
pub fn apply(stream: &TcpStream, options: &SocketOptions) -> io::Result<()> {
    if options.no_delay {
        stream.set_nodelay(true)?;
    }
    if let Some(keep_alive) = options.keep_alive {
        socket2::SockRef::from(stream).set_keepalive(keep_alive)?;
    }
    Ok(())
}
