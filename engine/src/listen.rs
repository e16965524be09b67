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

/// One socket a worker, all bound to one address.
#[derive(Debug)]
pub struct Sockets {
    /// Where they are bound; port 0 is resolved.
    pub address: SocketAddr,
    listeners: Vec<TcpListener>,
    backlog: i32,
}

impl Sockets {
    /// Begins to listen, and gives the sockets.
    pub fn open(self) -> io::Result<Vec<TcpListener>> {
        for listener in &self.listeners {
            socket2::SockRef::from(listener).listen(self.backlog)?;
        }
        Ok(self.listeners)
    }
}

/// Binds the sockets of a server. `ours` says that this process listens on the port already, perhaps by another address of
/// the host: then it must be shared with ourselves.
///
/// The kernel spreads connections over sockets that share an address by `SO_REUSEPORT`. A handed-over socket is shared by
/// all workers instead. The first socket of ours is bound without sharing, so that an address which another process
/// holds is refused, not shared with it; unless `reusePort` asks for just that.
pub fn bind(plan: &ServerPlan, workers: usize, inherited: &mut Inherited, ours: bool) -> io::Result<Sockets> {
    let backlog = plan.socket.backlog.unwrap_or(BACKLOG);
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
        return Ok(Sockets {
            address,
            listeners,
            backlog,
        });
    }
    let wanted = SocketAddr::new(plan.ip, plan.port);
    if !plan.socket.reuse_port && !ours && plan.port != 0 {
        // Binding alone, for a moment, finds out whether somebody else has the address.
        drop(bind_one(wanted, plan, false)?);
    }
    let first = bind_one(wanted, plan, true)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    while listeners.len() < workers {
        listeners.push(bind_one(address, plan, true)?);
    }
    Ok(Sockets {
        address,
        listeners,
        backlog,
    })
}

fn bind_one(address: SocketAddr, plan: &ServerPlan, share: bool) -> io::Result<TcpListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).map_err(named)?;
    socket.set_reuse_address(plan.socket.reuse_addr)?;
    socket.set_reuse_port(share || plan.socket.reuse_port)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    ask_if_alive(&(&socket).into())?;
    socket.bind(&address.into()).map_err(named)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_is_taken_over_from_dying_connections_unless_forbidden() {
        for reuse_addr in [true, false] {
            let plan: ServerPlan = serde_json::from_value(json!({
                "ip": "127.0.0.1", "port": 0, "fds": [], "max_concurrent_requests": null, "max_call_depth": 1000,
                "clear_context": false, "timestamp_header": null, "head_timeout_ms": 1000, "max_connections": 10,
                "idle_timeout_ms": null, "life_timeout_ms": null, "request_timeout_ms": null,
                "socket": {"no_delay": true, "reuse_addr": reuse_addr, "reuse_port": false, "keep_alive": null,
                    "backlog": null, "read_timeout_ms": null, "write_timeout_ms": null},
            }))
            .expect("a plan");
            let listeners = bind(&plan, 2, &mut Inherited::new(), false)
                .and_then(Sockets::open)
                .expect("a free port");
            for listener in &listeners {
                assert_eq!(socket2::SockRef::from(listener).reuse_address().ok(), Some(reuse_addr));
            }
        }
    }
}
