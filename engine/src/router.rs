//! A router as all workers share it: its plan, its names and clients, its servers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::access_log::AccessLog;
use crate::bind::Names;
use crate::limit::Limit;
use crate::mail::Outbox;
use crate::plan::{RouterPlan, ServerPlan};
use crate::resolve::Clients;
use crate::stats::ServerStats;
use crate::tls::reloading::Reloading;
use crate::tls::server::ServerTlsPlan;
use crate::wire::h1::Limits;

/// One router.
#[derive(Debug)]
pub struct Router {
    pub index: usize,
    pub plan: RouterPlan,
    pub names: Names,
    pub clients: Clients,
    pub access_log: Option<AccessLog>,
    expired_ms: AtomicU64,
}

impl Router {
    /// Makes a router that knows no name yet.
    pub fn new(index: usize, plan: RouterPlan, workers: usize, outbox: &Arc<Outbox>) -> Self {
        Self {
            index,
            names: Names::new(index, &plan, workers, outbox.clone()),
            clients: Clients::new(workers),
            access_log: plan.access_log.clone().map(|plan| AccessLog::new(plan, workers)),
            plan,
            expired_ms: AtomicU64::new(0),
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

/// One listening address of a router.
#[derive(Debug)]
pub struct Server {
    pub router: Arc<Router>,
    pub plan: ServerPlan,
    pub tls: Option<Reloading<ServerTlsPlan>>,
    pub address: SocketAddr,
    pub limits: Limits,
    /// Bytes that a request's head may need.
    pub head_room: usize,
    /// One block a worker.
    pub stats: Box<[Arc<ServerStats>]>,
    pub limit: Option<Arc<Limit>>,
    connections: AtomicUsize,
    requests: AtomicU32,
}

impl Server {
    /// Makes a server for a socket that is bound to `address`.
    pub fn new(router: Arc<Router>, plan: ServerPlan, address: SocketAddr, workers: usize) -> Self {
        let http = &router.plan.http;
        let limits = Limits {
            head_bytes: http.max_head_bytes,
            line_bytes: http.max_line_bytes,
            headers: http.max_header_count,
        };
        Self {
            head_room: http.max_head_bytes + http.max_line_bytes,
            limits,
            router,
            tls: plan.tls.clone().map(Reloading::new),
            limit: Limit::of_server(plan.rate_limit.as_ref(), None),
            plan,
            address,
            stats: (0..workers).map(|_| Arc::new(ServerStats::default())).collect(),
            connections: AtomicUsize::new(0),
            requests: AtomicU32::new(0),
        }
    }

    /// Counts a new connection in, unless there are too many.
    pub fn admit_connection(&self) -> bool {
        if self.connections.fetch_add(1, Relaxed) >= self.plan.max_connections {
            self.connections.fetch_sub(1, Relaxed);
            return false;
        }
        true
    }

    /// Counts a connection out.
    pub fn release_connection(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// Counts a request in, unless the server has its fill (`maxConcurrentRequests`).
    pub fn admit_request(&self) -> bool {
        let Some(limit) = self.plan.max_concurrent_requests else {
            return true;
        };
        // Not even for a moment more than the limit: that moment would refuse another, and a gauge would show it.
        let more = |requests| (requests < limit).then_some(requests + 1);
        self.requests.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// Requests under way, where their number is limited.
    pub fn concurrency(&self) -> Option<u32> {
        self.plan.max_concurrent_requests.map(|_| self.requests.load(Relaxed))
    }

    /// Counts a request out.
    pub fn release_request(&self) {
        if self.plan.max_concurrent_requests.is_some() {
            self.requests.fetch_sub(1, Relaxed);
        }
    }
}
