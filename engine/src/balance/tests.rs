//! What every balancer must do, and what each does beyond it.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::*;
use crate::endpoint::{AccrualShared, InFlight, Outcome, Policy, Treatment};
use crate::plan::OutlierPlan;

const SECOND: u64 = 1_000_000;

/// Those that use all endpoints whatever the load.
fn spreading_kinds() -> [Kind; 4] {
    ["p2c", "ewma", "heap", "roundRobin"].map(kind)
}

fn kinds() -> [Kind; 5] {
    ["p2c", "ewma", "aperture", "heap", "roundRobin"].map(kind)
}

/// A kind as Python sends it when the operator wrote nothing but its name.
fn kind(name: &str) -> Kind {
    let bytes = rmp_serde::to_vec_named(&HashMap::from([("kind", name)])).unwrap_or_default();
    rmp_serde::from_slice(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn set(kind: &Kind, weights: &[f64]) -> EndpointSet {
    set_of(&Balancer::new(kind.clone()), weights, OutlierPlan::default())
}

fn set_of(balancer: &Balancer, weights: &[f64], outliers: OutlierPlan) -> EndpointSet {
    let kind = balancer.kind();
    let addresses: Vec<(SocketAddr, f64)> = weights
        .iter()
        .enumerate()
        .map(|(nth, &weight)| (SocketAddr::from(([127, 0, 0, 1], 1 + nth as u16)), weight))
        .collect();
    let treatment = Treatment {
        accrual: AccrualShared::new(Policy::default(), outliers),
        decay_us: kind.decay_us(),
        probation: kind.probation(),
        load_needs: balancer.load_needs(),
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
    for kind in spreading_kinds() {
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
    for kind in spreading_kinds() {
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
    for kind in spreading_kinds() {
        let set = set(&kind, &[0.0, 0.0]);
        assert_eq!(shares(&Balancer::new(kind), &set, 1_000, 0).len(), 2);
    }
}

#[test]
fn dead_endpoints_are_passed_over_even_when_few_are_alive() {
    for kind in kinds() {
        let set = set(&kind, &[1.0; 40]);
        for endpoint in &set.endpoints[4..] {
            kill(endpoint, SECOND);
        }
        let shares = shares(&Balancer::new(kind.clone()), &set, 2_000, SECOND);
        assert!(shares.keys().all(|port| *port <= 4), "{kind:?}: {shares:?}");
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

#[test]
fn a_heap_always_takes_one_of_the_least_loaded() {
    let balancer = Balancer::new(kind("heap"));
    let set = set_of(&balancer, &[1.0; 100], OutlierPlan::default());
    let mut rng = fastrand::Rng::with_seed(9);
    let mut load: Vec<InFlight> = Vec::new();
    for nth in 0..20_000 {
        let least = set.endpoints.iter().map(|endpoint| endpoint.pending()).min();
        let Some(picked) = balancer.pick(&set, &[], 0, &mut rng) else {
            panic!("the set is not empty");
        };
        assert_eq!(Some(picked.pending()), least, "after {nth}");
        load.push(picked.begin(0));
        if load.len() > 900 {
            // Ended in any order, and a few at a time.
            for _ in 0..rng.usize(1..5) {
                load.swap_remove(rng.usize(..load.len()));
            }
        }
    }
    drop(load);
    let shares = shares(&balancer, &set, 10_000, 0);
    assert_eq!(shares.len(), 100, "when all are idle, all get requests");
}

#[test]
fn a_heap_keeps_its_count_when_discovery_speaks() {
    let balancer = Balancer::new(kind("heap"));
    let first = set_of(&balancer, &[1.0; 3], OutlierPlan::default());
    let mut rng = fastrand::Rng::with_seed(9);
    let _long: Vec<InFlight> = first.endpoints[..2].iter().map(|endpoint| endpoint.begin(0)).collect();
    let addresses: Vec<(SocketAddr, f64)> = (1..=4)
        .map(|port| (SocketAddr::from(([127, 0, 0, 1], port)), 1.0))
        .collect();
    let second = first.updated(&addresses);
    let next: Vec<InFlight> = (0..2)
        .filter_map(|_| Some(balancer.pick(&second, &[], 0, &mut rng)?.begin(0)))
        .collect();
    assert!(second.endpoints.iter().all(|endpoint| endpoint.pending() == 1));
    drop(next);
}

#[test]
fn a_heap_prefers_a_loaded_endpoint_to_a_dead_one() {
    let balancer = Balancer::new(kind("heap"));
    let set = set_of(&balancer, &[1.0; 3], OutlierPlan::default());
    let _load: Vec<InFlight> = (0..9).map(|_| set.endpoints[1].begin(SECOND)).collect();
    kill(&set.endpoints[0], SECOND);
    kill(&set.endpoints[2], SECOND);
    assert_eq!(
        shares(&balancer, &set, 500, SECOND).keys().copied().collect::<Vec<_>>(),
        [2]
    );
}

#[test]
fn an_aperture_opens_with_the_load_and_closes_again() {
    let balancer = Balancer::new(kind("aperture"));
    let set = set_of(&balancer, &[1.0; 20], OutlierPlan::default());
    let Some((aperture, band)) = balancer.aperture() else {
        panic!("it has one");
    };
    let mut rng = fastrand::Rng::with_seed(9);
    assert_eq!(shares(&balancer, &set, 200, SECOND).len(), 1, "one endpoint is enough");
    let mut load: Vec<InFlight> = Vec::new();
    let pick = |now_us: u64, rng: &mut fastrand::Rng| match balancer.pick(&set, &[], now_us, rng) {
        Some(endpoint) => endpoint.begin(now_us),
        None => panic!("the set is not empty"),
    };
    for step in 0..600 {
        let now_us = 2 * SECOND + step * 100_000;
        if load.len() < 10 {
            load.push(pick(now_us, &mut rng));
        } else {
            drop(pick(now_us, &mut rng));
        }
    }
    let size = aperture.size(band, 20);
    assert!(
        (5..=11).contains(&size),
        "ten under way, and at most two for each: {size}"
    );
    load.clear();
    for step in 0..600 {
        drop(pick(100 * SECOND + step * 100_000, &mut rng));
    }
    // One request at a time on two endpoints is half a request for each, and no less.
    assert!(aperture.size(band, 20) <= 2, "{}", aperture.size(band, 20));
    assert!(aperture.widened.load(Relaxed) > 0 && aperture.narrowed.load(Relaxed) > 0);
}

#[test]
fn an_aperture_is_never_smaller_than_its_least_nor_larger_than_the_set() {
    let band = Band {
        smooth_window_us: 0.0,
        low_load: 0.5,
        high_load: 2.0,
        min_aperture: 4,
    };
    let aperture = Aperture::new(&band);
    assert_eq!(aperture.size(&band, 10), 4);
    assert_eq!(aperture.size(&band, 2), 2);
}

#[test]
fn what_warms_up_gets_a_share_that_grows() {
    for kind in spreading_kinds() {
        let balancer = Balancer::new(kind.clone());
        let outliers = OutlierPlan {
            warm_up_ms: 10_000,
            ..OutlierPlan::default()
        };
        let first = set_of(&balancer, &[1.0; 4], outliers);
        assert_eq!(
            shares(&balancer, &first, 1_000, SECOND).len(),
            4,
            "at the start none is colder"
        );
        let addresses: Vec<(SocketAddr, f64)> = (1..=5)
            .map(|port| (SocketAddr::from(([127, 0, 0, 1], port)), 1.0))
            .collect();
        let set = first.updated(&addresses);
        let at = |seconds: u64| {
            let shares = shares(&balancer, &set, 8_000, seconds * SECOND);
            shares.get(&5).copied().unwrap_or_default()
        };
        assert!(at(100) < 0.01, "{kind:?}: nothing at first");
        let half = at(105);
        assert!((0.06..0.16).contains(&half), "{kind:?}: {half} when it is half warm");
        let whole = at(110);
        assert!((0.18..0.22).contains(&whole), "{kind:?}: {whole} when it is warm");
    }
}

#[test]
fn what_was_revived_warms_up_and_what_is_cold_serves_when_nothing_else_does() {
    let balancer = Balancer::new(kind("p2c"));
    let outliers = OutlierPlan {
        warm_up_ms: 10_000,
        ..OutlierPlan::default()
    };
    let set = set_of(&balancer, &[1.0; 2], outliers);
    let mut rng = fastrand::Rng::with_seed(9);
    kill(&set.endpoints[0], SECOND);
    set.endpoints[0]
        .begin(7 * SECOND)
        .record(Outcome::Success, 7 * SECOND, &mut rng);
    assert!(set.endpoints[0].is_warming(8 * SECOND, 10_000));
    let share = shares(&balancer, &set, 5_000, 9 * SECOND)[&1];
    assert!((0.05..0.3).contains(&share), "{share}");
    kill(&set.endpoints[1], 9 * SECOND);
    assert_eq!(
        shares(&balancer, &set, 500, 9 * SECOND)
            .keys()
            .copied()
            .collect::<Vec<_>>(),
        [1]
    );
}

#[test]
fn no_more_than_the_cap_are_out_of_use() {
    for kind in spreading_kinds() {
        let balancer = Balancer::new(kind.clone());
        let outliers = OutlierPlan {
            max_ejected_percent: 50,
            panic_threshold_percent: 0,
            ..OutlierPlan::default()
        };
        let set = set_of(&balancer, &[1.0; 10], outliers);
        for endpoint in &set.endpoints[..7] {
            endpoint.begin(SECOND);
            let mut rng = fastrand::Rng::with_seed(0);
            for _ in 0..5 {
                endpoint.begin(SECOND).record(Outcome::Failure, SECOND, &mut rng);
            }
        }
        let used = shares(&balancer, &set, 5_000, SECOND);
        assert!(
            used.len() == 5 && used.keys().all(|port| *port > 5),
            "{kind:?}: {used:?}"
        );
        assert_eq!(set.available(SECOND), 3, "the figures tell what failed");
    }
}

#[test]
fn when_few_are_healthy_all_are_used_until_some_are_revived() {
    for kind in spreading_kinds() {
        let balancer = Balancer::new(kind.clone());
        let outliers = OutlierPlan {
            panic_threshold_percent: 40,
            ..OutlierPlan::default()
        };
        let set = set_of(&balancer, &[1.0; 10], outliers);
        set.endpoints[..6].iter().for_each(|endpoint| kill(endpoint, SECOND));
        assert_eq!(shares(&balancer, &set, 5_000, SECOND).len(), 4, "{kind:?}");
        let mut rng = fastrand::Rng::with_seed(0);
        for _ in 0..5 {
            set.endpoints[6]
                .begin(SECOND)
                .record(Outcome::Failure, SECOND, &mut rng);
        }
        assert_eq!(shares(&balancer, &set, 5_000, SECOND).len(), 10, "{kind:?}");
        let probed = &set.endpoints[0];
        probed.begin(7 * SECOND).record(Outcome::Success, 7 * SECOND, &mut rng);
        assert!(!set.treatment().accrual.census.is_panicking());
    }
}

#[test]
fn endpoints_that_leave_are_not_counted_any_more() {
    let set = set(&kind("p2c"), &[1.0; 4]);
    kill(&set.endpoints[0], SECOND);
    kill(&set.endpoints[1], SECOND);
    let healthy = |set: &EndpointSet| set.treatment().accrual.census.healthy_share();
    assert!((healthy(&set) - 0.5).abs() < 1e-6);
    let addresses: Vec<(SocketAddr, f64)> = (2..=4)
        .map(|port| (SocketAddr::from(([127, 0, 0, 1], port)), 1.0))
        .collect();
    let next = set.updated(&addresses);
    assert!((healthy(&next) - 2.0 / 3.0).abs() < 1e-6);
    let mut rng = fastrand::Rng::with_seed(0);
    set.endpoints[0]
        .begin(9 * SECOND)
        .record(Outcome::Success, 9 * SECOND, &mut rng);
    assert!(
        (healthy(&next) - 2.0 / 3.0).abs() < 1e-6,
        "what is gone changes nothing"
    );
}
