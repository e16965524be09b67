//! The routers and servers of an engine as they are now, and how a new plan replaces them.
//!
//! A router is known by its label and protocol, a server by its address: what both plans hold is kept, with its names, clients,
//! sockets, connections and counts. Everything that can fail is done before anything changes.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use crate::listen::{self, Inherited, Sockets};
use crate::mail::{Outbox, lock};
use crate::plan::{Plan, RouterPlan, ServerPlan};
use crate::router::{Router, Server};

/// Routers and servers, and those that were removed while a connection of theirs is open.
#[derive(Debug, Default)]
pub struct Roster {
    lists: Mutex<Lists>,
}

#[derive(Clone, Debug, Default)]
struct Lists {
    routers: Vec<Arc<Router>>,
    servers: Vec<Arc<Server>>,
    leaving: Vec<Arc<Server>>,
    /// How many routers there have been; numbers the next one.
    routers_made: usize,
}

/// What a new plan asks for, made ready; dropping it changes nothing.
#[derive(Debug)]
pub struct Prepared {
    next: Lists,
    opened: Vec<(Arc<Server>, Vec<TcpListener>)>,
    /// What of the plan must wait for a restart.
    pub unmet: Vec<String>,
}

/// What one worker has to do about a new plan.
#[derive(Debug)]
pub struct Change {
    /// All routers, and those that are leaving.
    pub routers: Vec<Arc<Router>>,
    /// All servers; what is not among them takes no connections any more.
    pub servers: Vec<Arc<Server>>,
    /// The worker's listening sockets of new servers.
    pub opened: Vec<(Arc<Server>, TcpListener)>,
}

impl Roster {
    /// Makes ready what a plan asks for: binds and opens what is new. An error names it, and nothing has changed.
    pub fn prepare(
        &self,
        plan: Plan,
        workers: usize,
        outbox: &Arc<Outbox>,
        inherited: &mut Inherited,
    ) -> io::Result<Prepared> {
        let former = lock(&self.lists).clone();
        let mut next = Lists {
            leaving: former.leaving.clone(),
            routers_made: former.routers_made,
            ..Lists::default()
        };
        let mut known = former.servers.clone();
        let (mut bound, mut unmet) = (Vec::new(), Vec::new());
        for plan in plan.routers {
            let router = Arc::new(match former.find(&plan) {
                Some(router) => router.renewed(plan, workers),
                None => next.new_router(plan, workers, outbox),
            });
            if let Some(log) = &router.access_log {
                log.open(outbox)?;
            }
            for plan in &router.plan.servers {
                let server = if let Some(server) = take(&mut known, &router, plan) {
                    if listens_differently(&server.plan, plan) {
                        unmet.push(format!("socketOptions of the listening socket on {}", server.address));
                    }
                    Arc::new(server.renewed(router.clone(), plan.clone()))
                } else {
                    let sockets = listen::bind(plan, workers, inherited, former.has_port(plan.port))?;
                    let server = Server::new(router.clone(), plan.clone(), sockets.address, workers);
                    let server = Arc::new(server);
                    bound.push((server.clone(), sockets));
                    server
                };
                if let Some(Err(message)) = server.tls.as_ref().map(|tls| (*tls.get(outbox)).clone()) {
                    return Err(io::Error::other(format!(
                        "tls of the server on {}: {message}",
                        server.address
                    )));
                }
                next.servers.push(server);
            }
            next.routers.push(router);
        }
        next.leaving.extend(known);
        let open = |(server, sockets): (Arc<Server>, Sockets)| Ok((server, sockets.open()?));
        let opened = bound.into_iter().map(open).collect::<io::Result<_>>()?;
        Ok(Prepared { next, opened, unmet })
    }

    /// Puts what was made ready in the place of what was; gives each worker's part of that.
    pub fn commit(&self, prepared: Prepared, workers: usize) -> Vec<Change> {
        let Prepared { next, opened, .. } = prepared;
        let mut lists = lock(&self.lists);
        for router in &next.routers {
            router.names.adjust(&router.plan);
        }
        let mut changes: Vec<Change> = (0..workers)
            .map(|_| Change {
                routers: next.all_routers(),
                servers: next.servers.clone(),
                opened: Vec::new(),
            })
            .collect();
        for (server, listeners) in opened {
            for (change, listener) in changes.iter_mut().zip(listeners) {
                change.opened.push((server.clone(), listener));
            }
        }
        *lists = next;
        changes
    }

