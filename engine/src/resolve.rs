//! Step ③, held: for each client name the live set of its endpoints, as Python last pushed it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::balance::Balancer;
use crate::budget::Budget;
use crate::endpoint::{AccrualShared, EndpointSet, Treatment};
use crate::mail::{Endpoints, EndpointsState, lock};
use crate::plan::ClientPolicy;
use crate::stats::ClientStats;
use crate::tls::client::ClientTlsPlan;
use crate::tls::reloading::Reloading;

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
    pub resolved: ArcSwap<Resolved>,
    /// Rung when `resolved` leaves `Pending`.
    pub changed: Notify,
    pub balancer: Balancer,
    pub policy: ClientPolicy,
    pub tls: Option<Reloading<ClientTlsPlan>>,
    treatment: Treatment,
    pub requeue_budget: Budget,
    /// One block a worker.
    pub stats: Box<[Arc<ClientStats>]>,
}

impl Client {
    fn new(id: &str, policy: ClientPolicy, workers: usize) -> Self {
        let balancer = Balancer::new(policy.balancer.clone());
        let treatment = Treatment {
            accrual: AccrualShared::new(policy.failure_accrual.clone(), policy.outliers.clone()),
            decay_us: policy.balancer.decay_us(),
            probation: policy.balancer.probation(),
            pool: policy.pool.clone(),
            load_needs: balancer.load_needs(),
            shuffle: balancer.aperture().map(|_| fastrand::u64(..)),
        };
        Self {
            id: id.into(),
            resolved: ArcSwap::from_pointee(Resolved::Pending),
            changed: Notify::new(),
            balancer,
            tls: policy.tls.clone().map(Reloading::new),
            requeue_budget: Budget::new(policy.requeue_budget, workers),
            policy,
            treatment,
            stats: (0..workers).map(|_| Arc::new(ClientStats::default())).collect(),
        }
    }

    /// Takes in what the registry says. A failure or silence after a good set changes nothing: the stale set stays in use.
    fn update(&self, state: EndpointsState) {
        let former = self.resolved.load();
        let known = matches!(**former, Resolved::Endpoints(_) | Resolved::Status(_));
        let next = match state {
            EndpointsState::Bound { addresses, .. } => Resolved::Endpoints(self.next_set(&former, &addresses)),
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

/// The client names of one router.
#[derive(Debug)]
pub struct Clients {
    by_id: Mutex<HashMap<Box<str>, Arc<Client>>>,
    workers: usize,
}

impl Clients {
    /// Makes an empty register; each client counts in a block a worker.
    pub fn new(workers: usize) -> Self {
        Self {
            by_id: Mutex::new(HashMap::new()),
            workers,
        }
    }

    /// Takes in a letter; a name that is new is added.
    pub fn update(&self, letter: Endpoints) {
        let client = {
            let mut by_id = lock(&self.by_id);
            if let Some(client) = by_id.get(letter.client.as_str()) {
                client.clone()
            } else {
                let client = Arc::new(Client::new(&letter.client, letter.policy, self.workers));
                by_id.insert(client.id.clone(), client.clone());
                client
            }
        };
        client.update(letter.state);
    }

    /// Drops a client that no answer names any more.
    pub fn forget(&self, id: &str) {
        let client = lock(&self.by_id).remove(id);
        if let Some(client) = client {
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
