//! Load balancing: which endpoint of a client gets this request (reference/linker.md §2.8).

mod aperture;
mod ewma;
mod heap;
mod kind;
mod p2c;
mod round_robin;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub use aperture::{Aperture, Band};
pub use kind::Kind;

use crate::endpoint::load::LoadNeeds;
use crate::endpoint::set::WeightClass;
use crate::endpoint::{Endpoint, EndpointSet, Status};

/// The balancer of one client; shared by all workers.
#[derive(Debug)]
pub struct Balancer {
    kind: Kind,
    /// At least one.
    max_effort: u32,
    aperture: Option<(Aperture, Band)>,
    exhausted: AtomicU64,
    busy_classes: AtomicU64,
}

/// How much an endpoint is wanted for a request, best first. One that is open but was tried for this request already
/// comes before one that is known to be dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(Status, bool);

const BEST: Rank = Rank(Status::Open, false);
/// How many endpoints are looked at, at most, when chance has found none that is open.
const SCAN: usize = 128;

/// What a request wants of an endpoint.
#[derive(Clone, Copy, Debug)]
struct Wish<'a> {
    /// The ids of endpoints that it has tried.
    avoid: &'a [u64],
    /// The id of one that is warming up and was passed over; 0 for none.
    passed_over: u64,
    now_us: u64,
}

fn rank(endpoint: &Endpoint, wish: &Wish<'_>) -> Rank {
    let unwanted = endpoint.id == wish.passed_over || wish.avoid.contains(&endpoint.id);
    Rank(endpoint.status(wish.now_us), unwanted)
}

impl Balancer {
    pub fn new(kind: Kind) -> Self {
        Self {
            max_effort: kind.max_effort().max(1),
            aperture: kind.band().map(|band| (Aperture::new(&band), band)),
            kind,
            exhausted: AtomicU64::new(0),
            busy_classes: AtomicU64::new(0),
        }
    }

    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// What endpoints have to tell of their load.
    pub fn load_needs(&self) -> LoadNeeds {
        match (&self.kind, &self.aperture) {
            (Kind::Heap { .. }, _) => LoadNeeds::Least,
            (_, Some((aperture, _))) => LoadNeeds::Total(aperture.total.clone()),
            _ => LoadNeeds::None,
        }
    }

    /// The aperture, if this kind has one.
    pub fn aperture(&self) -> Option<&(Aperture, Band)> {
        self.aperture.as_ref()
    }

    /// How often `maxEffort` tries found no open endpoint.
    pub fn max_effort_exhausted(&self) -> u64 {
        self.exhausted.load(Relaxed)
    }

    /// How often a weight class had no open endpoint for a request.
    pub fn busy_weight_classes(&self) -> u64 {
        self.busy_classes.load(Relaxed)
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
        let mut wish = Wish {
            avoid,
            passed_over: 0,
            now_us,
        };
        if let Some((aperture, band)) = &self.aperture {
            aperture.adjust(band, set, now_us);
        }
        let mut best: Option<(Rank, &Arc<Endpoint>)> = None;
        for nth in 0..self.max_effort {
            let class = set.draw_class(rng);
            let (mut rank, endpoint) = self.draw(set, class, nth, &wish, rng);
            if rank == BEST {
                if !set
                    .warm_up_ms
                    .is_some_and(|for_ms| is_too_cold(endpoint, now_us, for_ms, rng))
                {
                    return Some(endpoint);
                }
                wish.passed_over = endpoint.id;
                rank.1 = true;
            } else if rank.0 == Status::Busy && set.classes.len() > 1 {
                self.busy_classes.fetch_add(1, Relaxed);
            }
            if best.is_none_or(|(than, _)| rank <= than) {
                best = Some((rank, endpoint));
            }
        }
        // A set whose open endpoints have all been tried is not exhausted.
        if best.is_some_and(|(rank, _)| rank.0 == Status::Busy) {
            self.exhausted.fetch_add(1, Relaxed);
        }
        scan(set.eligible(), &wish, rng, best)
    }

    fn draw<'set>(
        &self,
        set: &'set EndpointSet,
        class: &WeightClass,
        nth: u32,
        wish: &Wish<'_>,
        rng: &mut fastrand::Rng,
    ) -> (Rank, &'set Arc<Endpoint>) {
        let members = &set.endpoints[class.range.clone()];
        match (&self.kind, &self.aperture, &set.levels) {
            (Kind::Ewma { .. }, ..) => ewma::draw(members, wish, rng),
            (Kind::RoundRobin { .. }, ..) => round_robin::draw(members, &class.cursor, wish),
            // When those inside it are not fit to serve, the others are looked at too.
            (_, Some((aperture, band)), _) if nth * 2 < self.max_effort => aperture.draw(band, set, class, wish, rng),
            (_, _, Some(levels)) => heap::draw(set, class, levels, wish, rng),
            _ => p2c::draw(members, wish, rng),
        }
    }
}

/// Whether chance takes from an endpoint that warms up what is not yet its share.
fn is_too_cold(endpoint: &Endpoint, now_us: u64, for_ms: u64, rng: &mut fastrand::Rng) -> bool {
    let warmth = endpoint.warmth(now_us, for_ms);
    warmth < 1.0 && rng.f32() >= warmth
}

/// Looks for a better endpoint in turn, from a random one on.
fn scan<'set>(
    endpoints: &'set [Arc<Endpoint>],
    wish: &Wish<'_>,
    rng: &mut fastrand::Rng,
    mut best: Option<(Rank, &'set Arc<Endpoint>)>,
) -> Option<&'set Arc<Endpoint>> {
    let (before, from) = endpoints.split_at(rng.usize(..endpoints.len()));
    for endpoint in from.iter().chain(before).take(SCAN) {
        let rank = rank(endpoint, wish);
        if best.is_none_or(|(than, _)| rank < than) {
            best = Some((rank, endpoint));
        }
        if rank == BEST {
            break;
        }
    }
    best.map(|(_, endpoint)| endpoint)
}
