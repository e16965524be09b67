//! stub
use crate::failure::Cause;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);
impl Counter {
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed) + n, Relaxed)
    }
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);
impl Gauge {
    pub fn add(&self, n: i64) {
        self.0.store(self.0.load(Relaxed) + n, Relaxed)
    }
    pub fn sub(&self, n: i64) {
        self.add(-n)
    }
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}
#[derive(Debug, Default)]
pub struct Histogram(AtomicU64);
impl Histogram {
    pub fn record(&self, n: u64) {
        self.0.store(self.0.load(Relaxed) + n, Relaxed)
    }
}
#[derive(Debug, Default)]
pub struct ServerStats {
    pub connects: Counter,
    pub closes: Counter,
    pub received_bytes: Counter,
    pub sent_bytes: Counter,
    pub pending: Gauge,
    pub requests: Counter,
    pub failures: Counter,
}
#[derive(Debug, Default)]
pub struct ServiceStats {
    pub pending: Gauge,
    pub requests: Counter,
    pub failures: Counter,
}
#[derive(Debug, Default)]
pub struct PathStats {
    pub pending: Gauge,
    pub requests: Counter,
    pub failures: Counter,
}
#[derive(Debug, Default)]
pub struct ClientStats {
    pub pending: Gauge,
    pub requests: Counter,
    pub failures: Counter,
    pub requeues: Counter,
    pub connects: Counter,
    pub connect_failures: Counter,
    pub connect_latency: Histogram,
}
#[derive(Debug, Default)]
pub struct BindCacheStats {
    pub misses: Counter,
    pub evicts: Counter,
    pub expires: Counter,
}
macro_rules! fin {
    ($t:ty) => {
        impl $t {
            pub fn finish(&self, status: u16, _l: u64, cause: Option<Cause>) {
                self.requests.add(1);
                if cause.is_some() || status >= 500 {
                    self.failures.add(1)
                }
            }
        }
    };
}
fin!(ServerStats);
fin!(ServiceStats);
fin!(PathStats);
fin!(ClientStats);
