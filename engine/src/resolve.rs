//! Step ③, held: for each client name the live set of its endpoints, as Python last pushed it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::balance::Balancer;
use crate::budget::Budget;
use crate::endpoint::{AccrualShared, EndpointSet, Treatment};
use crate::mail::{Endpoints, EndpointsState, lock};
use crate::plan::ClientPolicy;
use crate::stats::{BindCacheStats, ClientStats};
use crate::tls::client::ClientTlsPlan;
use crate::tls::reloading::Reloading;
use crate::wire::h1::is_authority;

/// How long a `Host` of a registry may be.
const MAX_AUTHORITY: usize = 1024;

/// What is known of a client name.
#[derive(Debug)]
pub enum Resolved {
    /// The registry has not spoken yet.
    Pending,
    /// The endpoints; perhaps none.
    Endpoints(EndpointSet),
    /// The registry failed before it had said anything good.
    Failed(String),
    /// The engine answers with this status itself.
    Status(u16),
}

/// One client name: its endpoints, its balancer, and how to treat them.
#[derive(Debug)]
pub struct Client {
    pub id: Box<str>,
    /// `l5d-dst-client` as a header line, and the end of the line before.
    pub line: Box<[u8]>,
    pub resolved: ArcSwap<Resolved>,
    /// Rung when `resolved` leaves `Pending`.
    pub changed: Notify,
    pub balancer: Arc<Balancer>,
    pub policy: Arc<ClientPolicy>,
    pub tls: Option<Arc<Reloading<ClientTlsPlan>>>,
    treatment: Treatment,
    pub requeue_budget: Arc<Budget>,
    /// One block a worker.
    pub stats: Box<[Arc<ClientStats>]>,
    /// This client under the policy that it had before, while a request or an answer still goes by that.
    former: Option<Former>,
}

impl Client {
    fn new(id: &str, policy: Arc<ClientPolicy>, workers: usize) -> Self {
        let balancer = Balancer::new(policy.balancer.clone());
        let accrual = AccrualShared::new(policy.failure_accrual.clone(), policy.outliers.clone());
        Self {
            id: id.into(),
            line: format!("\r\nl5d-dst-client: {id}\r\n").into_bytes().into(),
            resolved: ArcSwap::from_pointee(Resolved::Pending),
            changed: Notify::new(),
            treatment: treatment(&policy, accrual, &balancer, None),
            balancer: Arc::new(balancer),
            tls: policy.tls.clone().map(|plan| Arc::new(Reloading::new(plan))),
            requeue_budget: Arc::new(Budget::new(policy.requeue_budget, workers)),
            policy,
            stats: (0..workers).map(|_| Arc::new(ClientStats::default())).collect(),
            former: None,
        }
    }

    /// Makes the client under another policy. Counts stay; endpoints stay with their connections unless the policy touches
    /// those, and then keep their health as far as it is told by the same kind.
    fn renewed(former: &Arc<Self>, policy: Arc<ClientPolicy>) -> Self {
        let alike = policy.treats_endpoints_as(&former.policy);
        let balancer = if policy.balancer == former.policy.balancer {
            former.balancer.clone()
        } else {
            Arc::new(Balancer::new(policy.balancer.clone()))
        };
        let treatment = if alike {
            former.treatment.clone()
        } else {
            let accrual = &former.treatment.accrual;
            let accrual = accrual.renewed(policy.failure_accrual.clone(), policy.outliers.clone());
            treatment(&policy, accrual, &balancer, former.treatment.shuffle)
        };
        let tls = match &former.tls {
            Some(tls) if policy.tls == former.policy.tls => Some(tls.clone()),
            _ => policy.tls.clone().map(|plan| Arc::new(Reloading::new(plan))),
        };
        let requeue_budget = if policy.requeue_budget == former.policy.requeue_budget {
            former.requeue_budget.clone()
        } else {
            Arc::new(Budget::new(policy.requeue_budget, former.stats.len()))
        };
        let resolved = former.resolved.load_full();
        let resolved = match &*resolved {
            Resolved::Endpoints(set) if !alike => {
                let renewed = Arc::new(Resolved::Endpoints(set.renewed(treatment.clone())));
                // Their idle connections were made under the former policy.
                former.retire();
                renewed
            }
            _ => resolved,
        };
        Self {
            id: former.id.clone(),
            line: former.line.clone(),
            resolved: ArcSwap::new(resolved),
            changed: Notify::new(),
            balancer,
            tls,
            treatment,
            requeue_budget,
            policy,
            stats: former.stats.clone(),
            former: Some(Former {
                client: Arc::downgrade(former),
                alike,
            }),
        }
    }

    /// Takes in what the registry says. A failure or silence after a good set changes nothing: the stale set stays in use.
    fn update(&self, state: EndpointsState) {
        let told = self.former.is_some().then(|| state.clone());
        self.take_in(state);
        if let (Some(former), Some(state)) = (&self.former, told)
            && let Some(client) = former.client.upgrade()
        {
            let waits = matches!(**client.resolved.load(), Resolved::Pending);
            if former.alike {
                client.resolved.store(self.resolved.load_full());
                client.changed.notify_waiters();
            } else if waits {
                client.update(state);
                // Connections that are made under the former policy are used once.
                client.retire();
            }
        }
    }

