//! A distribution of whole numbers (microseconds, bytes), to within 1 %.
//!
//! Log-linear: 64 buckets for each doubling of the value. A linker holds thousands of these, and most see few values or
//! none: the first few buckets are counted without any octave. The octaves after that are side by side, so that a usual value
//! touches two pieces of memory: with thousands of names, none of it is in a cache.

use std::hint::black_box;
use std::mem::size_of;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::counter::Counter;
use crate::tally::Stat;

const BUCKET_BITS: u32 = 6;
const BUCKETS: usize = 1 << BUCKET_BITS;
const OCTAVES: usize = 40;
/// So many octaves are side by side, and found by one step; the others are sought one by one.
const NEAR: usize = 4;
/// Values are cut to this: a year in µs, 32 TiB in bytes.
const VALUE_MOST: u64 = (1 << (BUCKET_BITS as usize + OCTAVES - 1)) - 1;

/// So many buckets are counted before there is any octave.
const EARLY: usize = 4;
const EARLY_BITS: u32 = 20;
/// What an early bucket counts at most.
const EARLY_MOST: u32 = (1 << EARLY_BITS) - 1;

/// The octaves around the usual values: an octave below the last of the first few values, and on from there.
#[derive(Debug, Default)]
struct Near {
    octaves: [Octave; NEAR],
    far: Chain,
}

type Chain = OnceLock<Box<Far>>;

/// An octave that is none of the near ones.
#[derive(Debug)]
struct Far {
    nth: usize,
    octave: Octave,
    next: Chain,
}

/// Values between one power of two and the next.
#[derive(Debug)]
struct Octave {
    counts: [AtomicU16; BUCKETS],
    /// What did not fit into `counts`, which stay at their most: so every sum a reader makes only rises. Most buckets of
    /// most histograms never need it.
    overflow: OnceLock<Box<[Counter; BUCKETS]>>,
}

impl Default for Octave {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU16::new(0) }; BUCKETS],
            overflow: OnceLock::new(),
        }
    }
}

impl Octave {
    #[inline]
    fn add(&self, bucket: usize) {
        let count = &self.counts[bucket];
        match count.load(Relaxed).checked_add(1) {
            Some(next) => count.store(next, Relaxed),
            None => self.overflow.get_or_init(zeros)[bucket].add(1),
        }
    }

    fn count(&self, bucket: usize) -> u64 {
        let overflow = self.overflow.get().map_or(0, |counts| counts[bucket].get());
        u64::from(self.counts[bucket].load(Relaxed)) + overflow
    }

    /// The bytes that it takes beside itself.
    fn beside(&self) -> usize {
        self.overflow.get().map_or(0, |_| size_of::<[Counter; BUCKETS]>())
    }
}

/// All of a chain.
fn links(chain: &Chain) -> impl Iterator<Item = &Far> {
    std::iter::successors(chain.get(), |far| far.next.get()).map(|far| &**far)
}

/// Gives the octave of a chain, which is made if it is not there.
fn far(mut chain: &Chain, nth: usize) -> &Octave {
    loop {
        let far = chain.get_or_init(|| {
            Box::new(Far {
                nth,
                octave: Octave::default(),
                next: Chain::new(),
            })
        });
        if far.nth == nth {
            return &far.octave;
        }
        chain = &far.next;
    }
}

fn zeros() -> Box<[Counter; BUCKETS]> {
    Box::new(std::array::from_fn(|_| Counter::default()))
}

/// One worker's part of a distribution. One thread at a time may record.
///
/// In this order, what each value touches is together.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Histogram {
    sum: AtomicU64,
    /// Made when all the early buckets are taken.
    near: OnceLock<Box<Near>>,
    /// Each a bucket of any octave, as `early_key` names it, and below that its count; 0 for none. The last is taken first.
    early: [AtomicU32; EARLY],
}

/// What an early bucket's word begins with: never 0.
#[inline]
fn early_key(octave: usize, bucket: usize) -> u32 {
    ((octave * BUCKETS + bucket + 1) as u32) << EARLY_BITS
}

/// The octave of a value, and its bucket there.
#[inline]
fn place(value: u64) -> (usize, usize) {
    let value = value.min(VALUE_MOST);
    if value < BUCKETS as u64 {
        return (0, value as usize);
    }
    let exponent = u64::BITS - 1 - value.leading_zeros();
    let bucket = (value >> (exponent - BUCKET_BITS)) as usize & (BUCKETS - 1);
    ((exponent - BUCKET_BITS + 1) as usize, bucket)
}

/// The middle of a bucket.
fn value(octave: usize, bucket: usize) -> f64 {
    let Some(shift) = octave.checked_sub(1) else {
        return bucket as f64;
    };
    let (least, width) = (((BUCKETS + bucket) as u64) << shift, 1_u64 << shift);
    least as f64 + (width - 1) as f64 / 2.0
}

