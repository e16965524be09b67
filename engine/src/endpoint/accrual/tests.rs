//! The life of an endpoint: alive, dead, probed, and alive again.

use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;

use super::*;

#[test]
fn what_cannot_be_connected_to_is_probed_by_no_request() {
    let mut rng = fastrand::Rng::with_seed(1);
    let accrual = accrual(5, 100);
    assert_eq!(accrual.break_down(0, &mut rng), Some(1_000));
    assert_eq!(accrual.break_down(1, &mut rng), None, "it is known");
    assert_eq!(accrual.failure(2, &mut rng), None);
    assert!(!accrual.is_open(1_000_000) && accrual.begin(1_000_000).is_none());
    let waits: Vec<u64> = (0..8).filter_map(|nth| accrual.still_down(nth, &mut rng)).collect();
    assert!(waits.is_sorted() && waits[7] == 32_000, "{waits:?}");
    assert!(accrual.mend() && !accrual.mend());
    assert!(accrual.is_open(2));
    assert_eq!(accrual.still_down(3, &mut rng), None);
    assert_eq!(accrual.break_down(4, &mut rng), Some(1_000), "the waits begin anew");
    assert_eq!(
        accrual.success(5),
        Some(Transition::Revived),
        "a request got through all the same"
    );
    assert!(accrual.is_open(5));
    assert_eq!(counted(&accrual), [0, 0, 0, 0], "failure accrual has no part in it");
}

#[test]
fn a_retired_endpoint_stays_as_it_is() {
    let mut rng = fastrand::Rng::with_seed(1);
    let accrual = accrual(1, 100);
    accrual.failure(0, &mut rng);
    let Some(probe) = accrual.begin(100) else {
        panic!("its time is over");
    };
    accrual.retire();
    accrual.abandon(&probe);
    assert_eq!(accrual.success(101), None);
    assert_eq!(accrual.failure(102, &mut rng), None);
    assert!(!accrual.is_open(1_000));
    assert!(!accrual.shared.census.is_panicking(), "it is counted no more");
}

fn accrual(failures: u32, ms: u64) -> Accrual {
    let policy = Policy::ConsecutiveFailures {
        failures,
        backoff: Some(Backoff::Constant { ms }),
    };
    Accrual::new(AccrualShared::new(policy, OutlierPlan::default()))
}

fn counted(accrual: &Accrual) -> [u64; 4] {
    let counters = &accrual.shared.counters;
    [
        &counters.removals,
        &counters.revivals,
        &counters.probes,
        &counters.removed_for_ms,
    ]
    .map(|counter| counter.load(Ordering::Relaxed))
}

#[test]
fn it_dies_of_enough_failures_is_probed_and_lives_again() {
    let mut rng = fastrand::Rng::with_seed(1);
    let accrual = accrual(2, 100);
    assert_eq!(accrual.failure(0, &mut rng), None);
    let removed = Transition::Removed {
        for_ms: 100,
        again: false,
    };
    assert_eq!(accrual.failure(10, &mut rng), Some(removed));
    assert!(!accrual.is_open(109));
    assert!(accrual.begin(109).is_none(), "it is left alone while it is dead");
    assert!(accrual.is_open(110));
    let probe = accrual.begin(110);
    assert!(probe.is_some());
    assert!(!accrual.is_open(111), "one request probes, not two");
    assert_eq!(accrual.success(120), Some(Transition::Revived));
    assert!(accrual.is_open(120));
    assert_eq!(counted(&accrual), [1, 1, 1, 100]);
    assert_eq!(
        accrual.failure(121, &mut rng),
        None,
        "the row of failures has begun anew"
    );
}

#[test]
fn a_failed_probe_kills_it_again_without_a_removal() {
    let mut rng = fastrand::Rng::with_seed(1);
    let accrual = accrual(1, 100);
    assert!(accrual.failure(0, &mut rng).is_some());
    let _probe = accrual.begin(100);
    let again = Transition::Removed {
        for_ms: 100,
        again: true,
    };
    assert_eq!(accrual.failure(130, &mut rng), Some(again));
    assert!(!accrual.is_open(229) && accrual.is_open(230));
    assert_eq!(counted(&accrual), [1, 0, 1, 200]);
}