    fn take_in(&self, state: EndpointsState) {
        let former = self.resolved.load();
        let known = matches!(**former, Resolved::Endpoints(_) | Resolved::Status(_));
        let next = match state {
            EndpointsState::Bound { addresses, authority } => {
                let mut set = self.next_set(&former, &addresses);
                set.authority = authority.and_then(|text| host_of(&text));
                Resolved::Endpoints(set)
            }
            EndpointsState::Negative => Resolved::Endpoints(self.next_set(&former, &[])),
            // Others are no final status: the caller would wait for more (RFC 9110 §15.2).
            EndpointsState::Status { code } if !(200..600).contains(&code) => {
                Resolved::Failed(format!("{code} is not the status of a whole response"))
            }
            EndpointsState::Status { code } => {
                self.retire();
                Resolved::Status(code)
            }
            EndpointsState::Failed { .. } | EndpointsState::Pending if known => return,
            EndpointsState::Failed { message } => Resolved::Failed(message),
            EndpointsState::Pending => Resolved::Pending,
        };
        let waiting = matches!(next, Resolved::Pending);
        self.resolved.store(Arc::new(next));
        if !waiting {
            self.changed.notify_waiters();
        }
    }

    fn next_set(&self, former: &Resolved, addresses: &[(std::net::IpAddr, u16, f64)]) -> EndpointSet {
        let addresses: Vec<(SocketAddr, f64)> = addresses
            .iter()
            .map(|&(ip, port, weight)| (SocketAddr::new(ip, port), weight))
            .collect();
        match former {
            Resolved::Endpoints(set) => set.updated(&addresses),
            _ => EndpointSet::new(&addresses, self.treatment.clone()),
        }
    }

    fn retire(&self) {
        if let Resolved::Endpoints(set) = &**self.resolved.load() {
            for endpoint in &set.endpoints {
                endpoint.retire();
            }
        }
    }
}

/// What a registry calls its endpoints, if a `Host` header can hold it: it may come out of a name in a request.
fn host_of(authority: &str) -> Option<Arc<str>> {
    let usable = !authority.is_empty() && authority.len() <= MAX_AUTHORITY && is_authority(authority.as_bytes());
    usable.then(|| authority.into())
}

/// A client under the policy that it had before.
#[derive(Debug)]
struct Former {
    client: Weak<Client>,
    /// Whether it has the same endpoints.
    alike: bool,
}

/// How endpoints are treated by a policy; `shuffle` is the order that they have already, if they have one.
fn treatment(
    policy: &ClientPolicy,
    accrual: Arc<AccrualShared>,
    balancer: &Balancer,
    shuffle: Option<u64>,
) -> Treatment {
    Treatment {
        accrual,
        decay_us: policy.balancer.decay_us(),
        probation: policy.balancer.probation(),
        pool: policy.pool.clone(),
        load_needs: balancer.load_needs(),
        shuffle: balancer
            .aperture()
            .map(|_| shuffle.unwrap_or_else(|| fastrand::u64(..))),
    }
}

/// The client names of one router.
#[derive(Debug)]
pub struct Clients {
    by_id: Mutex<HashMap<Box<str>, Arc<Client>>>,
    /// The policy that was told of last: most clients of a router have the same, and then hold the same.
    latest: Mutex<Option<Arc<ClientPolicy>>>,
    workers: usize,
    /// Counted by whoever tells of clients, one after the other.
    pub stats: BindCacheStats,
}

impl Clients {
    /// Makes an empty register; each client counts in a block a worker.
    pub fn new(workers: usize) -> Self {
        Self {
            by_id: Mutex::new(HashMap::new()),
            latest: Mutex::default(),
            workers,
            stats: BindCacheStats::default(),
        }
    }

    /// Takes in a letter; a name that is new is added. One whose policy is another is made anew for the answers to come, while
    /// those that were given before go on as they began. Gives how many clients there are if there is one more.
    pub fn update(&self, letter: Endpoints) -> Option<usize> {
        let mut grown = None;
        let client = {
            let mut by_id = lock(&self.by_id);
            let known = by_id.get(letter.client.as_str());
            match known {
                Some(client) if *client.policy == letter.policy => client.clone(),
                _ => {
                    let policy = self.shared(letter.policy);
                    let client = Arc::new(match known {
                        Some(former) => Client::renewed(former, policy),
                        None => Client::new(&letter.client, policy, self.workers),
                    });
                    if by_id.insert(client.id.clone(), client.clone()).is_none() {
                        self.stats.misses.add(1);
                        grown = Some(by_id.len());
                    }
                    client
                }
            }
        };
        client.update(letter.state);
        grown
    }

    fn shared(&self, policy: ClientPolicy) -> Arc<ClientPolicy> {
        let mut latest = lock(&self.latest);
        match &*latest {
            Some(same) if **same == policy => same.clone(),
            _ => latest.insert(Arc::new(policy)).clone(),
        }
    }

    /// Drops a client that no answer names any more.
    pub fn forget(&self, id: &str) {
        let client = lock(&self.by_id).remove(id);
        if let Some(client) = client {
            self.stats.expires.add(1);
            client.retire();
        }
    }

    /// Drops every client: the router is gone.
    pub fn close(&self) {
        for (_, client) in lock(&self.by_id).drain() {
            client.retire();
        }
    }

    /// Finds a client.
    pub fn get(&self, id: &str) -> Option<Arc<Client>> {
        lock(&self.by_id).get(id).cloned()
    }

    /// All clients, for the tally.
    pub fn all(&self) -> Vec<Arc<Client>> {
        lock(&self.by_id).values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_names_a_host_only_as_a_host_header_can_hold_it() {
        assert_eq!(
            host_of("web.service.dc1.consul:80").as_deref(),
            Some("web.service.dc1.consul:80")
        );
        let long = "h".repeat(MAX_AUTHORITY + 1);
        for text in ["", "web\r\nX: y", "a b", "user@web", "web/path", &long] {
            assert_eq!(host_of(text), None, "{text:?}");
        }
    }
}