impl Histogram {
    #[inline]
    pub fn record(&self, value: u64) {
        let (octave, bucket) = place(value);
        self.sum
            .store(self.sum.load(Relaxed).wrapping_add(value.min(VALUE_MOST)), Relaxed);
        match self.near.get() {
            Some(near) => self.record_in(near, octave, bucket),
            None => self.record_early(octave, bucket),
        }
    }

    /// Has the memory fetched that a value of about this size will touch, while others are fetched.
    #[inline]
    pub fn look_ahead(&self, value: u64) {
        let (octave, bucket) = place(value);
        let octave = self
            .near
            .get()
            .and_then(|near| near.octaves.get(octave.wrapping_sub(self.nearest())));
        if let Some(octave) = octave {
            black_box(octave.counts[bucket].load(Relaxed));
        }
    }

    #[inline]
    fn record_in(&self, near: &Near, octave: usize, bucket: usize) {
        match near.octaves.get(octave.wrapping_sub(self.nearest())) {
            Some(octave) => octave.add(bucket),
            None => far(&near.far, octave).add(bucket),
        }
    }

    fn record_early(&self, octave: usize, bucket: usize) {
        let key = early_key(octave, bucket);
        for word in self.early.iter().rev() {
            let held = word.load(Relaxed);
            if held == 0 || (held & !EARLY_MOST == key && held & EARLY_MOST < EARLY_MOST) {
                word.store((held | key) + 1, Relaxed);
                return;
            }
        }
        self.record_in(self.near.get_or_init(Box::default), octave, bucket);
    }

    /// The first of the near octaves: told by the early bucket that was taken last.
    #[inline]
    fn nearest(&self) -> usize {
        let key = self.early[0].load(Relaxed) >> EARLY_BITS;
        let octave = (key as usize).saturating_sub(1) / BUCKETS;
        octave.saturating_sub(1).min(OCTAVES - NEAR)
    }

