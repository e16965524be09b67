//! Failure accrual: whether an endpoint is alive, dead for a while, or being tried with one request.
//!
//! One per endpoint, shared by all workers without a lock: the whole state is one word, and who moves it by
//! compare-and-exchange does the counting. "Dead" and "to be probed" are the same word, seen before and after its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::backoff::Backoff;
use super::census::Census;
use super::evidence::{Evidence, Told};
use super::policy::{AccrualCounters, FailFastCounters, Policy};
use crate::plan::OutlierPlan;

/// What the endpoints of one client have in common.
#[derive(Debug, Default)]
pub struct AccrualShared {
    pub policy: Policy,
    pub outliers: OutlierPlan,
    pub counters: AccrualCounters,
    pub fail_fast: FailFastCounters,
    pub census: Census,
}

impl AccrualShared {
    pub fn new(policy: Policy, outliers: OutlierPlan) -> Arc<Self> {
        Arc::new(Self {
            policy,
            outliers,
            counters: AccrualCounters::default(),
            fail_fast: FailFastCounters::default(),
            census: Census::default(),
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
pub struct Probe(Rest);

/// One death of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rest {
    /// When it may be probed (monotonic ms). That of a probe is of the death before it, and tells this probe from another.
    until_ms: u64,
    /// In use all the same, lest too many be out of use.
    spared: bool,
    /// Found dead by connecting: no request probes it (`failFast`).
    fast: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Alive,
    /// Busy for a while, and then to be probed.
    Dead(Rest),
    /// A probe is under way.
    Probing(Rest),
    /// In no set any more: nothing moves it again.
    Retired,
}

const TIME_BITS: u32 = 60;
const TIME_MOST: u64 = (1 << TIME_BITS) - 1;
const FAST: u64 = 1 << 60;
const SPARED: u64 = 1 << 61;

impl Rest {
    fn word(self) -> u64 {
        self.until_ms.min(TIME_MOST) | if self.spared { SPARED } else { 0 } | if self.fast { FAST } else { 0 }
    }
}

impl State {
    fn read(word: u64) -> Self {
        let rest = Rest {
            until_ms: word & TIME_MOST,
            spared: word & SPARED != 0,
            fast: word & FAST != 0,
        };
        match word >> 62 {
            0 => Self::Alive,
            1 => Self::Dead(rest),
            2 => Self::Probing(rest),
            _ => Self::Retired,
        }
    }

    fn word(self) -> u64 {
        match self {
            Self::Alive => 0,
            Self::Dead(rest) => 1 << 62 | rest.word(),
            Self::Probing(rest) => 2 << 62 | rest.word(),
            Self::Retired => 3 << 62,
        }
    }
}

/// Where an endpoint stands with its failures, as it is shown. Times are monotonic milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Alive,
    Dead { probe_ms: u64, used: bool },
    Probing { used: bool },
}

/// The failure accrual of one endpoint. Times are monotonic milliseconds.
#[derive(Debug)]
pub struct Accrual {
    shared: Arc<AccrualShared>,
    evidence: Evidence,
    state: AtomicU64,
    /// How often it died since it was last alive (upper 16 bits), and the last wait in ms.
    deaths: AtomicU64,
    /// When it was last closed, having been open; and how often that was.
    closed_ms: AtomicU64,
    closings: AtomicU32,
}

impl Accrual {
    pub fn new(shared: Arc<AccrualShared>) -> Self {
        Self {
            evidence: Evidence::new(&shared.policy),
            state: AtomicU64::new(State::Alive.word()),
            deaths: AtomicU64::new(0),
            closed_ms: AtomicU64::new(0),
            closings: AtomicU32::new(0),
            shared,
        }
    }

    /// Whether a balancer should choose it: alive, or dead for long enough and not being probed, or spared.
    pub fn is_open(&self, now_ms: u64) -> bool {
        match self.state() {
            State::Alive => true,
            State::Dead(rest) => rest.is_over(now_ms) || self.shared.census.is_used(rest.spared),
            State::Probing(rest) => self.shared.census.is_used(rest.spared),
            State::Retired => false,
        }
    }

    /// As `is_open`, but spared ones don't count: whether failures have closed it.
    pub fn is_healthy(&self, now_ms: u64) -> bool {
        match self.state() {
            State::Alive => true,
            State::Dead(rest) => rest.is_over(now_ms),
            State::Probing(_) | State::Retired => false,
        }
    }

    /// Where it stands now.
    pub fn standing(&self) -> Standing {
        let used = |rest: Rest| {
            let census = &self.shared.census;
            rest.spared || census.is_panicking()
        };
        match self.state() {
            State::Alive | State::Retired => Standing::Alive,
            State::Dead(rest) => Standing::Dead {
                probe_ms: rest.until_ms,
                used: used(rest),
            },
            State::Probing(rest) => Standing::Probing { used: used(rest) },
        }
    }

    /// What its results say so far.
    pub fn told(&self, now_ms: u64) -> Told {
        self.evidence.told(now_ms)
    }

    /// When it was last closed, having been open, and how often that was.
    pub fn closed(&self) -> (u64, u32) {
        (
            self.closed_ms.load(Ordering::Relaxed),
            self.closings.load(Ordering::Relaxed),
        )
    }

    /// How often in a row it was found dead.
    pub fn tries(&self) -> u64 {
        self.deaths.load(Ordering::Relaxed) >> 48
    }

    /// Whether connecting to it has failed, and nothing since has succeeded (`failFast`).
    pub fn is_down(&self) -> bool {
        matches!(self.state(), State::Dead(Rest { fast: true, .. }))
    }

    /// A request goes to the endpoint. If that makes it the probe, the caller must either give its result to
    /// `success` or `failure`, or hand the probe back with `abandon`.
    pub fn begin(&self, now_ms: u64) -> Option<Probe> {
        let word = self.state.load(Ordering::Relaxed);
        match State::read(word) {
            State::Dead(rest) if rest.is_over(now_ms) && self.moved(word, State::Probing(rest)) => {
                self.shared.counters.probes.fetch_add(1, Ordering::Relaxed);
                Some(Probe(rest))
            }
            _ => None,
        }
    }

    /// A request succeeded.
    pub fn success(&self, now_ms: u64) -> Option<Transition> {
        let word = self.state.load(Ordering::Relaxed);
        match State::read(word) {
            State::Probing(rest) if self.revived(word, rest) => {
                self.shared.counters.revivals.fetch_add(1, Ordering::Relaxed);
                return Some(Transition::Revived);
            }
            // Used because no other was left, and it has answered.
            State::Dead(rest) if rest.fast && self.revived(word, rest) => {
                self.shared.fail_fast.marked_available.fetch_add(1, Ordering::Relaxed);
                return Some(Transition::Revived);
            }
            _ => {}
        }
        self.evidence.success(now_ms);
        None
    }

    /// A request failed.
    pub fn failure(&self, now_ms: u64, rng: &mut fastrand::Rng) -> Option<Transition> {
        let word = self.state.load(Ordering::Relaxed);
        let former = match State::read(word) {
            State::Alive => None,
            State::Probing(rest) => Some(rest),
            // Requests from before its death, or sent because all others were dead too: it is known already.
            State::Dead(_) | State::Retired => return None,
        };
        if self.evidence.failure(now_ms) {
            let for_ms = self.die(word, former, false, now_ms, rng)?;
            let (counters, again) = (&self.shared.counters, former.is_some());
            if !again {
                counters.removals.fetch_add(1, Ordering::Relaxed);
            }
            counters.removed_for_ms.fetch_add(for_ms, Ordering::Relaxed);
            return Some(Transition::Removed { for_ms, again });
        }
        if let Some(rest) = former {
            // The policy is not yet sure: probe once more.
            self.moved(word, State::Dead(rest));
        }
        None
    }

    /// It cannot be connected to: closes it until `mend`, and gives the wait before it should be tried (`failFast`). None
    /// if it is closed already, or was just found dead again by its probe.
    pub fn break_down(&self, now_ms: u64, rng: &mut fastrand::Rng) -> Option<u64> {
        let word = self.state.load(Ordering::Relaxed);
        if State::read(word) != State::Alive {
            return None;
        }
        let wait_ms = self.die(word, None, true, now_ms, rng)?;
        self.shared.fail_fast.marked_dead.fetch_add(1, Ordering::Relaxed);
        Some(wait_ms)
    }

    /// Connecting has failed once more: gives the next wait; none if it is not down any more.
    pub fn still_down(&self, now_ms: u64, rng: &mut fastrand::Rng) -> Option<u64> {
        let word = self.state.load(Ordering::Relaxed);
        match State::read(word) {
            State::Dead(rest) if rest.fast => self.die(word, Some(rest), true, now_ms, rng),
            _ => None,
        }
    }

    /// It can be connected to again; false if it is not down any more.
    pub fn mend(&self) -> bool {
        let word = self.state.load(Ordering::Relaxed);
        let mended = matches!(State::read(word), State::Dead(rest) if rest.fast && self.revived(word, rest));
        if mended {
            self.shared.fail_fast.marked_available.fetch_add(1, Ordering::Relaxed);
        }
        mended
    }

    /// The probe ended without a result (its caller went away): the next request may probe.
    pub fn abandon(&self, probe: &Probe) {
        self.moved(State::Probing(probe.0).word(), State::Dead(probe.0));
    }

    /// It is in no set any more.
    pub fn retire(&self) {
        let word = self.state.swap(State::Retired.word(), Ordering::AcqRel);
        if let State::Dead(rest) | State::Probing(rest) = State::read(word) {
            self.shared.census.open(rest.spared);
        }
    }

    /// Closes it for the next wait, and gives that; `former` is the rest before, if it has not lived since.
    fn die(&self, word: u64, former: Option<Rest>, fast: bool, now_ms: u64, rng: &mut fastrand::Rng) -> Option<u64> {
        let census = &self.shared.census;
        let deaths = self.deaths.load(Ordering::Relaxed);
        let (step, last_ms) = ((deaths >> 48) as u32, deaths & DEATH_WAIT_MOST);
        let backoff = if fast { FAIL_FAST } else { self.shared.policy.backoff() };
        let for_ms = backoff.wait_ms(step, last_ms, rng).min(DEATH_WAIT_MOST);
        let spared = match former {
            None => census.close(),
            Some(rest) => rest.spared && !census.eject(),
        };
        let rest = Rest {
            until_ms: now_ms.saturating_add(for_ms),
            spared,
            fast,
        };
        if !self.moved(word, State::Dead(rest)) {
            match former {
                None => census.open(spared),
                Some(former) if former.spared && !spared => census.uneject(),
                Some(_) => {}
            }
            return None;
        }
        let next = u64::from((step + 1).min(u32::from(u16::MAX)));
        self.deaths.store(next << 48 | for_ms, Ordering::Relaxed);
        if former.is_none() {
            self.closed_ms.store(now_ms, Ordering::Relaxed);
            self.closings.fetch_add(1, Ordering::Relaxed);
        }
        Some(for_ms)
    }

    fn revived(&self, word: u64, rest: Rest) -> bool {
        if !self.moved(word, State::Alive) {
            return false;
        }
        self.shared.census.open(rest.spared);
        self.deaths.store(0, Ordering::Relaxed);
        self.evidence.forget();
        true
    }

    fn state(&self) -> State {
        State::read(self.state.load(Ordering::Relaxed))
    }

    fn moved(&self, from: u64, to: State) -> bool {
        self.state
            .compare_exchange(from, to.word(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

impl Rest {
    /// Whether a request may probe.
    fn is_over(self, now_ms: u64) -> bool {
        self.until_ms <= now_ms && !self.fast
    }
}

const DEATH_WAIT_MOST: u64 = (1 << 48) - 1;
/// The waits of `failFast` (reference/linker.md §2.8).
const FAIL_FAST: Backoff = Backoff::EqualJitter {
    start_ms: 1_000,
    max_ms: 32_000,
};

#[cfg(test)]
mod tests {
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
}
