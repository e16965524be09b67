//! Endpoints: the addresses of a client, what is under way to each, and how each has been doing.
//!
//! An endpoint is shared by all workers, so that they see one load and one health; none of it takes a lock.

pub mod accrual;
pub mod backoff;
pub mod census;
pub mod connect;
pub mod evidence;
pub mod gate;
pub mod latency;
pub mod levels;
pub mod load;
mod offered;
pub mod policy;
pub mod pool;
pub mod set;
mod state;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

pub use accrual::{Accrual, AccrualShared, Probe, Standing, Transition};
use latency::PeakEwma;
use load::LoadListener;
pub use offered::OfferedLoad;
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
///
/// In this order, what each request looks at is in one line of the cache: with thousands of endpoints each request finds
/// another one.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Endpoint {
    /// Unique in the process.
    pub id: u64,
    pending: AtomicU32,
    standing: AtomicU8,
    /// Zero when no balancer looks at the latency.
    decay_us: f32,
    load_listener: Option<Box<LoadListener>>,
    accrual: Accrual,
    latency: PeakEwma,
    /// Since when its share grows, in monotonic ms; `WARM` when it has all of it, `NEW` until somebody looks.
    warming_since_ms: AtomicU64,
    connections: AtomicU32,
    pub address: SocketAddr,
    /// The address as it is shown.
    pub text: Box<str>,
    /// Where connections are limited.
    pub gate: Option<gate::Gate>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

const WARM: u64 = u64::MAX;
const NEW: u64 = u64::MAX - 1;

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
            warming_since_ms: AtomicU64::new(WARM),
            load_listener: LoadListener::new(&treatment.load_needs),
            connections: AtomicU32::new(0),
            gate: gate::Gate::new(&treatment.pool),
        })
    }

    /// The same address under another treatment, with the health that it has.
    fn renewed(&self, treatment: &Treatment) -> Arc<Self> {
        let renewed = Self::new(self.address, treatment);
        renewed.accrual.inherit(&self.accrual);
        let warming = self.warming_since_ms.load(Relaxed);
        renewed.warming_since_ms.store(warming, Relaxed);
        renewed
    }

    /// Counts a request as under way until the result is dropped.
    pub fn begin(&self, now_us: u64) -> InFlight<'_> {
        let before = self.pending.fetch_add(1, Relaxed);
        if let Some(listener) = &self.load_listener {
            listener.changed(before, before + 1, now_us);
        }
        InFlight {
            probe: self.accrual.begin(now_us / 1000),
            endpoint: self,
            began_us: now_us,
            recorded_us: None,
        }
    }

    /// How many requests are under way, over all workers.
    pub fn pending(&self) -> u32 {
        self.pending.load(Relaxed)
    }

    /// How many connections to it are open, over all workers.
    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// Open, unless failures have closed it or it is retired. One that is closed may be spared, and then is open.
    pub fn status(&self, now_us: u64) -> Status {
        if self.accrual.is_open(now_us / 1000) {
            Status::Open
        } else {
            Status::Busy
        }
    }

    /// Whether failures have not closed it, spared or not.
    pub fn is_healthy(&self, now_us: u64) -> bool {
        self.accrual.is_healthy(now_us / 1000)
    }

    pub fn accrual(&self) -> &Accrual {
        &self.accrual
    }

    /// How much of its share it is to get, from 0 to 1, where new and revived endpoints warm up for `for_ms`.
    pub fn warmth(&self, now_us: u64, for_ms: u64) -> f32 {
        let since_ms = self.warming_since_ms.load(Relaxed);
        if since_ms == WARM {
            return 1.0;
        }
        let now_ms = now_us / 1000;
        if since_ms == NEW {
            // Fails only if another worker has just done the same.
            let _ = self.warming_since_ms.compare_exchange(NEW, now_ms, Relaxed, Relaxed);
            return 0.0;
        }
        let passed_ms = now_ms.saturating_sub(since_ms);
        if passed_ms >= for_ms {
            // Fails only if it has been revived once more.
            let _ = self.warming_since_ms.compare_exchange(since_ms, WARM, Relaxed, Relaxed);
            return 1.0;
        }
        passed_ms as f32 / for_ms as f32
    }

    /// Whether its share still grows, for those who only look.
    pub fn is_warming(&self, now_us: u64, for_ms: u64) -> bool {
        match self.warming_since_ms.load(Relaxed) {
            WARM => false,
            NEW => true,
            since_ms => (now_us / 1000).saturating_sub(since_ms) < for_ms,
        }
    }

    /// Its share grows from nothing, from the first request on that might go to it.
    fn warm_up_from_new(&self) {
        self.warming_since_ms.store(NEW, Relaxed);
    }

    /// Connecting to it has failed: closes it, where `failFast` says so, and gives the wait before it should be tried.
    pub fn break_down(&self, now_us: u64, rng: &mut fastrand::Rng) -> Option<u64> {
        self.accrual.break_down(now_us / 1000, rng)
    }

    /// It can be connected to again; false if that was known.
    pub fn mend(&self, now_us: u64) -> bool {
        let mended = self.accrual.mend();
        if mended {
            self.warm_up(now_us);
        }
        mended
    }

    fn take_seat(&self, levels: &Arc<levels::Levels>, index: usize) {
        if let Some(listener) = &self.load_listener {
            listener.sit(levels, index, || self.pending());
        }
    }

    fn warm_up(&self, now_us: u64) {
        self.warming_since_ms.store(now_us / 1000, Relaxed);
    }

    /// The peak-sensitive average of its latency in µs; none if it has not answered lately.
    pub fn latency_us(&self, now_us: u64) -> Option<f32> {
        self.latency.get(now_us, self.decay_us)
    }

    /// It is in no set any more: keep no connection to it.
    pub fn retire(&self) {
        self.standing.store(RETIRED, Relaxed);
        self.accrual.retire();
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
            Outcome::Success => {
                let transition = self.accrual.success(now_us / 1000);
                if transition.is_some() {
                    self.warm_up(now_us);
                }
                transition
            }
            Outcome::Failure => {
                let on_probation = self.standing.compare_exchange(ON_PROBATION, RETIRED, Relaxed, Relaxed);
                if on_probation.is_ok() {
                    self.accrual.retire();
                    return None;
                }
                self.accrual.failure(now_us / 1000, rng)
            }
        }
    }
}