    /// What was counted early in the buckets of an octave.
    fn early(&self, octave: usize) -> impl Iterator<Item = (usize, u64)> {
        let words = self
            .early
            .iter()
            .map(|word| word.load(Relaxed))
            .filter(|&held| held > 0);
        words.filter_map(move |held| {
            let place = (held >> EARLY_BITS) as usize - 1;
            (place / BUCKETS == octave).then_some((place % BUCKETS, u64::from(held & EARLY_MOST)))
        })
    }

    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        let early: u64 = self
            .early
            .iter()
            .map(|word| u64::from(word.load(Relaxed) & EARLY_MOST))
            .sum();
        let octaves = (0..OCTAVES).filter_map(|nth| self.octave(nth));
        let counted = octaves.map(|octave| (0..BUCKETS).map(|bucket| octave.count(bucket)).sum::<u64>());
        early + counted.sum::<u64>()
    }

    /// The first value takes an early bucket.
    fn is_empty(&self) -> bool {
        self.early[EARLY - 1].load(Relaxed) == 0
    }

    fn octave(&self, nth: usize) -> Option<&Octave> {
        let near = self.near.get()?;
        near.octaves
            .get(nth.wrapping_sub(self.nearest()))
            .or_else(|| links(&near.far).find(|far| far.nth == nth).map(|far| &far.octave))
    }

    /// The bytes that it takes, itself included.
    pub fn footprint(&self) -> usize {
        let Some(near) = self.near.get() else {
            return size_of::<Self>();
        };
        let far = links(&near.far).map(|far| size_of::<Far>() + far.octave.beside());
        let beside = near.octaves.iter().map(Octave::beside);
        size_of::<Self>() + size_of::<Near>() + beside.sum::<usize>() + far.sum::<usize>()
    }

    /// Adds up parts, in units of `unit` recorded ones; none if nothing was recorded.
    pub fn merged<'a>(parts: impl Iterator<Item = &'a Self> + Clone, unit: f64) -> Option<Stat> {
        // Most were never recorded to.
        if parts.clone().all(Self::is_empty) {
            return None;
        }
        let mut stat = Stat::default();
        for nth in 0..OCTAVES {
            let mut counts = [0_u64; BUCKETS];
            let mut any = false;
            for part in parts.clone() {
                for (bucket, count) in part.early(nth) {
                    any = true;
                    counts[bucket] += count;
                }
                if let Some(octave) = part.octave(nth) {
                    any = true;
                    for (bucket, count) in counts.iter_mut().enumerate() {
                        *count += octave.count(bucket);
                    }
                }
            }
            if !any {
                continue;
            }
            for (bucket, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                stat.count += count;
                stat.buckets.push((value(nth, bucket) / unit, count));
            }
        }
        stat.sum = parts.map(|part| part.sum.load(Relaxed)).sum::<u64>() as f64 / unit;
        Some(stat)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "small whole numbers are exact")]

    use super::*;

    #[test]
    fn a_bucket_is_within_one_percent_of_every_value_in_it() {
        let mut rng = fastrand::Rng::with_seed(11);
        for _ in 0..200_000 {
            let wanted = rng.u64(..=VALUE_MOST) >> rng.u32(..45);
            let (octave, bucket) = place(wanted);
            let given = value(octave, bucket);
            assert!(
                (given - wanted as f64).abs() <= wanted as f64 * 0.01,
                "{wanted} became {given}"
            );
        }
    }

    #[test]
    fn small_values_are_exact_and_buckets_rise_without_a_gap() {
        for wanted in 0..128 {
            let (octave, bucket) = place(wanted);
            assert_eq!(value(octave, bucket), wanted as f64);
        }
        let mut last = (0, 0);
        for wanted in 1..200_000 {
            let at = place(wanted);
            let next = (last.0 + (last.1 + 1) / BUCKETS, (last.1 + 1) % BUCKETS);
            assert!(at == last || at == next, "{wanted} is at {at:?} after {last:?}");
            last = at;
        }
    }

    #[test]
    fn the_largest_values_are_cut_and_not_lost() {
        let histogram = Histogram::default();
        histogram.record(u64::MAX);
        histogram.record(VALUE_MOST + 1);
        assert_eq!(place(u64::MAX), (OCTAVES - 1, BUCKETS - 1));
        assert_eq!(histogram.count(), 2);
    }

    #[test]
    fn parts_add_up_in_the_metrics_own_unit() {
        let (one, other) = (Histogram::default(), Histogram::default());
        one.record(40);
        one.record(1_000);
        other.record(40);
        let stat = Histogram::merged([&one, &other].into_iter(), 1_000.0);
        let expected = Stat {
            count: 3,
            sum: 1.08,
            buckets: vec![(0.04, 2), (value(4, 61) / 1_000.0, 1)],
        };
        assert_eq!(stat, Some(expected));
        assert_eq!(Histogram::merged([&Histogram::default()].into_iter(), 1.0), None);
    }

    #[test]
    fn quantiles_of_random_values_are_within_one_percent() {
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..50 {
            let spread = rng.f64() * 12.0;
            let histogram = Histogram::default();
            let mut values: Vec<u64> = (0..2_000).map(|_| (rng.f64() * spread).exp() as u64).collect();
            for &value in &values {
                histogram.record(value);
            }
            values.sort_unstable();
            let Some(stat) = Histogram::merged(std::iter::once(&histogram), 1.0) else {
                panic!("values were recorded");
            };
            assert_eq!(stat.sum, values.iter().sum::<u64>() as f64);
            for rank in [0, 999, 1_899, 1_979, 1_999] {
                let mut seen = 0;
                let bucket = stat.buckets.iter().find(|(_, count)| {
                    seen += count;
                    seen > rank
                });
                let (given, wanted) = (bucket.map_or(-1.0, |bucket| bucket.0), values[rank as usize] as f64);
                assert!(
                    (given - wanted).abs() <= wanted * 0.01,
                    "rank {rank}: {given} for {wanted}"
                );
            }
        }
    }

    #[test]
    fn a_full_bucket_goes_on_counting() {
        let octave = Octave::default();
        octave.counts[3].store(u16::MAX - 1, Relaxed);
        for nth in 0..4 {
            assert_eq!(octave.count(3), u64::from(u16::MAX - 1) + nth);
            octave.add(3);
        }
    }

    #[test]
    fn the_first_few_values_need_no_octave_and_count_as_the_others() {
        let histogram = Histogram::default();
        for value in [5, 700, 5, 1_000_000, 90, 5] {
            histogram.record(value);
        }
        assert_eq!(histogram.footprint(), size_of::<Histogram>());
        histogram.record(3);
        histogram.record(5);
        histogram.record(700);
        assert_eq!(histogram.count(), 9);
        let stat = Histogram::merged(std::iter::once(&histogram), 1.0).unwrap_or_default();
        assert_eq!((stat.count, stat.sum), (9, 1_001_513.0));
        let low: Vec<_> = stat.buckets.iter().take(3).copied().collect();
        assert_eq!(low, [(3.0, 1), (5.0, 4), (90.0, 1)]);
    }

    #[test]
    fn a_full_early_bucket_goes_on_in_its_octave() {
        let histogram = Histogram::default();
        for slot in &histogram.early {
            slot.store(early_key(0, 9) | (EARLY_MOST - 1), Relaxed);
        }
        let before = histogram.count();
        (0..10).for_each(|_| histogram.record(9));
        assert_eq!(histogram.count(), before + 10);
    }

    #[test]
    fn an_unused_one_is_small_and_a_typical_one_below_a_kibibyte() {
        let histogram = Histogram::default();
        assert!(histogram.footprint() <= 40, "{}", histogram.footprint());
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..10_000 {
            histogram.record(800 + (rng.f64() * 3.0).exp() as u64 * 400);
        }
        assert!(histogram.footprint() < 1_024, "{}", histogram.footprint());
    }

    #[test]
    fn a_reader_on_another_thread_sees_counts_only_rise() {
        let histogram = Histogram::default();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..100_000).for_each(|value| histogram.record(value)));
            let mut last = 0;
            while last < 100_000 {
                let count = histogram.count();
                assert!(count >= last, "{count} after {last}");
                last = count;
            }
        });
    }
}
