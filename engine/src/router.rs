//! A router as all workers share it: its plan, its names and clients, its servers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::access_log::AccessLog;
use crate::bind::Names;
use crate::limit::Limit;
use crate::mail::Outbox;
use crate::plan::{HttpLimits, RouterPlan, ServerPlan};
use crate::plugin::Consultations;
use crate::resolve::Clients;
use crate::stats::ServerStats;
use crate::tls::reloading::Reloading;
use crate::tls::server::ServerTlsPlan;
use crate::wire::h1::Limits;

/// One router as a plan says; the next plan makes another of it, with the same names and clients.
#[derive(Debug)]
pub struct Router {
    /// Tells routers apart; the same for what a new plan makes of a router, and never given to another.
    pub index: usize,
    pub plan: RouterPlan,
    pub names: Arc<Names>,
    pub clients: Arc<Clients>,
    pub access_log: Option<Arc<AccessLog>>,
    /// Its requests that wait for plugins in Python.
    pub consultations: Arc<Consultations>,
    expired_ms: AtomicU64,
}

impl Router {
    /// Makes a router that knows no name yet.
    pub fn new(index: usize, plan: RouterPlan, workers: usize, outbox: &Arc<Outbox>) -> Self {
        Self {
            index,
            names: Arc::new(Names::new(index, &plan, workers, outbox.clone())),
            clients: Arc::new(Clients::new(workers)),
            consultations: Arc::new(Consultations::new(index, outbox.clone())),
            access_log: plan
                .access_log
                .clone()
                .map(|plan| Arc::new(AccessLog::new(plan, workers))),
            plan,
            expired_ms: AtomicU64::new(0),
        }
    }

    /// Makes what a new plan says of this router. What is bound stays bound; an access log that is to differ is not open yet.
    #[must_use]
    pub fn renewed(&self, plan: RouterPlan, workers: usize) -> Self {
        let access_log = match (&self.access_log, &plan.access_log) {
            (Some(log), Some(wanted)) if log.is_as(wanted) => Some(log.clone()),
            (Some(log), Some(wanted)) => Some(Arc::new(log.renewed(wanted.clone(), workers))),
            (None, Some(wanted)) => Some(Arc::new(AccessLog::new(wanted.clone(), workers))),
            (_, None) => None,
        };
        Self {
            index: self.index,
            names: self.names.clone(),
            clients: self.clients.clone(),
            consultations: self.consultations.clone(),
            access_log,
            plan,
            expired_ms: AtomicU64::new(self.expired_ms.load(Relaxed)),
        }
    }

    /// Retires idle names; looks at most four times per idle time, and at least once a minute.
    pub fn expire_names(&self, now_ms: u64) {
        let idle_ttl_ms = self.plan.binding_cache.idle_ttl_ms.max(1000);
        if now_ms.saturating_sub(self.expired_ms.load(Relaxed)) >= (idle_ttl_ms / 4).min(60_000) {
            self.expired_ms.store(now_ms, Relaxed);
            self.names.expire(now_ms / 1000, idle_ttl_ms / 1000);
        }
    }
}

/// One listening address of a router as a plan says; the next plan makes another of it, for the same sockets.
#[derive(Debug)]
pub struct Server {
    /// Tells listening addresses apart; the same for what a new plan makes of a server.
    pub id: u64,
    pub router: Arc<Router>,
    pub plan: ServerPlan,
    pub tls: Option<Arc<Reloading<ServerTlsPlan>>>,
    pub address: SocketAddr,
    pub limits: Limits,
    /// Bytes that a request's head may need.
    pub head_room: usize,
    /// One block a worker.
    pub stats: Box<[Arc<ServerStats>]>,
    pub limit: Option<Arc<Limit>>,
    load: Arc<Load>,
}

/// What is under way at a server.
#[derive(Debug, Default)]
struct Load {
    connections: AtomicUsize,
    requests: AtomicU32,
    was_empty: AtomicBool,
}

/// A connection that counts at its server.
#[derive(Debug)]
pub struct AdmittedConnection(Arc<Load>);

impl Drop for AdmittedConnection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Server {
    /// Makes a server for a socket that is bound to `address`.
    pub fn new(router: Arc<Router>, plan: ServerPlan, address: SocketAddr, workers: usize) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            head_room: head_room(&router.plan.http),
            limits: limits(&router.plan.http),
            router,
            tls: plan.tls.clone().map(|plan| Arc::new(Reloading::new(plan))),
            limit: Limit::of_server(plan.rate_limit.as_ref(), None),
            plan,
            address,
            stats: (0..workers).map(|_| Arc::default()).collect(),
            load: Arc::default(),
        }
    }

    /// Makes what a new plan says of this server, for the same sockets, connections and counts.
    #[must_use]
    pub fn renewed(&self, router: Arc<Router>, plan: ServerPlan) -> Self {
        let tls = match &self.tls {
            Some(tls) if self.plan.tls == plan.tls => Some(tls.clone()),
            _ => plan.tls.clone().map(|plan| Arc::new(Reloading::new(plan))),
        };
        Self {
            id: self.id,
            head_room: head_room(&router.plan.http),
            limits: limits(&router.plan.http),
            router,
            tls,
            limit: Limit::of_server(plan.rate_limit.as_ref(), self.limit.as_ref()),
            plan,
            address: self.address,
            stats: self.stats.clone(),
            load: self.load.clone(),
        }
    }

    /// Whether a removed server has no connection, nor had one when this was asked before: a worker may be about to take those that
    /// the kernel had accepted when it was removed.
    pub fn is_left(&self) -> bool {
        let empty = self.load.connections.load(Relaxed) == 0;
        self.load.was_empty.swap(empty, Relaxed) && empty
    }

    /// Counts a new connection in, unless there are too many.
    pub fn admit_connection(&self) -> bool {
        if self.load.connections.fetch_add(1, Relaxed) >= self.plan.max_connections {
            self.load.connections.fetch_sub(1, Relaxed);
            return false;
        }
        true
    }

    /// Counts an admitted connection out when it is dropped; keeps nothing of the plan alive.
    pub fn admitted(&self) -> AdmittedConnection {
        AdmittedConnection(self.load.clone())
    }

    /// Counts a request in, unless the server has its fill (`maxConcurrentRequests`).
    pub fn admit_request(&self) -> bool {
        let Some(limit) = self.plan.max_concurrent_requests else {
            return true;
        };
        // Not even for a moment more than the limit: that moment would refuse another, and a gauge would show it.
        let more = |requests| (requests < limit).then_some(requests + 1);
        self.load.requests.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// Requests under way, where their number is limited.
    pub fn concurrency(&self) -> Option<u32> {
        self.plan
            .max_concurrent_requests
            .map(|_| self.load.requests.load(Relaxed))
    }

    /// Counts a request out.
    pub fn release_request(&self) {
        if self.plan.max_concurrent_requests.is_some() {
            self.load.requests.fetch_sub(1, Relaxed);
        }
    }
}

fn limits(http: &HttpLimits) -> Limits {
    Limits {
        head_bytes: http.max_head_bytes,
        line_bytes: http.max_line_bytes,
        headers: http.max_header_count,
    }
}

fn head_room(http: &HttpLimits) -> usize {
    http.max_head_bytes + http.max_line_bytes
}
