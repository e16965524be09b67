//! The endpoints of one client as discovery last told them, grouped by weight.

use std::cmp::Ordering as Order;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::Endpoint;
use super::accrual::AccrualShared;
use super::levels::Levels;
use super::load::LoadNeeds;
use crate::plan::PoolPlan;

/// How a client's endpoints are treated; from the kinds in its policy.
#[derive(Clone, Debug, Default)]
pub struct Treatment {
    pub accrual: Arc<AccrualShared>,
    /// How fast latencies are forgotten, if the balancer looks at them.
    pub decay_us: Option<f32>,
    /// Whether a removed endpoint is used until it fails.
    pub probation: bool,
    /// How connections are limited.
    pub pool: PoolPlan,
    /// What the balancer wants to be told of their load.
    pub load_needs: LoadNeeds,
    /// Sets the order of endpoints of one weight, where the balancer looks at it; each process has another.
    pub shuffle: Option<u64>,
}

impl Treatment {
    /// How long endpoints warm up, if they do.
    pub fn warm_up_ms(&self) -> Option<u64> {
        Some(self.accrual.outliers.warm_up_ms).filter(|&ms| ms > 0)
    }
}

/// Endpoints of the same weight: a range of `EndpointSet::endpoints`.
#[derive(Debug)]
pub struct WeightClass {
    pub weight: f64,
    pub range: Range<usize>,
    /// The shares (weight × size) of this class and all before it.
    upto: f64,
    /// Where a round robin is.
    pub cursor: AtomicUsize,
}

/// The endpoints of one client, heaviest first. Never changed: `updated` makes the next one.
#[derive(Debug)]
pub struct EndpointSet {
    pub endpoints: Vec<Arc<Endpoint>>,
    pub classes: Vec<WeightClass>,
    /// Endpoints that came, those that went, and words from discovery, since the first set.
    pub adds: u64,
    pub removes: u64,
    pub updates: u64,
    /// Where the balancer looks for the least loaded.
    pub levels: Option<Arc<Levels>>,
    /// How long endpoints warm up, if they do.
    pub warm_up_ms: Option<u64>,
    /// The `Host` that the endpoints want to be asked for, if it is not the caller's.
    pub authority: Option<Arc<str>>,
    treatment: Treatment,
}

impl EndpointSet {
    /// A first set. Of an address that is given twice the last weight counts; a weight that is no positive number is 0.
    pub fn new(addresses: &[(SocketAddr, f64)], treatment: Treatment) -> Self {
        Self::build(addresses, treatment, &HashMap::new(), 0)
    }

    /// The set after discovery's next word. An address that stays keeps its `Endpoint` with load, latency and health,
    /// also when its weight changes; one that goes is retired, or put on probation.
    #[must_use]
    pub fn updated(&self, addresses: &[(SocketAddr, f64)]) -> Self {
        let known: HashMap<SocketAddr, (&Arc<Endpoint>, f64)> = self
            .weighted()
            .map(|(endpoint, weight)| (endpoint.address, (endpoint, weight)))
            .collect();
        let cursor = self.classes.first().map_or(0, |class| class.cursor.load(Relaxed));
        let next = Self::build(addresses, self.treatment.clone(), &known, cursor);
        Self {
            adds: self.adds + next.adds,
            removes: self.removes + next.removes,
            updates: self.updates + next.updates,
            ..next
        }
    }

    /// The same endpoints under another treatment: new connections and a new load, but the health that they have.
    #[must_use]
    pub fn renewed(&self, treatment: Treatment) -> Self {
        let stays = |endpoint: &Endpoint| !endpoint.is_retired() && !endpoint.is_on_probation();
        let kept = || self.weighted().filter(|(endpoint, _)| stays(endpoint));
        // Before the first of them is closed.
        let accrual = &treatment.accrual;
        accrual.census.resize(kept().count(), &accrual.outliers);
        let members = kept().map(|(endpoint, weight)| (endpoint.renewed(&treatment), weight));
        let members = members.collect();
        let cursor = self.classes.first().map_or(0, |class| class.cursor.load(Relaxed));
        Self {
            adds: self.adds,
            removes: self.removes,
            updates: self.updates,
            authority: self.authority.clone(),
            ..Self::arranged(members, treatment, cursor)
        }
    }

