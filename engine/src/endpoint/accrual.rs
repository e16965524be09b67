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
