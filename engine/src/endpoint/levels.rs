//! The endpoints of a client by how many requests are under way to each, for the balancer that looks for the least loaded.
//!
//! A level is a bitmap of the endpoints that have so many. Every request moves its endpoint's bit when it begins and when it
//! ends, without a lock. Two that do so at once may leave a bit behind at the wrong level, but never no bit at all, since each
//! ends by setting one: who looks compares with the endpoint's own count, and mends what is wrong.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Loads that are told apart; the last level holds all from there on.
const LEVELS: usize = 64;

/// Bitmaps of as many endpoints as a set has.
#[derive(Debug)]
pub struct Levels {
    /// `LEVELS` times `row` words.
    words: Box<[AtomicU64]>,
    row: usize,
}

/// What became of an endpoint that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is the one.
    Done,
    /// It has the load that it was found at, or less.
    Next,
}

impl Levels {
    pub fn new(size: usize) -> Self {
        let row = size.div_ceil(64);
        Self {
            words: (0..row * LEVELS).map(|_| AtomicU64::new(0)).collect(),
            row,
        }
    }

    /// Says that an endpoint has so many requests under way, and had `before`.
    pub fn put(&self, index: usize, before: Option<u32>, load: u32) {
        let (at, bit) = (index / 64, 1 << (index % 64));
        if let Some(before) = before.map(level)
            && before != level(load)
        {
            self.words[before * self.row + at].fetch_and(!bit, Relaxed);
        }
        self.words[level(load) * self.row + at].fetch_or(bit, Relaxed);
    }

    /// Shows the endpoints of a range to `look`, least loaded first and those of one load in turn from `start` on, until it is
    /// content. `load` tells how many requests are under way to one.
    pub fn search(
        &self,
        range: &Range<usize>,
        start: usize,
        load: impl Fn(usize) -> u32,
        mut look: impl FnMut(usize) -> Look,
    ) {
        for found_at in 0..LEVELS {
            for part in [start..range.end, range.start..start] {
                let mut index = part.start;
                while index < part.end {
                    let word = self.words[found_at * self.row + index / 64].load(Relaxed) >> (index % 64);
                    if word == 0 {
                        index = (index / 64 + 1) * 64;
                        continue;
                    }
                    index += word.trailing_zeros() as usize;
                    if index >= part.end {
                        break;
                    }
                    let now = load(index);
                    if level(now) != found_at {
                        self.put(index, Some(found_at as u32), now);
                    }
                    if level(now) <= found_at && look(index) == Look::Done {
                        return;
                    }
                    index += 1;
                }
            }
        }
    }
}

fn level(load: u32) -> usize {
    (load as usize).min(LEVELS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(levels: &Levels, range: Range<usize>, start: usize, loads: &[u32]) -> Vec<usize> {
        let mut seen = Vec::new();
        levels.search(
            &range,
            start,
            |index| loads[index],
            |index| {
                seen.push(index);
                Look::Next
            },
        );
        seen
    }

    fn levels(loads: &[u32]) -> Levels {
        let levels = Levels::new(loads.len());
        for (index, &load) in loads.iter().enumerate() {
            levels.put(index, None, load);
        }
        levels
    }

    #[test]
    fn the_least_loaded_come_first_and_equals_in_turn() {
        let loads = [3, 0, 70, 0, 1, 500];
        let levels = levels(&loads);
        assert_eq!(order(&levels, 0..6, 2, &loads), [3, 1, 4, 0, 2, 5]);
        assert_eq!(order(&levels, 1..4, 1, &loads), [1, 3, 2], "only those of the range");
    }

    #[test]
    fn a_bit_that_was_left_behind_is_mended() {
        let levels = levels(&[0, 0, 0]);
        assert_eq!(order(&levels, 0..3, 0, &[5, 0, 1]), [1, 2, 0]);
        assert_eq!(
            order(&levels, 0..3, 0, &[0, 2, 2]),
            [1, 2, 0],
            "one that is at too high a level is found there"
        );
        assert_eq!(order(&levels, 0..3, 0, &[0, 2, 2]), [0, 1, 2]);
    }

    #[test]
    fn a_thousand_endpoints_are_all_found() {
        let loads: Vec<u32> = (0..1_000).map(|nth| nth % 7).collect();
        let mut seen = order(&levels(&loads), 0..1_000, 613, &loads);
        assert!(seen.is_sorted_by_key(|&index| loads[index]));
        seen.sort_unstable();
        assert_eq!(seen, (0..1_000).collect::<Vec<_>>());
    }
}