    fn build(
        addresses: &[(SocketAddr, f64)],
        treatment: Treatment,
        known: &HashMap<SocketAddr, (&Arc<Endpoint>, f64)>,
        cursor: usize,
    ) -> Self {
        let mut chosen: HashMap<SocketAddr, usize> = HashMap::with_capacity(addresses.len());
        let mut members: Vec<(Arc<Endpoint>, f64)> = Vec::with_capacity(addresses.len());
        let mut adds = 0;
        for &(address, weight) in addresses {
            let weight = if weight.is_finite() { weight.max(0.0) } else { 0.0 };
            if let Some(&nth) = chosen.get(&address) {
                members[nth].1 = weight;
                continue;
            }
            chosen.insert(address, members.len());
            // One that failed on probation is gone; if discovery tells of it again, it begins anew.
            let kept = known.get(&address).filter(|(endpoint, _)| !endpoint.is_retired());
            let endpoint = if let Some((endpoint, _)) = kept {
                endpoint.restore();
                Arc::clone(endpoint)
            } else {
                adds += 1;
                let endpoint = Endpoint::new(address, &treatment);
                // Where all are new, none is colder than another.
                if treatment.warm_up_ms().is_some() && !known.is_empty() {
                    endpoint.warm_up_from_new();
                }
                endpoint
            };
            members.push((endpoint, weight));
        }
        let mut removes = 0;
        for (address, (endpoint, weight)) in known {
            if chosen.contains_key(address) && !endpoint.is_retired() {
                continue;
            }
            if treatment.probation && !endpoint.is_retired() {
                endpoint.put_on_probation();
                members.push((Arc::clone(endpoint), *weight));
            } else {
                endpoint.retire();
                removes += 1;
            }
        }
        Self {
            adds,
            removes,
            ..Self::arranged(members, treatment, cursor)
        }
    }

    fn arranged(mut members: Vec<(Arc<Endpoint>, f64)>, treatment: Treatment, cursor: usize) -> Self {
        if let Some(seed) = treatment.shuffle {
            let order = foldhash::fast::FixedState::with_seed(seed);
            members.sort_by_cached_key(|(endpoint, _)| order.hash_one(endpoint.address));
        }
        members.sort_by(|one, other| other.1.partial_cmp(&one.1).unwrap_or(Order::Equal));
        let classes = classes(&members, cursor);
        let endpoints: Vec<Arc<Endpoint>> = members.into_iter().map(|(endpoint, _)| endpoint).collect();
        treatment
            .accrual
            .census
            .resize(endpoints.len(), &treatment.accrual.outliers);
        Self {
            levels: seats(&endpoints, &treatment.load_needs),
            warm_up_ms: treatment.warm_up_ms(),
            endpoints,
            classes,
            adds: 0,
            removes: 0,
            updates: 1,
            authority: None,
            treatment,
        }
    }

    pub fn treatment(&self) -> &Treatment {
        &self.treatment
    }

    /// Each endpoint with its weight.
    pub fn weighted(&self) -> impl Iterator<Item = (&Arc<Endpoint>, f64)> {
        self.classes.iter().flat_map(|class| {
            let members = &self.endpoints[class.range.clone()];
            members.iter().map(|endpoint| (endpoint, class.weight))
        })
    }

    /// The endpoints that get requests at all: those with a weight, or all if none has one.
    pub fn eligible(&self) -> &[Arc<Endpoint>] {
        let count = match self.classes.as_slice() {
            [.., before, last] if last.weight <= 0.0 => before.range.end,
            _ => self.endpoints.len(),
        };
        &self.endpoints[..count]
    }

    /// A weight class, by chance in proportion to weight × size. The set must not be empty.
    pub fn draw_class(&self, rng: &mut fastrand::Rng) -> &WeightClass {
        let [.., last] = self.classes.as_slice() else {
            unreachable!("only a set with endpoints is drawn from");
        };
        if self.classes.len() == 1 {
            return last;
        }
        let point = rng.f64() * last.upto;
        let nth = self.classes.partition_point(|class| class.upto <= point);
        self.classes.get(nth).unwrap_or(last)
    }

    /// How many of them failures have not closed.
    pub fn available(&self, now_us: u64) -> usize {
        let healthy = |endpoint: &&Arc<Endpoint>| endpoint.is_healthy(now_us);
        self.endpoints.iter().filter(healthy).count()
    }

    /// All requests that are under way to them.
    pub fn load(&self) -> u64 {
        self.endpoints
            .iter()
            .map(|endpoint| u64::from(endpoint.pending()))
            .sum()
    }

    /// The mean of their weights; 0 if there are none.
    pub fn mean_weight(&self) -> f64 {
        let sum: f64 = self
            .classes
            .iter()
            .map(|class| class.weight * class.range.len() as f64)
            .sum();
        sum / (self.endpoints.len() as f64).max(1.0)
    }
}

/// Gives each endpoint its place in new bitmaps, if the balancer wants them.
fn seats(endpoints: &[Arc<Endpoint>], needs: &LoadNeeds) -> Option<Arc<Levels>> {
    let LoadNeeds::Least = needs else {
        return None;
    };
    let levels = Arc::new(Levels::new(endpoints.len()));
    for (index, endpoint) in endpoints.iter().enumerate() {
        endpoint.take_seat(&levels, index);
    }
    Some(levels)
}