    /// Lets go of what was removed and has no connection any more.
    pub fn tidy(&self) {
        let mut lists = lock(&self.lists);
        if lists.leaving.is_empty() {
            return;
        }
        let former = lists.all_routers();
        lists.leaving.retain(|server| !server.is_left());
        let left = lists.all_routers();
        for router in former {
            if left.iter().all(|other| other.index != router.index) {
                router.names.close();
                router.clients.close();
            }
        }
    }

    /// All routers, and those that are leaving.
    pub fn routers(&self) -> Vec<Arc<Router>> {
        lock(&self.lists).all_routers()
    }

    /// All servers, and those that are leaving while no other has their place.
    pub fn servers(&self) -> Vec<Arc<Server>> {
        let lists = lock(&self.lists);
        let mut servers = lists.servers.clone();
        for server in &lists.leaving {
            if servers.iter().all(|other| other.address != server.address) {
                servers.push(server.clone());
            }
        }
        servers
    }

    /// The label and address of each server that takes connections.
    pub fn serving(&self) -> Vec<(String, SocketAddr)> {
        let lists = lock(&self.lists);
        let named = |server: &Arc<Server>| (server.router.plan.label.clone(), server.address);
        lists.servers.iter().map(named).collect()
    }

    /// The router of a label.
    pub fn labelled(&self, label: &str) -> Option<Arc<Router>> {
        let lists = lock(&self.lists);
        let leaving = lists.leaving.iter().map(|server| &server.router);
        let mut routers = lists.routers.iter().chain(leaving);
        routers.find(|router| router.plan.label == label).cloned()
    }

    /// The router of a number.
    pub fn numbered(&self, index: usize) -> Option<Arc<Router>> {
        let lists = lock(&self.lists);
        let leaving = lists.leaving.iter().map(|server| &server.router);
        let mut routers = lists.routers.iter().chain(leaving);
        routers.find(|router| router.index == index).cloned()
    }
}

impl Lists {
    /// The router that a plan means; also one that is leaving, which then stays.
    fn find(&self, plan: &RouterPlan) -> Option<&Arc<Router>> {
        let leaving = self.leaving.iter().map(|server| &server.router);
        self.routers
            .iter()
            .chain(leaving)
            .find(|router| router.plan.label == plan.label && router.plan.protocol == plan.protocol)
    }

    fn new_router(&mut self, plan: RouterPlan, workers: usize, outbox: &Arc<Outbox>) -> Router {
        let router = Router::new(self.routers_made, plan, workers, outbox);
        self.routers_made += 1;
        router
    }

    fn has_port(&self, port: u16) -> bool {
        let mut servers = self.servers.iter().chain(&self.leaving);
        servers.any(|server| server.address.port() == port)
    }

    fn all_routers(&self) -> Vec<Arc<Router>> {
        let mut routers = self.routers.clone();
        for server in &self.leaving {
            if routers.iter().all(|router| router.index != server.router.index) {
                routers.push(server.router.clone());
            }
        }
        routers
    }
}

/// Takes the server that a plan means out of those that were known; of several on port 0 of one router the next.
fn take(known: &mut Vec<Arc<Server>>, router: &Router, plan: &ServerPlan) -> Option<Arc<Server>> {
    let position = known.iter().position(|server| {
        let same_place = server.plan.ip == plan.ip && server.plan.port == plan.port;
        let same_protocol = server.router.plan.protocol == router.plan.protocol;
        same_place && same_protocol && (plan.port != 0 || server.router.index == router.index)
    })?;
    Some(known.remove(position))
}

/// Whether listening sockets cannot be what a plan wants without being opened anew.
fn listens_differently(former: &ServerPlan, plan: &ServerPlan) -> bool {
    let of = |plan: &ServerPlan| (plan.socket.reuse_addr, plan.socket.reuse_port, plan.socket.backlog);
    of(former) != of(plan)
}
