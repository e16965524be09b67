//! Failure accrual: whether an endpoint is alive, dead for a while, or being tried with one request.
//!
//! One per endpoint, shared by all workers without a lock: the whole state is one word, and who moves it by
//! compare-and-exchange does the counting. "Dead" and "to be probed" are the same word, seen before and after its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::backoff::Backoff;
use super::evidence::Evidence;
use super::policy::{AccrualCounters, Policy};

/// What the endpoints of one client have in common.
#[derive(Debug, Default)]
pub struct AccrualShared {
    pub policy: Policy,
    pub counters: AccrualCounters,
}

impl AccrualShared {
    pub fn new(policy: Policy) -> Arc<Self> {
        Arc::new(Self {
            policy,
            counters: AccrualCounters::default(),
        })
    }

    /// The same endpoints under another policy: what was counted stays.
    pub fn renewed(self: &Arc<Self>, policy: &Policy) -> Arc<Self> {
        if self.policy == *policy {
            return Arc::clone(self);
        }
        Arc::new(Self {
            policy: policy.clone(),
            counters: self.counters.copied(),
        })
    }
}

/// What a result did to the endpoint; for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Marked dead; `again` when it had been dead before and failed its probe.
    Removed { for_ms: u64, again: bool },
    /// Its probe succeeded.
    Revived,
}

/// The right, and the duty, to settle a probe; see `Accrual::begin`.
#[derive(Debug)]
pub struct Probe(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Alive,
    /// Busy until then (monotonic ms), and then to be probed.
    Dead {
        until_ms: u64,
    },
    /// A probe is under way; `until_ms` is that of the death, and tells this probe from another.
    Probing {
        until_ms: u64,
    },
}

const TIME_BITS: u32 = 62;
const TIME_MOST: u64 = (1 << TIME_BITS) - 1;

impl State {
    fn read(word: u64) -> Self {
        let until_ms = word & TIME_MOST;
        match word >> TIME_BITS {
            0 => Self::Alive,
            1 => Self::Dead { until_ms },
            _ => Self::Probing { until_ms },
        }
    }

    fn word(self) -> u64 {
        match self {
            Self::Alive => 0,
            Self::Dead { until_ms } => 1 << TIME_BITS | until_ms.min(TIME_MOST),
            Self::Probing { until_ms } => 2 << TIME_BITS | until_ms.min(TIME_MOST),
        }
    }
}

/// The failure accrual of one endpoint. Times are monotonic milliseconds.
#[derive(Debug)]
pub struct Accrual {
    shared: Arc<AccrualShared>,
    evidence: Evidence,
    state: AtomicU64,
    /// How often it died since it was last alive (upper 16 bits), and the last wait in ms.
    deaths: AtomicU64,
}

impl Accrual {
    pub fn new(shared: Arc<AccrualShared>) -> Self {
        Self {
            evidence: Evidence::new(&shared.policy),
            state: AtomicU64::new(State::Alive.word()),
            deaths: AtomicU64::new(0),
            shared,
        }
    }

    /// Takes on whether `former` is alive, if both tell it in the same way; a probe that is under way there is not ours.
    pub fn inherit(&self, former: &Self) {
        if std::mem::discriminant(&self.shared.policy) != std::mem::discriminant(&former.shared.policy) {
            return;
        }
        let state = match State::read(former.state.load(Ordering::Relaxed)) {
            State::Probing { until_ms } => State::Dead { until_ms },
            state => state,
        };
        self.state.store(state.word(), Ordering::Relaxed);
        let deaths = former.deaths.load(Ordering::Relaxed);
        self.deaths.store(deaths, Ordering::Relaxed);
    }

    /// Whether a balancer should choose it: alive, or dead for long enough and not being probed.
    pub fn is_open(&self, now_ms: u64) -> bool {
        match State::read(self.state.load(Ordering::Relaxed)) {
            State::Alive => true,
            State::Dead { until_ms } => until_ms <= now_ms,
            State::Probing { .. } => false,
        }
    }