/// The classes of members that are sorted by weight.
fn classes(members: &[(Arc<Endpoint>, f64)], cursor: usize) -> Vec<WeightClass> {
    // Mostly all have the same weight.
    let mut classes: Vec<WeightClass> = Vec::with_capacity(1);
    let mut upto = 0.0;
    for group in members.chunk_by(|(_, one), (_, other)| one.total_cmp(other) == Order::Equal) {
        let start = classes.last().map_or(0, |class| class.range.end);
        let weight = group[0].1;
        upto += weight * group.len() as f64;
        classes.push(WeightClass {
            weight,
            range: start..start + group.len(),
            upto,
            cursor: AtomicUsize::new(cursor),
        });
    }
    classes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "small whole numbers are exact")]

    use super::*;
    use crate::endpoint::{Outcome, Status};

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn set(weights: &[(u16, f64)], treatment: Treatment) -> EndpointSet {
        EndpointSet::new(&addresses(weights), treatment)
    }

    fn addresses(weights: &[(u16, f64)]) -> Vec<(SocketAddr, f64)> {
        weights.iter().map(|&(port, weight)| (address(port), weight)).collect()
    }

    fn find(set: &EndpointSet, port: u16) -> &Arc<Endpoint> {
        let found = set.endpoints.iter().find(|endpoint| endpoint.address == address(port));
        found.unwrap_or_else(|| panic!("{port} is not in the set"))
    }

    #[test]
    fn classes_are_by_weight_and_cover_every_endpoint_once() {
        let set = set(
            &[(1, 1.0), (2, 0.5), (3, 1.0), (4, f64::NAN), (5, -1.0), (1, 0.5)],
            Treatment::default(),
        );
        let classes: Vec<(f64, usize)> = set
            .classes
            .iter()
            .map(|class| (class.weight, class.range.len()))
            .collect();
        assert_eq!(
            classes,
            [(1.0, 1), (0.5, 2), (0.0, 2)],
            "the last weight of 1 counts, bad ones are 0"
        );
        assert_eq!(set.weighted().count(), 5);
        assert_eq!(set.eligible().len(), 3);
    }

    #[test]
    fn an_address_that_stays_keeps_its_endpoint_load_and_health() {
        let mut rng = fastrand::Rng::with_seed(1);
        let first = set(&[(1, 1.0), (2, 1.0)], Treatment::default());
        let mut requests: Vec<_> = (0..5).map(|_| find(&first, 1).begin(0)).collect();
        for request in &mut requests {
            request.record(Outcome::Failure, 1_000, &mut rng);
        }
        let next = first.updated(&addresses(&[(1, 0.1), (3, 1.0)]));
        assert!(Arc::ptr_eq(find(&first, 1), find(&next, 1)));
        assert_eq!(find(&next, 1).pending(), 5);
        assert_eq!(find(&next, 1).status(1_000), Status::Busy);
        assert!(find(&first, 2).is_retired());
        assert!(!find(&next, 1).is_retired());
        assert_eq!((next.adds, next.removes, next.updates), (3, 1, 2));
    }

    #[test]
    fn an_address_that_comes_back_after_it_was_retired_begins_anew() {
        let first = set(&[(1, 1.0), (2, 1.0)], Treatment::default());
        let back = first
            .updated(&addresses(&[(1, 1.0)]))
            .updated(&addresses(&[(1, 1.0), (2, 1.0)]));
        assert_ne!(find(&back, 2).id, find(&first, 2).id);
        assert!(!find(&back, 2).is_retired());
    }

    #[test]
    fn on_probation_a_removed_endpoint_serves_until_it_fails() {
        let mut rng = fastrand::Rng::with_seed(1);
        let treatment = Treatment {
            probation: true,
            ..Treatment::default()
        };
        let first = set(&[(1, 1.0), (2, 1.0)], treatment);
        let second = first.updated(&addresses(&[(1, 1.0)]));
        let doubtful = find(&second, 2);
        assert!(doubtful.is_on_probation());
        assert_eq!(doubtful.status(0), Status::Open);
        doubtful.begin(0).record(Outcome::Success, 1, &mut rng);
        assert!(doubtful.is_on_probation());
        doubtful.begin(0).record(Outcome::Failure, 1, &mut rng);
        assert!(doubtful.is_retired());
        assert_eq!(doubtful.status(2), Status::Busy);
        assert_eq!(second.updated(&addresses(&[(1, 1.0)])).endpoints.len(), 1);
    }

    #[test]
    fn one_that_discovery_brings_back_is_off_probation() {
        let treatment = Treatment {
            probation: true,
            ..Treatment::default()
        };
        let first = set(&[(1, 1.0), (2, 1.0)], treatment);
        let third = first
            .updated(&addresses(&[(1, 1.0)]))
            .updated(&addresses(&[(1, 1.0), (2, 1.0)]));
        assert!(Arc::ptr_eq(find(&first, 2), find(&third, 2)));
        assert!(!find(&third, 2).is_on_probation());
    }

    #[test]
    fn a_class_is_drawn_in_proportion_to_weight_and_size() {
        let set = set(&[(1, 3.0), (2, 1.0), (3, 1.0), (4, 0.0)], Treatment::default());
        let mut rng = fastrand::Rng::with_seed(3);
        let heavy = (0..10_000).filter(|_| set.draw_class(&mut rng).weight == 3.0).count();
        let weightless = (0..10_000).filter(|_| set.draw_class(&mut rng).weight == 0.0).count();
        assert!((5_800..6_200).contains(&heavy), "{heavy}");
        assert_eq!(weightless, 0);
    }
}
