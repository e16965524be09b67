//! Endpoints: the addresses of a client, what is under way to each, and how each has been doing.
//!
//! An endpoint is shared by all workers, so that they see one load and one health; none of it takes a lock.

pub mod accrual;
pub mod backoff;
pub mod connect;
pub mod evidence;
pub mod gate;
pub mod latency;
pub mod policy;
pub mod pool;
pub mod set;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

pub use accrual::{Accrual, AccrualShared, Probe, Transition};
use latency::PeakEwma;
pub use policy::Policy;
pub use set::{EndpointSet, Treatment};

/// Whether a balancer should choose an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Open,
    Busy,
}

/// How a request to an endpoint ended, as its service classifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Failure,
}

const CURRENT: u8 = 0;
const ON_PROBATION: u8 = 1;
const RETIRED: u8 = 2;

/// One address of a client.
#[derive(Debug)]
#[repr(align(64))]
pub struct Endpoint {
    /// Unique in the process.
    pub id: u64,
    pub address: SocketAddr,
    /// The address as it is shown.
    pub text: Box<str>,
    pending: AtomicU32,
    standing: AtomicU8,
    /// Zero when no balancer looks at the latency.
    decay_us: f32,
    latency: PeakEwma,
    accrual: Accrual,
    /// Where connections are limited.
    pub gate: Option<gate::Gate>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Endpoint {
    pub fn new(address: SocketAddr, treatment: &Treatment) -> Arc<Self> {
        Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            address,
            text: address.to_string().into(),
            pending: AtomicU32::new(0),
            standing: AtomicU8::new(CURRENT),
            decay_us: treatment.decay_us.unwrap_or(0.0),
            latency: PeakEwma::default(),
            accrual: Accrual::new(Arc::clone(&treatment.accrual)),
            gate: gate::Gate::new(&treatment.pool),
        })
    }

    /// The same address under another treatment, with the health that it has.
    fn renewed(&self, treatment: &Treatment) -> Arc<Self> {
        let renewed = Self::new(self.address, treatment);
        renewed.accrual.inherit(&self.accrual);
        renewed
    }

    /// Counts a request as under way until the result is dropped.
    pub fn begin(self: &Arc<Self>, now_us: u64) -> InFlight {
        self.pending.fetch_add(1, Relaxed);
        InFlight {
            probe: self.accrual.begin(now_us / 1000),
            endpoint: Arc::clone(self),
            began_us: now_us,
            timed: false,
        }
    }

    /// How many requests are under way, over all workers.
    pub fn pending(&self) -> u32 {
        self.pending.load(Relaxed)
    }

    /// Open, unless failures have closed it or it is retired.
    pub fn status(&self, now_us: u64) -> Status {
        if self.accrual.is_open(now_us / 1000) && !self.is_retired() {
            Status::Open
        } else {
            Status::Busy
        }
    }

    /// The peak-sensitive average of its latency in µs; none if it has not answered lately.
    pub fn latency_us(&self, now_us: u64) -> Option<f32> {
        self.latency.get(now_us, self.decay_us)
    }

    /// It is in no set any more: keep no connection to it.
    pub fn retire(&self) {
        self.standing.store(RETIRED, Relaxed);
    }

    pub fn is_retired(&self) -> bool {
        self.standing.load(Relaxed) == RETIRED
    }

    /// Discovery has removed it, but it is used until it fails (`enableProbation`).
    pub fn is_on_probation(&self) -> bool {
        self.standing.load(Relaxed) == ON_PROBATION
    }

    fn put_on_probation(&self) {
        self.standing.store(ON_PROBATION, Relaxed);
    }

    fn restore(&self) {
        self.standing.store(CURRENT, Relaxed);
    }

    fn record(&self, outcome: Outcome, now_us: u64, rng: &mut fastrand::Rng) -> Option<Transition> {
        match outcome {
            Outcome::Success => self.accrual.success(now_us / 1000),
            Outcome::Failure => {
                // Fails only if another worker has just decided the same, or discovery has brought it back.
                let _ = self.standing.compare_exchange(ON_PROBATION, RETIRED, Relaxed, Relaxed);
                self.accrual.failure(now_us / 1000, rng)
            }
        }
    }
}

