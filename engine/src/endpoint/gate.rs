//! How many connections to an endpoint may be in use at once, and how many requests may wait for one
//! (`hostConnectionPool.maxSize` and `maxWaiters`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::plan::PoolPlan;
use crate::stats::ClientStats;

/// The places of one endpoint, shared by all workers; who waits is served in order.
#[derive(Debug)]
pub struct Gate {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
}

/// Too many requests wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded;

/// Counts a request out of those that wait, also when it gives up.
struct Waiting<'a>(&'a Gate, &'a ClientStats);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
        self.1.pool_waiters.sub(1);
    }
}

impl Gate {
    /// Makes the gate of one endpoint; none where connections are not limited.
    pub fn new(plan: &PoolPlan) -> Option<Self> {
        let places = plan.max_size?.clamp(1, Semaphore::MAX_PERMITS);
        Some(Self {
            places: Arc::new(Semaphore::new(places)),
            waiting: AtomicUsize::new(0),
            max_waiting: plan.max_waiters.unwrap_or(usize::MAX),
        })
    }

    /// Whether all places are taken.
    pub fn is_full(&self) -> bool {
        self.places.available_permits() == 0
    }

    /// How many requests wait for a place.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed).min(self.max_waiting)
    }

    /// Takes a place, which is free again when the result is dropped; waits for one unless too many do.
    /// `stats` count those that wait and those that may not.
    pub async fn enter(&self, stats: &ClientStats) -> Result<Option<OwnedSemaphorePermit>, Crowded> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(Some(place));
        }
        if self.waiting.fetch_add(1, Relaxed) >= self.max_waiting {
            self.waiting.fetch_sub(1, Relaxed);
            stats.pool_num_too_many_waiters.add(1);
            return Err(Crowded);
        }
        stats.pool_num_waited.add(1);
        stats.pool_waiters.add(1);
        let waiting = Waiting(self, stats);
        let place = self.places.clone().acquire_owned().await;
        drop(waiting);
        // Nobody closes the semaphore; were it closed, there would be no limit.
        Ok(place.ok())
    }
}