    /// A request goes to the endpoint. If that makes it the probe, the caller must either give its result to
    /// `success` or `failure`, or hand the probe back with `abandon`.
    pub fn begin(&self, now_ms: u64) -> Option<Probe> {
        let word = self.state.load(Ordering::Relaxed);
        match State::read(word) {
            State::Dead { until_ms } if until_ms <= now_ms && self.moved(word, State::Probing { until_ms }) => {
                self.shared.counters.probes.fetch_add(1, Ordering::Relaxed);
                Some(Probe(until_ms))
            }
            _ => None,
        }
    }

    /// A request succeeded.
    pub fn success(&self, now_ms: u64) -> Option<Transition> {
        let word = self.state.load(Ordering::Relaxed);
        if matches!(State::read(word), State::Probing { .. }) && self.moved(word, State::Alive) {
            self.deaths.store(0, Ordering::Relaxed);
            self.evidence.forget();
            self.shared.counters.revivals.fetch_add(1, Ordering::Relaxed);
            return Some(Transition::Revived);
        }
        self.evidence.success(now_ms);
        None
    }

    /// A request failed.
    pub fn failure(&self, now_ms: u64, rng: &mut fastrand::Rng) -> Option<Transition> {
        let word = self.state.load(Ordering::Relaxed);
        let again = match State::read(word) {
            State::Alive => false,
            State::Probing { .. } => true,
            // Requests from before its death, or sent because all others were dead too: it is known already.
            State::Dead { .. } => return None,
        };
        if self.evidence.failure(now_ms) {
            return self.die(word, again, now_ms, rng);
        }
        if let State::Probing { until_ms } = State::read(word) {
            // The policy is not yet sure: probe once more.
            self.moved(word, State::Dead { until_ms });
        }
        None
    }

    /// The probe ended without a result (its caller went away): the next request may probe.
    pub fn abandon(&self, probe: &Probe) {
        let until_ms = probe.0;
        self.moved(State::Probing { until_ms }.word(), State::Dead { until_ms });
    }

    fn die(&self, word: u64, again: bool, now_ms: u64, rng: &mut fastrand::Rng) -> Option<Transition> {
        let deaths = self.deaths.load(Ordering::Relaxed);
        let (step, last_ms) = ((deaths >> 48) as u32, deaths & DEATH_WAIT_MOST);
        let backoff: Backoff = self.shared.policy.backoff();
        let for_ms = backoff.wait_ms(step, last_ms, rng).min(DEATH_WAIT_MOST);
        let until_ms = now_ms.saturating_add(for_ms);
        if !self.moved(word, State::Dead { until_ms }) {
            return None;
        }
        let next = u64::from((step + 1).min(u32::from(u16::MAX)));
        self.deaths.store(next << 48 | for_ms, Ordering::Relaxed);
        let counters = &self.shared.counters;
        if !again {
            counters.removals.fetch_add(1, Ordering::Relaxed);
        }
        counters.removed_for_ms.fetch_add(for_ms, Ordering::Relaxed);
        Some(Transition::Removed { for_ms, again })
    }

    fn moved(&self, from: u64, to: State) -> bool {
        self.state
            .compare_exchange(from, to.word(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

const DEATH_WAIT_MOST: u64 = (1 << 48) - 1;

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn accrual(failures: u32, ms: u64) -> Accrual {
        Accrual::new(AccrualShared::new(Policy::ConsecutiveFailures {
            failures,
            backoff: Some(Backoff::Constant { ms }),
        }))
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
        let accrual = Accrual::new(AccrualShared::new(Policy::ConsecutiveFailures {
            failures: 1,
            backoff: None,
        }));
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
        let accrual = Accrual::new(AccrualShared::new(Policy::SuccessRateWindowed {
            success_rate: 0.9,
            window: 1,
            backoff: Some(Backoff::Constant { ms: 5_000 }),
        }));
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
        let accrual = Accrual::new(AccrualShared::new(Policy::Never {}));
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
}
