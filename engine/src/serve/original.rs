//! Where a connection was on its way to before the kernel brought it here (`biandou redirect`).

use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::TcpStream;

use crate::identify::Identifier;
use crate::router::Router;

/// The address that the caller meant, if an identifier of the router wants to know and there is one.
pub(super) fn wanted(router: &Router, stream: &TcpStream, listening: SocketAddr) -> Option<SocketAddr> {
    let identifiers = &router.plan.identifiers;
    identifiers
        .contains(&Identifier::OriginalDst)
        .then(|| destination(stream, listening))
        .flatten()
}

/// The address that the caller meant; none if it meant us, or nobody redirected it.
///
/// A rule of nftables that redirects leaves it with the connection tracker; one that proxies leaves it as our own end's
/// address.
fn destination(stream: &TcpStream, listening: SocketAddr) -> Option<SocketAddr> {
    let socket = SockRef::from(stream);
    let here = shown(stream.local_addr().ok()?);
    let tracked = if here.is_ipv4() {
        socket.original_dst_v4()
    } else {
        socket.original_dst_v6()
    };
    let tracked = tracked.ok().and_then(|address| address.as_socket()).map(shown);
    match tracked {
        Some(meant) if meant != here => Some(meant),
        // A port of ours is no destination: following it would lead here again.
        _ => (here.port() != listening.port()).then_some(here),
    }
}

/// An IPv4 address on an IPv6 socket as what it is.
fn shown(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
