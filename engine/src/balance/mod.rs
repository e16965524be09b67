//! Load balancing: which endpoint of a client gets this request (reference/linker.md §2.8).

mod ewma;
mod p2c;
mod round_robin;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Deserialize;

use crate::endpoint::{Endpoint, EndpointSet, Status};

/// A `loadBalancer` as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Kind {
    /// The less loaded of two.
    #[serde(rename_all = "camelCase")]
    P2c {
        #[serde(default = "max_effort")]
        max_effort: u32,
        #[serde(default)]
        enable_probation: bool,
    },
    /// The one of two that promises the quicker answer.
    #[serde(rename_all = "camelCase")]
    Ewma {
        #[serde(default = "max_effort")]
        max_effort: u32,
        #[serde(default = "decay_time_ms")]
        decay_time_ms: u64,
        #[serde(default)]
        enable_probation: bool,
    },
    /// Each in turn.
    #[serde(rename_all = "camelCase")]
    RoundRobin {
        #[serde(default = "max_effort")]
        max_effort: u32,
        #[serde(default)]
        enable_probation: bool,
    },
}

fn max_effort() -> u32 {
    5
}

fn decay_time_ms() -> u64 {
    10_000
}

impl Default for Kind {
    fn default() -> Self {
        Self::P2c {
            max_effort: max_effort(),
            enable_probation: false,
        }
    }
}

impl Kind {
    /// The name of the algorithm in `loadbalancer/algorithm/…`.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::P2c { .. } => "p2c_least_loaded",
            Self::Ewma { .. } => "p2c_peak_ewma",
            Self::RoundRobin { .. } => "round_robin",
        }
    }

    /// How fast endpoints are to forget latencies, if this kind looks at them.
    pub fn decay_us(&self) -> Option<f32> {
        match self {
            Self::Ewma { decay_time_ms, .. } => Some((*decay_time_ms as f32 * 1000.0).max(1.0)),
            Self::P2c { .. } | Self::RoundRobin { .. } => None,
        }
    }

    pub fn probation(&self) -> bool {
        match self {
            Self::P2c { enable_probation, .. }
            | Self::Ewma { enable_probation, .. }
            | Self::RoundRobin { enable_probation, .. } => *enable_probation,
        }
    }

    fn max_effort(&self) -> u32 {
        match self {
            Self::P2c { max_effort, .. } | Self::Ewma { max_effort, .. } | Self::RoundRobin { max_effort, .. } => {
                *max_effort
            }
        }
    }
}

/// The balancer of one client; shared by all workers.
#[derive(Debug, Default)]
pub struct Balancer {
    kind: Kind,
    exhausted: AtomicU64,
}

/// How much an endpoint is wanted for a request, best first. One that is open but was tried for this request already
/// comes before one that is known to be dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(Status, bool);

const BEST: Rank = Rank(Status::Open, false);
/// How many endpoints are looked at, at most, when chance has found none that is open.
const SCAN: usize = 128;

fn rank(endpoint: &Endpoint, avoid: &[u64], now_us: u64) -> Rank {
    Rank(endpoint.status(now_us), avoid.contains(&endpoint.id))
}

impl Balancer {
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            exhausted: AtomicU64::new(0),
        }
    }

    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// How often `maxEffort` tries found no open endpoint.
    pub fn max_effort_exhausted(&self) -> u64 {
        self.exhausted.load(Relaxed)
    }

    /// Chooses an endpoint for one attempt of a request; none only if the set is empty.
    ///
    /// `avoid` are the ids of the endpoints that this request has tried. When no endpoint is open, one is chosen all
    /// the same. `now_us` is monotonic.
    pub fn pick<'set>(
        &self,
        set: &'set EndpointSet,
        avoid: &[u64],
        now_us: u64,
        rng: &mut fastrand::Rng,
    ) -> Option<&'set Arc<Endpoint>> {
        match set.endpoints.as_slice() {
            [] => return None,
            [only] => return Some(only),
            _ => {}
        }
        let mut best: Option<(Rank, &Arc<Endpoint>)> = None;
        for _ in 0..self.kind.max_effort().max(1) {
            let class = set.draw_class(rng);
            let members = &set.endpoints[class.range.clone()];
            let (rank, endpoint) = match self.kind {
                Kind::P2c { .. } => p2c::draw(members, avoid, now_us, rng),
                Kind::Ewma { .. } => ewma::draw(members, avoid, now_us, rng),
                Kind::RoundRobin { .. } => round_robin::draw(members, &class.cursor, avoid, now_us),
            };
            if rank == BEST {
                return Some(endpoint);
            }
            if best.is_none_or(|(than, _)| rank < than) {
                best = Some((rank, endpoint));
            }
        }
        // A set whose open endpoints have all been tried is not exhausted.
        if best.is_some_and(|(rank, _)| rank.0 == Status::Busy) {
            self.exhausted.fetch_add(1, Relaxed);
        }
        scan(set.eligible(), avoid, now_us, rng, best)
    }
}

/// Looks for a better endpoint in turn, from a random one on.
fn scan<'set>(
    endpoints: &'set [Arc<Endpoint>],
    avoid: &[u64],
    now_us: u64,
    rng: &mut fastrand::Rng,
    mut best: Option<(Rank, &'set Arc<Endpoint>)>,
) -> Option<&'set Arc<Endpoint>> {
    let (before, from) = endpoints.split_at(rng.usize(..endpoints.len()));
    for endpoint in from.iter().chain(before).take(SCAN) {
        let rank = rank(endpoint, avoid, now_us);
        if best.is_none_or(|(than, _)| rank < than) {
            best = Some((rank, endpoint));
        }
        if rank == BEST {
            break;
        }
    }
    best.map(|(_, endpoint)| endpoint)
}
