//! Listening sockets: bound here, or handed over by systemd or an earlier process.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::endpoint::connect::ask_if_alive;
use crate::plan::ServerPlan;

/// Connections that may wait for `accept` unless the operator says otherwise.
const BACKLOG: i32 = 4096;

/// Sockets that were handed over, by their number in this process.
pub type Inherited = HashMap<i32, TcpListener>;

/// Gives one listening socket a worker, all on one address, and the address itself (port 0 is resolved).
///
/// The kernel spreads connections over sockets that share an address by `SO_REUSEPORT`. A handed-over socket is shared by
/// all workers instead. The first socket of ours is bound without sharing, so that an address which another process
/// holds is refused, not shared with it; unless `reusePort` asks for just that.
pub fn listen(
    plan: &ServerPlan,
    workers: usize,
    inherited: &mut Inherited,
) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let handed: Vec<TcpListener> = plan.fds.iter().filter_map(|fd| inherited.remove(fd)).collect();
    if let Some(first) = handed.first() {
        let address = first.local_addr()?;
        let mut listeners = Vec::with_capacity(workers);
        for index in 0..workers {
            let listener = handed[index % handed.len()].try_clone()?;
            listener.set_nonblocking(true)?;
            // A connection has this from the socket that took it, at no cost.
            ask_if_alive(&(&listener).into())?;
            listeners.push(listener);
        }
        return Ok((address, listeners));
    }
    let wanted = SocketAddr::new(plan.ip, plan.port);
    if !plan.socket.reuse_port && plan.port != 0 {
        // Binding alone, for a moment, finds out whether somebody else has the address.
        drop(bind(wanted, plan, false)?);
    }
    let first = bind(wanted, plan, true)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    while listeners.len() < workers {
        listeners.push(bind(address, plan, true)?);
    }
    for listener in &listeners {
        socket2::SockRef::from(listener).listen(plan.socket.backlog.unwrap_or(BACKLOG))?;
    }
    Ok((address, listeners))
}

fn bind(address: SocketAddr, plan: &ServerPlan, share: bool) -> io::Result<TcpListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).map_err(named)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share || plan.socket.reuse_port)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    ask_if_alive(&(&socket).into())?;
    socket.bind(&address.into()).map_err(named)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
