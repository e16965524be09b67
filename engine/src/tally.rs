//! What the engine has counted, as it goes to Python; the twin of the last part of `src/biandou/boundary.py`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

/// The name of a metric within its scope; may hold `/`.
pub type Name = Cow<'static, str>;

/// A distribution since the engine started: `buckets` are (value, count), rising, in the metric's own unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stat {
    pub count: u64,
    pub sum: f64,
    pub buckets: Vec<(f64, u64)>,
}

/// A distribution in its last window, cut to whole numbers except `average`; `percentiles` are the 50th, 90th, 95th, 99th,
/// 99.9th and 99.99th.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Window {
    pub count: u64,
    pub sum: u64,
    pub average: f64,
    pub least: u64,
    pub most: u64,
    pub percentiles: [u64; 6],
}

/// The metrics of one thing; `scope` is e.g. `["rt", "http", "server", "127.0.0.1/4140"]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Scope {
    pub scope: Vec<String>,
    pub counters: BTreeMap<Name, u64>,
    pub gauges: BTreeMap<Name, f64>,
    /// Distributions since the start, or else their last windows.
    pub stats: BTreeMap<Name, Stat>,
    /// Nothing is in those in which no value came; those that have had none yet are left out.
    pub windows: BTreeMap<Name, Option<Window>>,
}

/// One endpoint as the engine sees it now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EndpointView {
    pub address: String,
    pub weight: f64,
    pub pending: u32,
    /// `in use`, `ejected`, `probing`, `spared`, `warming up`, `busy` or `on probation`.
    pub state: String,
    /// These two as far as the client's failure accrual looks at them.
    pub failures_in_a_row: Option<u32>,
    pub success_rate: Option<f64>,
    /// While it is closed.
    pub ejected_for_ms: Option<u64>,
    pub next_probe_ms: Option<u64>,
    pub times_ejected: u32,
    /// If the client's balancer looks at it.
    pub latency_ms: Option<f64>,
    pub connections: u32,
    pub idle: u32,
    /// Requests that wait for a connection.
    pub waiting: u32,
}

/// One client name as the engine sees it now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClientView {
    pub router: String,
    pub client: String,
    pub state: String,
    pub balancer: String,
    /// So few endpoints are healthy that all are used.
    pub panic: bool,
    pub endpoints: Vec<EndpointView>,
    /// So many more are not shown.
    pub left_out: usize,
}

/// All clients, or those that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClientsView {
    pub clients: Vec<ClientView>,
}

/// All that the engine has counted, cumulative but for windows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tally {
    pub scopes: Vec<Scope>,
}
