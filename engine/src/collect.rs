//! Counts up what the workers have counted, for Python.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crate::resolve::{Client, Resolved};
use crate::router::{Router, Server};
use crate::stats::{PathStats, ServerStats, ServiceStats, balancing};
use crate::tally::Scope;

/// Gives the metrics of all servers, services and clients one by one, under the names of reference/linker.md §8.6.
pub fn collect(routers: &[Arc<Router>], servers: &[Arc<Server>], epoch: Instant, take: &mut dyn FnMut(Scope)) {
    let now_us = epoch.elapsed().as_micros() as u64;
    for server in servers {
        let address = format!("{}/{}", server.address.ip(), server.address.port());
        let scope = ["rt", &server.router.plan.label, "server", &address];
        let mut scope = ServerStats::collect(&scope, &server.stats);
        if let Some(concurrency) = server.concurrency() {
            scope.gauges.insert("request_concurrency".into(), concurrency.into());
            // Nobody waits: what is too much is refused.
            scope.gauges.insert("request_queue_size".into(), 0.0);
        }
        if let Some(forgotten) = server.limit.as_ref().and_then(|limit| limit.forgotten()) {
            scope.counters.insert("rate_limit/forgotten".into(), forgotten);
        }
        take(scope);
    }
    for router in routers {
        let label = router.plan.label.as_str();
        if router.plan.originator {
            let mut scope = Scope::new(&["rt", label]);
            scope.gauges.insert("originator".into(), 1.0);
            take(scope);
        }
        if let Some(log) = &router.access_log {
            let mut scope = Scope::new(&["rt", label, "access_log"]);
            scope.counters.insert("dropped".into(), log.dropped());
            take(scope);
        }
        if router.plan.plugins.is_some() {
            let mut scope = Scope::new(&["rt", label, "plugins"]);
            let waiting = router.consultations.waiting() as f64;
            let unclassified = router.consultations.unclassified.load(Relaxed);
            scope.gauges.insert("waiting".into(), waiting);
            scope.counters.insert("unclassified".into(), unclassified);
            take(scope);
        }
        if let Some(forgotten) = router.names.limits.forgotten() {
            let mut scope = Scope::new(&["rt", label, "rate_limit"]);
            scope.counters.insert("forgotten".into(), forgotten);
            take(scope);
        }
        for (cache, stats) in [
            ("path", &router.names.stats),
            ("tree", &router.names.trees),
            ("bound", &router.names.bounds),
            ("client", &router.clients.stats),
        ] {
            take(stats.collect(&["rt", label, "bindcache", cache]));
        }
        for service in router.names.services() {
            let path = service.path.trim_start_matches('/');
            let scope = ["rt", label, "service", path];
            let mut scope = ServiceStats::collect(&scope, &service.stats);
            if let Some(left) = service.retries_left(now_us / 1000) {
                scope.gauges.insert("retries/budget".into(), left as f64);
            }
            take(scope);
            for (client, stats) in service.through() {
                let client = client.trim_start_matches('/').to_owned();
                let scope = ["rt", label, "client", &client, "service", path];
                take(PathStats::collect(&scope, &stats));
            }
        }
        for client in router.clients.all() {
            take(client_scope(label, &client, now_us));
        }
    }
}

fn client_scope(label: &str, client: &Client, now_us: u64) -> Scope {
    let scope = ["rt", label, "client", client.id.trim_start_matches('/')];
    let mut scope = crate::stats::ClientStats::collect(&scope, &client.stats);
    let left = client.requeue_budget.balance(now_us / 1000);
    scope.gauges.insert("retries/budget".into(), left as f64);
    if let Resolved::Endpoints(set) = &**client.resolved.load() {
        balancing(&mut scope, set, &client.balancer, now_us);
    }
    scope
}
