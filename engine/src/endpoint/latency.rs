//! A peak-sensitive moving average of an endpoint's latency, shared by all workers in one word.
//!
//! It rises at once to a slower answer and falls exponentially after it, so that a balancer leaves a struggling endpoint
//! early and comes back by and by.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The clock of the word: 2⁶ µs a tick, which wraps after three days.
const TICK_SHIFT: u32 = 6;
/// So many ticks (over an hour) of the clock are taken for the future, and not for three days ago.
const FUTURE: u32 = 1 << 26;
/// After so many decay times without an answer the average says nothing any more.
const STALE: f32 = 8.0;
/// What an endpoint whose first answer is a failure is taken to need.
const FAILED_US: f32 = 1_000_000.0;

/// Zero, or the average in µs (upper half, an f32) and its tick.
#[derive(Debug, Default)]
pub struct PeakEwma(AtomicU64);

impl PeakEwma {
    /// The average in µs as it has decayed until now; none if it is unknown or forgotten.
    pub fn get(&self, now_us: u64, decay_us: f32) -> Option<f32> {
        let word = self.0.load(Relaxed);
        if word == 0 {
            return None;
        }
        let (average, age) = read(word, now_us, decay_us);
        (age < STALE).then(|| average * left(age))
    }

    /// An answer came after `latency_us`. A failure never makes the endpoint look faster.
    pub fn observe(&self, latency_us: u64, failed: bool, now_us: u64, decay_us: f32) {
        let latency = (latency_us as f32).max(1.0);
        let mut word = self.0.load(Relaxed);
        loop {
            let (average, age) = read(word, now_us, decay_us);
            let next = match (word == 0 || age >= STALE, failed) {
                (true, false) => latency,
                (true, true) => latency.max(FAILED_US),
                (false, _) if latency >= average => latency,
                (false, true) => average,
                (false, false) => {
                    let kept = left(age);
                    average * kept + latency * (1.0 - kept)
                }
            };
            let next = u64::from(next.to_bits()) << 32 | u64::from(stamp(word, now_us));
            match self.0.compare_exchange_weak(word, next, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(other) => word = other,
            }
        }
    }
}

fn tick(now_us: u64) -> u32 {
    (now_us >> TICK_SHIFT) as u32
}

/// How many ticks ago the word was written. Workers' clocks differ a little, and results may come late: the future counts
/// as now.
fn ticks_since(word: u64, now_us: u64) -> u32 {
    let ticks = tick(now_us).wrapping_sub(word as u32);
    if ticks > u32::MAX - FUTURE { 0 } else { ticks }
}

/// The tick of the next word: time does not run backwards, lest the average decay twice.
fn stamp(word: u64, now_us: u64) -> u32 {
    if word == 0 {
        return tick(now_us);
    }
    (word as u32).wrapping_add(ticks_since(word, now_us))
}

/// The average in µs, and its age in decay times.
fn read(word: u64, now_us: u64, decay_us: f32) -> (f32, f32) {
    let age = (ticks_since(word, now_us) as f32) * (1 << TICK_SHIFT) as f32 / decay_us.max(1.0);
    (f32::from_bits((word >> 32) as u32), age)
}

/// What is left of an average of this age (e⁻ᵃᵍᵉ). Under traffic it is young, and a short series of eᵃᵍᵉ good to 0.4 %.
#[inline]
fn left(age: f32) -> f32 {
    if age < 1.0 {
        1.0 / (1.0 + age * (1.0 + age * (0.5 + age * (1.0 / 6.0 + age * (1.0 / 24.0)))))
    } else {
        (-age).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: f32 = 10_000_000.0;
    const SECOND: u64 = 1_000_000;

    #[test]
    fn it_rises_at_once_and_falls_slowly() {
        let ewma = PeakEwma::default();
        assert_eq!(ewma.get(5, DECAY), None);
        ewma.observe(1_000, false, SECOND, DECAY);
        ewma.observe(50_000, false, 2 * SECOND, DECAY);
        assert_eq!(ewma.get(2 * SECOND, DECAY), Some(50_000.0));
        ewma.observe(1_000, false, 12 * SECOND, DECAY);
        let after = ewma.get(12 * SECOND, DECAY).unwrap_or_default();
        let expected = 50_000.0 / std::f32::consts::E + 1_000.0 * (1.0 - 1.0 / std::f32::consts::E);
        assert!((after - expected).abs() < 1.0, "{after} against {expected}");
    }

    #[test]
    fn it_decays_by_itself_and_is_forgotten() {
        let ewma = PeakEwma::default();
        ewma.observe(50_000, false, SECOND, DECAY);
        let later = ewma.get(11 * SECOND, DECAY).unwrap_or_default();
        assert!((later - 50_000.0 / std::f32::consts::E).abs() < 1.0, "{later}");
        assert_eq!(ewma.get(90 * SECOND, DECAY), None);
    }

    #[test]
    fn a_failure_never_makes_it_look_faster() {
        let ewma = PeakEwma::default();
        ewma.observe(50, true, SECOND, DECAY);
        assert_eq!(ewma.get(SECOND, DECAY), Some(FAILED_US));
        ewma.observe(50, true, 9 * SECOND, DECAY);
        assert_eq!(ewma.get(9 * SECOND, DECAY), Some(FAILED_US));
    }

    #[test]
    fn a_result_that_comes_late_does_not_age_the_average() {
        let ewma = PeakEwma::default();
        ewma.observe(50_000, false, 20 * SECOND, DECAY);
        ewma.observe(1_000, false, 5 * SECOND, DECAY);
        assert_eq!(ewma.get(20 * SECOND, DECAY), Some(50_000.0));
    }

    #[test]
    fn days_without_an_answer_do_not_stop_its_clock() {
        let (ewma, day) = (PeakEwma::default(), 86_400 * SECOND);
        ewma.observe(50_000, false, SECOND, DECAY);
        assert_eq!(ewma.get(2 * day, DECAY), None);
        ewma.observe(1_000, false, 2 * day, DECAY);
        assert_eq!(ewma.get(2 * day, DECAY), Some(1_000.0));
    }

    #[test]
    fn a_clock_that_is_a_little_behind_reads_it_as_of_now() {
        let ewma = PeakEwma::default();
        ewma.observe(700, false, 5 * SECOND, DECAY);
        assert_eq!(ewma.get(4 * SECOND, DECAY), Some(700.0));
    }
}