/// A request that is under way to an endpoint. Dropping it ends that, with or without a result.
#[derive(Debug)]
pub struct InFlight<'e> {
    endpoint: &'e Endpoint,
    began_us: u64,
    probe: Option<Probe>,
    recorded_us: Option<u64>,
}

impl InFlight<'_> {
    pub fn endpoint(&self) -> &Endpoint {
        self.endpoint
    }

    /// When the request was begun, in monotonic µs.
    pub fn began_us(&self) -> u64 {
        self.began_us
    }

    /// Takes note of the result: latency (the first time only) and health. The load ends when `self` is dropped, so that
    /// a body that is still streaming counts.
    pub fn record(&mut self, outcome: Outcome, now_us: u64, rng: &mut fastrand::Rng) -> Option<Transition> {
        let endpoint = self.endpoint;
        if endpoint.decay_us > 0.0 && self.recorded_us.is_none() {
            let latency_us = now_us.saturating_sub(self.began_us);
            let failed = outcome == Outcome::Failure;
            endpoint.latency.observe(latency_us, failed, now_us, endpoint.decay_us);
        }
        self.recorded_us = Some(now_us);
        self.probe = None;
        endpoint.record(outcome, now_us, rng)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let before = self.endpoint.pending.fetch_sub(1, Relaxed);
        if let Some(listener) = &self.endpoint.load_listener {
            listener.changed(before, before - 1, self.recorded_us.unwrap_or(self.began_us));
        }
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
