//! What every balancer must do, and what each does beyond it.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::*;
use crate::endpoint::{AccrualShared, InFlight, Outcome, Policy, Treatment};

const SECOND: u64 = 1_000_000;

fn kinds() -> [Kind; 3] {
    ["p2c", "ewma", "roundRobin"].map(kind)
}

/// A kind as Python sends it when the operator wrote nothing but its name.
fn kind(name: &str) -> Kind {
    let bytes = rmp_serde::to_vec_named(&HashMap::from([("kind", name)])).unwrap_or_default();
    rmp_serde::from_slice(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn set(kind: &Kind, weights: &[f64]) -> EndpointSet {
    let addresses: Vec<(SocketAddr, f64)> = weights
        .iter()
        .enumerate()
        .map(|(nth, &weight)| (SocketAddr::from(([127, 0, 0, 1], 1 + nth as u16)), weight))
        .collect();
    let treatment = Treatment {
        accrual: AccrualShared::new(Policy::default()),
        decay_us: kind.decay_us(),
        probation: kind.probation(),
        ..Treatment::default()
    };
    EndpointSet::new(&addresses, treatment)
}

fn kill(endpoint: &Arc<Endpoint>, now_us: u64) {
    let mut rng = fastrand::Rng::with_seed(0);
    for _ in 0..5 {
        endpoint.begin(now_us).record(Outcome::Failure, now_us, &mut rng);
    }
    assert_eq!(endpoint.status(now_us), Status::Busy);
}

/// How often each endpoint of a set is picked by requests that are over at once, by port.
fn shares(balancer: &Balancer, set: &EndpointSet, picks: usize, now_us: u64) -> HashMap<u16, f64> {
    let mut rng = fastrand::Rng::with_seed(42);
    let mut shares = HashMap::new();
    for _ in 0..picks {
        let Some(endpoint) = balancer.pick(set, &[], now_us, &mut rng) else {
            panic!("the set is not empty");
        };
        *shares.entry(endpoint.address.port()).or_default() += 1.0 / picks as f64;
    }
    shares
}

#[test]
fn an_empty_set_has_no_endpoint_and_a_set_of_one_has_one() {
    for kind in kinds() {
        let balancer = Balancer::new(kind.clone());
        let mut rng = fastrand::Rng::with_seed(1);
        assert!(balancer.pick(&set(&kind, &[]), &[], 0, &mut rng).is_none());
        let one = set(&kind, &[0.0]);
        kill(&one.endpoints[0], 0);
        let picked = balancer.pick(&one, &[one.endpoints[0].id], 0, &mut rng);
        assert!(
            picked.is_some(),
            "dead, weightless and tried before: still better than none"
        );
    }
}

#[test]
fn equal_endpoints_get_equal_shares() {
    for kind in kinds() {
        let set = set(&kind, &[1.0; 8]);
        let shares = shares(&Balancer::new(kind.clone()), &set, 20_000, 0);
        assert!(
            shares.len() == 8 && shares.values().all(|share| (share - 0.125).abs() < 0.01),
            "{kind:?}: {shares:?}"
        );
    }
}

#[test]
fn shares_follow_weights() {
    for kind in kinds() {
        let set = set(&kind, &[4.0, 2.0, 2.0, 1.0, 1.0, 0.0]);
        let shares = shares(&Balancer::new(kind.clone()), &set, 40_000, 0);
        for (port, expected) in [(1, 0.4), (2, 0.2), (3, 0.2), (4, 0.1), (5, 0.1)] {
            let share = shares.get(&port).copied().unwrap_or_default();
            assert!((share - expected).abs() < 0.012, "{kind:?}: {port} got {share}");
        }
        assert!(!shares.contains_key(&6), "{kind:?}: nothing for a weight of 0");
    }
}

#[test]
fn weights_of_zero_alone_are_as_good_as_equal_ones() {
    for kind in kinds() {
        let set = set(&kind, &[0.0, 0.0]);
        assert_eq!(shares(&Balancer::new(kind), &set, 1_000, 0).len(), 2);
    }
}

#[test]
fn dead_endpoints_are_passed_over_even_when_few_are_alive() {
    for kind in kinds() {
        let set = set(&kind, &[1.0; 40]);
        for endpoint in &set.endpoints[2..] {
            kill(endpoint, SECOND);
        }
        let shares = shares(&Balancer::new(kind.clone()), &set, 2_000, SECOND);
        let mut ports: Vec<u16> = shares.keys().copied().collect();
        ports.sort_unstable();
        assert_eq!(ports, [1, 2], "{kind:?}");
    }
}

#[test]
fn a_dead_class_gives_way_to_one_that_lives() {
    for kind in kinds() {
        let set = set(&kind, &[100.0, 0.01]);
        kill(&set.endpoints[0], SECOND);
        let shares = shares(&Balancer::new(kind.clone()), &set, 500, SECOND);
        assert_eq!(shares.keys().copied().collect::<Vec<_>>(), [2], "{kind:?}");
    }
}

#[test]
fn when_all_are_dead_all_are_used() {
    for kind in kinds() {
        let set = set(&kind, &[1.0; 4]);
        set.endpoints.iter().for_each(|endpoint| kill(endpoint, SECOND));
        let balancer = Balancer::new(kind.clone());
        let shares = shares(&balancer, &set, 1_000, SECOND);
        assert_eq!(shares.len(), 4, "{kind:?}: {shares:?}");
        assert_eq!(balancer.max_effort_exhausted(), 1_000, "{kind:?}");
    }
}

#[test]
fn what_was_tried_is_avoided_while_another_is_alive() {
    for kind in kinds() {
        let set = set(&kind, &[1.0; 3]);
        let balancer = Balancer::new(kind.clone());
        let mut rng = fastrand::Rng::with_seed(1);
        let tried = [set.endpoints[0].id, set.endpoints[1].id];
        for _ in 0..500 {
            let picked = balancer
                .pick(&set, &tried, SECOND, &mut rng)
                .map(|endpoint| endpoint.id);
            assert_eq!(picked, Some(set.endpoints[2].id), "{kind:?}");
        }
        kill(&set.endpoints[2], SECOND);
        for _ in 0..500 {
            let picked = balancer
                .pick(&set, &tried, SECOND, &mut rng)
                .map(|endpoint| endpoint.id);
            assert_ne!(
                picked,
                Some(set.endpoints[2].id),
                "{kind:?}: tried, but alive, comes before dead"
            );
        }
        assert_eq!(balancer.max_effort_exhausted(), 0, "{kind:?}");
    }
}

#[test]
fn p2c_prefers_the_less_loaded() {
    let kind = kind("p2c");
    let set = set(&kind, &[1.0; 2]);
    let _load: Vec<InFlight> = (0..3).map(|_| set.endpoints[0].begin(0)).collect();
    let shares = shares(&Balancer::new(kind), &set, 500, 0);
    assert_eq!(shares.keys().copied().collect::<Vec<_>>(), [2]);
}

#[test]
fn p2c_keeps_loads_even() {
    let kind = kind("p2c");
    let set = set(&kind, &[1.0; 50]);
    let (balancer, mut rng) = (Balancer::new(kind), fastrand::Rng::with_seed(9));
    let load: Vec<InFlight> = (0..5_000)
        .filter_map(|_| Some(balancer.pick(&set, &[], 0, &mut rng)?.begin(0)))
        .collect();
    assert_eq!(set.load(), 5_000);
    let most = set.endpoints.iter().map(|endpoint| endpoint.pending()).max();
    assert!(most.is_some_and(|most| most <= 105), "{most:?} where 100 is even");
    drop(load);
    assert_eq!(set.load(), 0);
}

#[test]
fn ewma_prefers_the_fast_and_comes_back_to_the_slow() {
    let kind = kind("ewma");
    let set = set(&kind, &[1.0; 2]);
    let mut rng = fastrand::Rng::with_seed(9);
    for (endpoint, latency_us) in set.endpoints.iter().zip([1_000, 50_000]) {
        endpoint
            .begin(SECOND)
            .record(Outcome::Success, SECOND + latency_us, &mut rng);
    }
    let balancer = Balancer::new(kind);
    assert_eq!(
        shares(&balancer, &set, 500, 2 * SECOND)
            .keys()
            .copied()
            .collect::<Vec<_>>(),
        [1]
    );
    // The fast one goes on answering; the slow one's peak is forgotten meanwhile.
    let fast = &set.endpoints[0];
    let come_back = (2..200).find(|second| {
        let now_us = second * SECOND;
        fast.begin(now_us).record(Outcome::Success, now_us + 1_000, &mut rng);
        shares(&balancer, &set, 100, now_us).contains_key(&2)
    });
    assert!(
        come_back.is_some_and(|second| (30..90).contains(&second)),
        "{come_back:?}"
    );
}

#[test]
fn ewma_weighs_latency_by_load() {
    let kind = kind("ewma");
    let set = set(&kind, &[1.0; 2]);
    let mut rng = fastrand::Rng::with_seed(9);
    for (endpoint, latency_us) in set.endpoints.iter().zip([10_000, 30_000]) {
        endpoint
            .begin(SECOND)
            .record(Outcome::Success, SECOND + latency_us, &mut rng);
    }
    let balancer = Balancer::new(kind);
    let load: Vec<InFlight> = (0..8)
        .filter_map(|_| Some(balancer.pick(&set, &[], SECOND + 30_000, &mut rng)?.begin(SECOND)))
        .collect();
    let fast = set.endpoints[0].pending();
    assert!(
        (5..=7).contains(&fast),
        "three of four go to the one that is three times as fast, not {fast} of 8"
    );
    drop(load);
}

#[test]
fn ewma_sends_a_newcomer_one_request_until_it_has_answered() {
    let kind = kind("ewma");
    let set = set(&kind, &[1.0; 4]);
    let mut rng = fastrand::Rng::with_seed(9);
    for endpoint in &set.endpoints[1..] {
        endpoint
            .begin(SECOND)
            .record(Outcome::Success, SECOND + 1_000, &mut rng);
    }
    let balancer = Balancer::new(kind);
    let newcomer = &set.endpoints[0];
    let load: Vec<InFlight> = (0..100)
        .filter_map(|_| Some(balancer.pick(&set, &[], 2 * SECOND, &mut rng)?.begin(2 * SECOND)))
        .collect();
    assert_eq!(newcomer.pending(), 1);
    drop(load);
    newcomer
        .begin(2 * SECOND)
        .record(Outcome::Success, 2 * SECOND + 1_000, &mut rng);
    let load: Vec<InFlight> = (0..100)
        .filter_map(|_| {
            Some(
                balancer
                    .pick(&set, &[], 2 * SECOND + 1_000, &mut rng)?
                    .begin(2 * SECOND),
            )
        })
        .collect();
    let pending = newcomer.pending();
    assert!((18..=30).contains(&pending), "now it has its share of 100: {pending}");
    drop(load);
}

#[test]
fn round_robin_takes_each_in_turn() {
    let kind = kind("roundRobin");
    let set = set(&kind, &[1.0; 3]);
    let (balancer, mut rng) = (Balancer::new(kind), fastrand::Rng::with_seed(9));
    let ports: Vec<u16> = (0..7)
        .filter_map(|_| Some(balancer.pick(&set, &[], 0, &mut rng)?.address.port()))
        .collect();
    assert_eq!(ports, [1, 2, 3, 1, 2, 3, 1]);
}

#[test]
fn kinds_are_read_with_their_defaults_and_unknown_ones_refused() {
    assert_eq!(kind("p2c"), Kind::default());
    assert_eq!(kind("ewma").decay_us(), Some(10_000_000.0));
    assert_eq!(kind("roundRobin").algorithm(), "round_robin");
    let bytes = rmp_serde::to_vec_named(&HashMap::from([("kind", "dice")])).unwrap_or_default();
    assert!(rmp_serde::from_slice::<Kind>(&bytes).is_err());
}
