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
use super::state::{Rest, State};
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

    /// The same for other endpoints, those of the same addresses under another policy: what was counted stays.
    pub fn renewed(&self, policy: Policy, outliers: OutlierPlan) -> Arc<Self> {
        Arc::new(Self {
            policy,
            outliers,
            counters: self.counters.copied(),
            fail_fast: self.fail_fast.copied(),
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

/// Where an endpoint stands with its failures, as it is shown. Times are monotonic milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Alive,
    Dead { probe_ms: u64, used: bool },
    Probing { used: bool },
}

/// The failure accrual of one endpoint. Times are monotonic milliseconds.
///
/// In this order, so that what each request looks at is together.
#[derive(Debug)]
#[repr(C)]
pub struct Accrual {
    state: AtomicU64,
    evidence: Evidence,
    shared: Arc<AccrualShared>,
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

    /// Takes on that `former` is dead, if both tell it in the same way; a probe that is under way there is not ours, and one that
    /// could not be connected to is found dead by the next connection.
    pub fn inherit(&self, former: &Self) {
        if std::mem::discriminant(&self.shared.policy) != std::mem::discriminant(&former.shared.policy) {
            return;
        }
        let (State::Dead(rest) | State::Probing(rest)) = former.state() else {
            return;
        };
        if rest.fast {
            return;
        }
        let spared = self.shared.census.close();
        self.state
            .store(State::Dead(Rest { spared, ..rest }).word(), Ordering::Relaxed);
        self.deaths
            .store(former.deaths.load(Ordering::Relaxed), Ordering::Relaxed);
        let (closed_ms, closings) = former.closed();
        self.closed_ms.store(closed_ms, Ordering::Relaxed);
        self.closings.store(closings, Ordering::Relaxed);
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

    /// How many of how many are closed, if the last one made so few healthy that all are used.
    pub fn last_straw(&self) -> Option<(u32, u32)> {
        self.shared.census.last_straw()
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

const DEATH_WAIT_MOST: u64 = (1 << 48) - 1;
/// The waits of `failFast` (reference/linker.md §2.8).
const FAIL_FAST: Backoff = Backoff::EqualJitter {
    start_ms: 1_000,
    max_ms: 32_000,
};

#[cfg(test)]
mod tests;