/// A request that is under way to an endpoint. Dropping it ends that, with or without a result.
#[derive(Debug)]
pub struct InFlight {
    endpoint: Arc<Endpoint>,
    began_us: u64,
    probe: Option<Probe>,
    timed: bool,
}

impl InFlight {
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// When the request was begun, in monotonic µs.
    pub fn began_us(&self) -> u64 {
        self.began_us
    }

    /// Takes note of the result: latency (the first time only) and health. The load ends when `self` is dropped, so that
    /// a body that is still streaming counts.
    pub fn record(&mut self, outcome: Outcome, now_us: u64, rng: &mut fastrand::Rng) -> Option<Transition> {
        let endpoint = &self.endpoint;
        if endpoint.decay_us > 0.0 && !self.timed {
            let latency_us = now_us.saturating_sub(self.began_us);
            let failed = outcome == Outcome::Failure;
            endpoint.latency.observe(latency_us, failed, now_us, endpoint.decay_us);
        }
        self.timed = true;
        self.probe = None;
        endpoint.record(outcome, now_us, rng)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.endpoint.pending.fetch_sub(1, Relaxed);
        if let Some(probe) = self.probe.take() {
            self.endpoint.accrual.abandon(&probe);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(treatment: &Treatment) -> Arc<Endpoint> {
        Endpoint::new(SocketAddr::from(([127, 0, 0, 1], 8080)), treatment)
    }

    #[test]
    fn a_request_counts_until_it_is_dropped_with_or_without_a_result() {
        let mut rng = fastrand::Rng::with_seed(1);
        let endpoint = endpoint(&Treatment::default());
        let mut one = endpoint.begin(0);
        let other = endpoint.begin(0);
        one.record(Outcome::Success, 10, &mut rng);
        assert_eq!(endpoint.pending(), 2, "its body may still be on the way");
        drop(one);
        drop(other);
        assert_eq!(endpoint.pending(), 0);
    }

    #[test]
    fn only_the_first_result_of_a_request_times_it() {
        let mut rng = fastrand::Rng::with_seed(1);
        let endpoint = endpoint(&Treatment {
            decay_us: Some(1e7),
            ..Treatment::default()
        });
        let mut request = endpoint.begin(1_000);
        request.record(Outcome::Success, 3_000, &mut rng);
        request.record(Outcome::Failure, 900_000, &mut rng);
        assert!(
            endpoint
                .latency_us(3_000)
                .is_some_and(|latency| (latency - 2_000.0).abs() < 1.0)
        );
    }

    #[test]
    fn a_probe_whose_caller_went_away_is_handed_back() {
        let mut rng = fastrand::Rng::with_seed(1);
        let endpoint = endpoint(&Treatment::default());
        for _ in 0..5 {
            endpoint.begin(0).record(Outcome::Failure, 0, &mut rng);
        }
        assert_eq!(endpoint.status(4_999_999), Status::Busy);
        let probe = endpoint.begin(5_000_000);
        assert_eq!(endpoint.status(5_000_000), Status::Busy);
        drop(probe);
        assert_eq!(endpoint.status(5_000_000), Status::Open);
        endpoint.begin(5_000_000).record(Outcome::Success, 5_000_100, &mut rng);
        assert_eq!(endpoint.status(5_000_100), Status::Open);
        assert!(endpoint.begin(5_000_100).probe.is_none(), "it is alive");
    }

    #[test]
    fn ids_are_unique() {
        let treatment = Treatment::default();
        assert_ne!(endpoint(&treatment).id, endpoint(&treatment).id);
    }
}