#[test]
fn requests_from_before_its_death_change_nothing() {
    let mut rng = fastrand::Rng::with_seed(1);
    let accrual = accrual(1, 100);
    assert!(accrual.failure(0, &mut rng).is_some());
    assert_eq!(accrual.failure(1, &mut rng), None);
    assert_eq!(accrual.success(2), None);
    assert!(!accrual.is_open(99));
    assert_eq!(counted(&accrual), [1, 0, 0, 100]);
}

#[test]
fn a_probe_without_a_result_lets_the_next_request_probe() {
    let mut rng = fastrand::Rng::with_seed(1);
    let accrual = accrual(1, 100);
    assert!(accrual.failure(0, &mut rng).is_some());
    let Some(probe) = accrual.begin(100) else {
        panic!("its time is over");
    };
    accrual.abandon(&probe);
    assert!(accrual.is_open(100));
    assert!(accrual.begin(100).is_some());
    accrual.success(101);
    accrual.abandon(&probe);
    assert!(
        accrual.begin(102).is_none(),
        "an old probe means nothing to one that is alive"
    );
}

#[test]
fn waits_grow_while_it_stays_dead_and_begin_anew_after_it_lived() {
    let mut rng = fastrand::Rng::with_seed(1);
    let policy = Policy::ConsecutiveFailures {
        failures: 1,
        backoff: None,
    };
    let accrual = Accrual::new(AccrualShared::new(policy, OutlierPlan::default()));
    let mut now_ms = 0;
    let mut wait = |accrual: &Accrual, now_ms: &mut u64| match accrual.failure(*now_ms, &mut rng) {
        Some(Transition::Removed { for_ms, .. }) => {
            *now_ms += for_ms;
            let _probe = accrual.begin(*now_ms);
            for_ms
        }
        other => panic!("it must die, but {other:?}"),
    };
    let waits: Vec<u64> = (0..9).map(|_| wait(&accrual, &mut now_ms)).collect();
    assert_eq!(waits[0], 5_000);
    assert!(waits.is_sorted(), "{waits:?}");
    assert_eq!(waits[8], 300_000);
    accrual.success(now_ms);
    assert_eq!(wait(&accrual, &mut now_ms), 5_000);
}

#[test]
fn an_undecided_policy_probes_once_more() {
    let mut rng = fastrand::Rng::with_seed(1);
    let policy = Policy::SuccessRateWindowed {
        success_rate: 0.9,
        window: 1,
        backoff: Some(Backoff::Constant { ms: 5_000 }),
    };
    let accrual = Accrual::new(AccrualShared::new(policy, OutlierPlan::default()));
    while accrual.failure(0, &mut rng).is_none() {}
    assert!(accrual.begin(5_000).is_some());
    assert_eq!(
        accrual.failure(5_001, &mut rng),
        None,
        "one failure in the window proves nothing"
    );
    assert!(accrual.is_open(5_001));
}

#[test]
fn without_a_policy_it_never_dies() {
    let mut rng = fastrand::Rng::with_seed(1);
    let accrual = Accrual::new(AccrualShared::new(Policy::Never {}, OutlierPlan::default()));
    assert!((0..1_000).all(|now_ms| accrual.failure(now_ms, &mut rng).is_none()));
    assert!(accrual.is_open(1_000));
}

#[test]
fn four_threads_send_one_probe_between_them() {
    for round in 0..200 {
        let accrual = accrual(1, 100);
        let mut rng = fastrand::Rng::with_seed(round);
        assert!(accrual.failure(0, &mut rng).is_some());
        let (probes, barrier) = (AtomicUsize::new(0), Barrier::new(4));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    barrier.wait();
                    if accrual.begin(100).is_some() {
                        probes.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(probes.into_inner(), 1);
    }
}

#[test]
fn four_threads_that_fail_remove_it_once() {
    for _ in 0..100 {
        let (accrual, barrier) = (accrual(5, 100), Barrier::new(4));
        let removed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|seed| {
                    let (accrual, barrier) = (&accrual, &barrier);
                    scope.spawn(move || {
                        let mut rng = fastrand::Rng::with_seed(seed);
                        barrier.wait();
                        (0..50).filter(|_| accrual.failure(1, &mut rng).is_some()).count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(100)).sum()
        });
        assert_eq!(removed, 1);
        assert_eq!(counted(&accrual), [1, 0, 0, 100]);
    }
}
