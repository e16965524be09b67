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

/// The metrics of one thing; `scope` is e.g. `["rt", "http", "server", "127.0.0.1/4140"]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Scope {
    pub scope: Vec<String>,
    pub counters: BTreeMap<Name, u64>,
    pub gauges: BTreeMap<Name, f64>,
    pub stats: BTreeMap<Name, Stat>,
}

/// One endpoint as the engine sees it now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EndpointView {
    pub address: String,
    pub weight: f64,
    pub pending: u32,
    pub state: String,
}

/// One client name as the engine sees it now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClientView {
    pub router: String,
    pub client: String,
    pub state: String,
    pub endpoints: Vec<EndpointView>,
}

/// All that the engine has counted, cumulative, and what it holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tally {
    pub scopes: Vec<Scope>,
    pub clients: Vec<ClientView>,
}
