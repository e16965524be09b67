//! stub
use crate::router::{Router, Server};
use crate::tally::{Scope, Tally};
use std::sync::Arc;
use std::time::Instant;
pub fn collect(routers: &[Arc<Router>], servers: &[Arc<Server>], _e: Instant) -> Tally {
    let mut t = Tally::default();
    for s in servers {
        let mut sc = Scope {
            scope: vec![
                "rt".into(),
                s.router.plan.label.clone(),
                "server".into(),
                s.address.to_string(),
            ],
            ..Scope::default()
        };
        for b in &s.stats {
            for (n, c) in [
                ("requests", &b.requests),
                ("failures", &b.failures),
                ("connects", &b.connects),
            ] {
                *sc.counters.entry(n.into()).or_default() += c.get();
            }
        }
        t.scopes.push(sc);
    }
    for r in routers {
        for c in r.clients.all() {
            let mut sc = Scope {
                scope: vec![
                    "rt".into(),
                    r.plan.label.clone(),
                    "client".into(),
                    c.id.to_string(),
                ],
                ..Scope::default()
            };
            for b in &c.stats {
                for (n, v) in [
                    ("requests", b.requests.get()),
                    ("failures", b.failures.get()),
                    ("success", b.requests.get() - b.failures.get()),
                    ("retries/requeues", b.requeues.get()),
                ] {
                    *sc.counters.entry(n.into()).or_default() += v;
                }
            }
            t.scopes.push(sc);
        }
    }
    t
}
