//! An aperture: P2C among only so many endpoints as keep each busy, so that few connections are kept and those are used.
//!
//! How many is found by a band: when the load per endpoint, smoothed over a window, rises to `highLoad`, one more is taken in,
//! and when it falls to `lowLoad`, one less. Which they are is by chance, and for the life of the process the same: the
//! endpoints of a set are in that order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::p2c;
use super::{Rank, Wish};
use crate::endpoint::{Endpoint, EndpointSet, set::WeightClass};

/// When the aperture is opened and closed: the keys of the kind.
#[derive(Clone, Copy, Debug)]
pub struct Band {
    pub smooth_window_us: f32,
    pub low_load: f32,
    pub high_load: f32,
    pub min_aperture: u32,
}

/// The aperture of one client, shared by all workers. Two that change it at once may lose one of two steps.
#[derive(Debug)]
pub struct Aperture {
    /// Requests under way to all endpoints.
    pub total: Arc<AtomicU32>,
    size: AtomicU32,
    smoothed: Smoothed,
    pub widened: AtomicU64,
    pub narrowed: AtomicU64,
}

impl Aperture {
    pub fn new(band: &Band) -> Self {
        Self {
            total: Arc::default(),
            size: AtomicU32::new(band.min_aperture),
            smoothed: Smoothed::default(),
            widened: AtomicU64::new(0),
            narrowed: AtomicU64::new(0),
        }
    }

    /// How many of so many endpoints are to be used.
    pub fn size(&self, band: &Band, endpoints: usize) -> usize {
        let least = (band.min_aperture as usize).min(endpoints).max(1);
        (self.size.load(Relaxed) as usize).clamp(least, endpoints.max(least))
    }

    /// The smoothed load of all endpoints together.
    pub fn load(&self) -> f32 {
        self.smoothed.get()
    }

    /// Takes note of the load of now, and opens or closes by one endpoint if it has left the band.
    pub fn adjust(&self, band: &Band, set: &EndpointSet, now_us: u64) {
        // The request that is about to be sent counts, as in Finagle.
        let load = self.total.load(Relaxed) as f32 + 1.0;
        let smoothed = self.smoothed.observe(load, now_us, band.smooth_window_us);
        let endpoints = set.endpoints.len();
        let size = self.size(band, endpoints);
        // Those that are out of use carry nothing.
        let working = (size as f32 * set.treatment().accrual.census.healthy_share()).max(1.0);
        let each = smoothed / working;
        if each >= band.high_load && size < endpoints {
            self.size.store(size as u32 + 1, Relaxed);
            self.widened.fetch_add(1, Relaxed);
        } else if each <= band.low_load && size > band.min_aperture as usize {
            self.size.store(size as u32 - 1, Relaxed);
            self.narrowed.fetch_add(1, Relaxed);
        }
    }

    /// One try; the class must not be empty. A class gets the part of the aperture that its size is of the set's.
    pub(super) fn draw<'set>(
        &self,
        band: &Band,
        set: &'set EndpointSet,
        class: &WeightClass,
        wish: &Wish<'_>,
        rng: &mut fastrand::Rng,
    ) -> (Rank, &'set Arc<Endpoint>) {
        let members = &set.endpoints[class.range.clone()];
        let endpoints = set.endpoints.len();
        let inside = (self.size(band, endpoints) * members.len()).div_ceil(endpoints);
        p2c::draw(&members[..inside.clamp(1, members.len())], wish, rng)
    }
}

/// A moving average in one word: an f32, and the time of the last observation in units of 2¹⁰ µs.
#[derive(Debug, Default)]
struct Smoothed(AtomicU64);

const TICK_SHIFT: u32 = 10;

impl Smoothed {
    fn get(&self) -> f32 {
        f32::from_bits((self.0.load(Relaxed) >> 32) as u32)
    }

    fn observe(&self, value: f32, now_us: u64, window_us: f32) -> f32 {
        let now = (now_us >> TICK_SHIFT) as u32;
        let word = self.0.load(Relaxed);
        // Workers' clocks differ a little: what is of the future is of now.
        let ticks = now.wrapping_sub(word as u32).cast_signed().max(0);
        let last = f32::from_bits((word >> 32) as u32);
        let kept = if window_us > 0.0 {
            (-(ticks as f32) * (1 << TICK_SHIFT) as f32 / window_us).exp()
        } else {
            0.0
        };
        let next = last * kept + value * (1.0 - kept);
        if ticks > 0 {
            let next = u64::from(next.to_bits()) << 32 | u64::from(now);
            // Fails only if another worker has just observed about the same.
            let _ = self.0.compare_exchange(word, next, Relaxed, Relaxed);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_comes_to_what_is_observed_within_a_few_windows() {
        let smoothed = Smoothed::default();
        let second = 1_000_000;
        for step in 1..=100 {
            smoothed.observe(8.0, step * second / 10, 1e6);
        }
        assert!((smoothed.get() - 8.0).abs() < 0.01, "{}", smoothed.get());
        let after = smoothed.observe(0.0, 11 * second, 1e6);
        assert!((after - 8.0 / std::f32::consts::E).abs() < 0.05, "{after}");
        assert!(
            (smoothed.observe(100.0, 5 * second, 1e6) - after).abs() < 0.01,
            "the past changes nothing"
        );
    }

    #[test]
    fn without_a_window_the_load_of_now_counts() {
        let smoothed = Smoothed::default();
        assert!((smoothed.observe(3.0, 5_000_000, 0.0) - 3.0).abs() < 1e-6);
    }
}
