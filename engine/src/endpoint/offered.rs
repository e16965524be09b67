//! How many requests are under way to all endpoints of a client, and the average of that over the last while.
//!
//! The average is of the load as it was between one event and the next, not of what a request finds when it comes: callers
//! that all ask, wait and ask again in step would find nothing under way though there nearly always is.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// The load, and its moving average in one word: an f32, and the time of the last event in units of 2¹⁰ µs.
#[derive(Debug, Default)]
pub struct OfferedLoad {
    under_way: AtomicU32,
    average: AtomicU64,
    window_us: f32,
}

const TICK_SHIFT: u32 = 10;

impl OfferedLoad {
    /// An average over this while; 0 for none, the load of now.
    pub fn new(window_us: f32) -> Self {
        Self {
            window_us,
            ..Self::default()
        }
    }

    /// A request has begun.
    pub fn begin(&self, now_us: u64) {
        self.observe(now_us);
        self.under_way.fetch_add(1, Relaxed);
    }

    /// A request has ended.
    pub fn end(&self, now_us: u64) {
        self.observe(now_us);
        self.under_way.fetch_sub(1, Relaxed);
    }

    /// The average as of the last event.
    pub fn smoothed(&self) -> f32 {
        f32::from_bits((self.average.load(Relaxed) >> 32) as u32)
    }

    /// The average as of now: what is under way has been so since the last event.
    pub fn observe(&self, now_us: u64) -> f32 {
        let now = (now_us >> TICK_SHIFT) as u32;
        let word = self.average.load(Relaxed);
        // Workers' clocks differ a little, and not every end knows its time: what is of the future is of now.
        let ticks = now.wrapping_sub(word as u32).cast_signed().max(0);
        let last = f32::from_bits((word >> 32) as u32);
        let kept = if self.window_us > 0.0 {
            (-(ticks as f32) * (1 << TICK_SHIFT) as f32 / self.window_us).exp()
        } else {
            0.0
        };
        let next = last * kept + self.under_way.load(Relaxed) as f32 * (1.0 - kept);
        if ticks > 0 {
            let next = u64::from(next.to_bits()) << 32 | u64::from(now);
            // Fails only if another worker has just observed about the same.
            let _ = self.average.compare_exchange(word, next, Relaxed, Relaxed);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn the_average_comes_to_what_is_under_way_within_a_few_windows() {
        let load = OfferedLoad::new(1e6);
        for _ in 0..8 {
            load.begin(SECOND);
        }
        assert!((load.observe(10 * SECOND) - 8.0).abs() < 0.01, "{}", load.smoothed());
        for _ in 0..8 {
            load.end(10 * SECOND);
        }
        let after = load.observe(11 * SECOND);
        assert!((after - 8.0 / std::f32::consts::E).abs() < 0.05, "{after}");
        assert!(
            (load.observe(5 * SECOND) - after).abs() < 0.01,
            "the past changes nothing"
        );
    }

    #[test]
    fn callers_in_step_are_seen_though_each_round_begins_with_nothing_under_way() {
        let load = OfferedLoad::new(1e5);
        for round in 1..100 {
            for _ in 0..8 {
                load.begin(round * 50_000);
            }
            for _ in 0..8 {
                load.end(round * 50_000 + 49_000);
            }
        }
        let smoothed = load.observe(100 * 50_000);
        assert!((7.0..=8.0).contains(&smoothed), "{smoothed}");
    }

    #[test]
    fn an_end_without_a_time_of_its_own_leaves_the_average() {
        let load = OfferedLoad::new(1e6);
        load.begin(SECOND);
        let before = load.observe(9 * SECOND);
        load.end(SECOND);
        assert!((load.smoothed() - before).abs() < 1e-6);
        assert!(load.observe(90 * SECOND) < 0.001);
    }

    #[test]
    fn without_a_window_the_load_of_now_counts() {
        let load = OfferedLoad::new(0.0);
        load.begin(5 * SECOND);
        assert!((load.observe(5 * SECOND) - 1.0).abs() < 1e-6);
    }
}
