//! What the engine knows of each client and its endpoints now, for `/admin/endpoints.json` and `/client_state.json`.

use std::sync::Arc;

use crate::endpoint::gate::Gate;
use crate::endpoint::set::EndpointSet;
use crate::endpoint::{Endpoint, Standing};
use crate::resolve::{Client, Resolved};
use crate::router::Router;
use crate::tally::{ClientView, ClientsView, EndpointView};

/// Endpoints that are shown at the most.
const ENDPOINTS_MAX: usize = 20_000;

/// Which clients are asked for; what is empty is any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    pub router: &'a str,
    pub client: &'a str,
}

/// Shows the clients of all routers as of `now_us`.
pub fn clients(routers: &[Arc<Router>], wanted: Wanted<'_>, now_us: u64) -> ClientsView {
    let mut view = ClientsView::default();
    let mut room = ENDPOINTS_MAX;
    for router in routers {
        let label = router.plan.label.as_str();
        if !wanted.router.is_empty() && wanted.router != label {
            continue;
        }
        let mut clients = router.clients.all();
        clients.retain(|client| wanted.client.is_empty() || wanted.client == &*client.id);
        clients.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        for client in clients {
            let shown = client_view(label, &client, room, now_us);
            room -= shown.endpoints.len();
            view.clients.push(shown);
        }
    }
    view
}

fn client_view(label: &str, client: &Client, room: usize, now_us: u64) -> ClientView {
    let resolved = client.resolved.load();
    let (state, set) = match &**resolved {
        Resolved::Pending => ("Pending".to_owned(), None),
        Resolved::Failed(message) => (format!("Failed: {message}"), None),
        Resolved::Status(code) => (format!("status {code}"), None),
        Resolved::Endpoints(set) => ("bound".to_owned(), Some(set)),
    };
    let endpoints: Vec<EndpointView> = set
        .into_iter()
        .flat_map(|set| {
            set.weighted()
                .take(room)
                .map(|(endpoint, weight)| endpoint_view(set, endpoint, weight, now_us))
        })
        .collect();
    ClientView {
        router: label.to_owned(),
        client: client.id.to_string(),
        state,
        balancer: client.balancer.kind().name().to_owned(),
        panic: set.is_some_and(|set| set.treatment().accrual.census.is_panicking()),
        left_out: set.map_or(0, |set| set.endpoints.len() - endpoints.len()),
        endpoints,
    }
}

fn endpoint_view(set: &EndpointSet, endpoint: &Endpoint, weight: f64, now_us: u64) -> EndpointView {
    let now_ms = now_us / 1000;
    let accrual = endpoint.accrual();
    let standing = accrual.standing();
    let told = accrual.told(now_ms);
    let (closed_ms, times_ejected) = accrual.closed();
    let pending = endpoint.pending();
    let waiting = endpoint.gate.as_ref().map_or(0, |gate| gate.waiting() as u32);
    let connections = endpoint.connections();
    EndpointView {
        address: endpoint.text.to_string(),
        weight,
        pending,
        state: state(set, endpoint, standing, now_us).to_owned(),
        failures_in_a_row: told.failures_in_a_row,
        success_rate: told.success_rate,
        ejected_for_ms: match standing {
            Standing::Alive => None,
            Standing::Dead { .. } | Standing::Probing { .. } => Some(now_ms.saturating_sub(closed_ms)),
        },
        next_probe_ms: match standing {
            Standing::Dead { probe_ms, .. } => Some(probe_ms.saturating_sub(now_ms)),
            Standing::Alive | Standing::Probing { .. } => None,
        },
        times_ejected,
        latency_ms: endpoint.latency_us(now_us).map(|us| f64::from(us) / 1000.0),
        connections,
        // Each request under way that does not wait for a connection has one.
        idle: connections.saturating_sub(pending.saturating_sub(waiting)),
        waiting,
    }
}

fn state(set: &EndpointSet, endpoint: &Endpoint, standing: Standing, now_us: u64) -> &'static str {
    match standing {
        Standing::Probing { .. } => "probing",
        Standing::Dead { used: true, .. } => "spared",
        Standing::Dead { used: false, .. } => "ejected",
        Standing::Alive if endpoint.is_on_probation() => "on probation",
        Standing::Alive if endpoint.gate.as_ref().is_some_and(Gate::is_full) => "busy",
        Standing::Alive if set.warm_up_ms.is_some_and(|for_ms| endpoint.is_warming(now_us, for_ms)) => "warming up",
        Standing::Alive => "in use",
    }
}
