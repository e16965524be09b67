//! Adding up what all workers have counted, and showing what the engine holds: the tally that Python asks for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::bind::Bound;
use crate::endpoint::{EndpointSet, Status};
use crate::resolve::{Client, Resolved};
use crate::router::{Router, Server};
use crate::stats::{self, ClientStats, PathStats, ServerStats, ServiceStats};
use crate::tally::{ClientView, EndpointView, Scope, Tally};

/// Counts up everything; `epoch` is when the engine's clock began.
pub fn collect(routers: &[Arc<Router>], servers: &[Arc<Server>], epoch: Instant) -> Tally {
    let now_us = epoch.elapsed().as_micros() as u64;
    let mut tally = Tally::default();
    for server in servers {
        let address = format!("{}/{}", server.address.ip(), server.address.port());
        let scope = ["rt", &server.router.plan.label, "server", &address];
        tally.scopes.push(ServerStats::collect(&scope, &server.stats));
    }
    for router in routers {
        let label = router.plan.label.as_str();
        tally.scopes.push(router.names.stats.collect(&["rt", label, "bindcache"]));
        for service in router.names.services() {
            let scope = ["rt", label, "service", shown(&service.path)];
            tally.scopes.push(ServiceStats::collect(&scope, &service.stats));
        }
        for client in router.clients.all() {
            let mut scope = ClientStats::collect(&["rt", label, "client", shown(&client.id)], &client.stats);
            let resolved = client.resolved.load();
            if let Resolved::Endpoints(set) = &**resolved {
                stats::balancing(&mut scope, set, &client.balancer, now_us);
            }
            tally.scopes.push(scope);
            tally.clients.push(view(label, &client, &resolved, now_us));
        }
        tally.scopes.extend(paths(router));
    }
    tally
}

/// A path as an element of a metric's name.
fn shown(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path)
}

/// The logical paths through each client, over all names that share them.
fn paths(router: &Router) -> Vec<Scope> {
    let mut blocks: BTreeMap<(String, String), Vec<Arc<PathStats>>> = BTreeMap::new();
    for name in router.names.all() {
        let answered = name.answered.load();
        let Some(Bound::Tree(tree)) = answered.as_ref().map(|answered| &answered.bound) else {
            continue;
        };
        for leaf in tree.leaves() {
            let Some(client) = &leaf.client else {
                continue;
            };
            let blocks = blocks.entry((client.id.to_string(), name.service.path.to_string())).or_default();
            for block in &leaf.stats {
                // Two branches of one name may share their counters.
                if !blocks.iter().any(|other| Arc::ptr_eq(other, block)) {
                    blocks.push(block.clone());
                }
            }
        }
    }
    let collected = blocks.into_iter().map(|((client, path), blocks)| {
        let scope = ["rt", &router.plan.label, "client", shown(&client), "service", shown(&path)];
        PathStats::collect(&scope, &blocks)
    });
    collected.collect()
}

fn view(router: &str, client: &Client, resolved: &Resolved, now_us: u64) -> ClientView {
    let (state, endpoints) = match resolved {
        Resolved::Pending => ("pending".to_owned(), Vec::new()),
        Resolved::Endpoints(set) if set.endpoints.is_empty() => ("negative".to_owned(), Vec::new()),
        Resolved::Endpoints(set) => ("bound".to_owned(), endpoints(set, now_us)),
        Resolved::Failed(message) => (format!("failed: {message}"), Vec::new()),
        Resolved::Status(code) => (format!("status {code}"), Vec::new()),
    };
    ClientView {
        router: router.to_owned(),
        client: client.id.to_string(),
        state,
        endpoints,
    }
}

fn endpoints(set: &EndpointSet, now_us: u64) -> Vec<EndpointView> {
    let views = set.weighted().map(|(endpoint, weight)| EndpointView {
        address: endpoint.text.to_string(),
        weight,
        pending: endpoint.pending(),
        state: match endpoint.status(now_us) {
            Status::Open => "open".to_owned(),
            Status::Busy => "busy".to_owned(),
        },
    });
    views.collect()
}
