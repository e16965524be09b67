//! An aperture: P2C among only so many endpoints as keep each busy, so that few connections are kept and those are used.
//!
//! How many is found by a band: when the load per endpoint, smoothed over a window, rises to `highLoad`, one more is taken in,
//! and when it falls to `lowLoad`, one less. Which they are is by chance, and for the life of the process the same: the
//! endpoints of a set are in that order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::p2c;
use super::{Rank, Wish};
use crate::endpoint::{Endpoint, EndpointSet, OfferedLoad, set::WeightClass};

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
    pub total: Arc<OfferedLoad>,
    size: AtomicU32,
    pub widened: AtomicU64,
    pub narrowed: AtomicU64,
}

impl Aperture {
    pub fn new(band: &Band) -> Self {
        Self {
            total: Arc::new(OfferedLoad::new(band.smooth_window_us)),
            size: AtomicU32::new(band.min_aperture),
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
        self.total.smoothed()
    }

    /// Takes note of the load of now, and opens or closes by one endpoint if it has left the band.
    pub fn adjust(&self, band: &Band, set: &EndpointSet, now_us: u64) {
        let smoothed = self.total.observe(now_us);
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
