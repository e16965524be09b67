//! Buckets of the values of a header, in a table whose size is fixed.
//!
//! A stranger can send any number of values, so something has to give way. A full bucket is the same as none: only the buckets
//! of values that have lately asked need a place, and one that has filled up is overwritten at no loss. When all places
//! that a value may have are taken by buckets that are not full, the one that is nearest to it gives way, which loses the
//! least. An abuser's bucket is the emptiest there can be. To push it out, every other place of its set has to be held by
//! a bucket as empty; which set that is depends on a seed that nobody knows, so all sets have to be filled: more than thirty
//! thousand values, each of which has used up its burst. For that price the abuser is given one burst, where each of these
//! values was worth one. Forgetting is counted, so that an operator sees it.
//!
//! Values are kept as hashes only: long ones take no room, and secret ones are not in memory.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::bucket::Pace;
use crate::mail::lock;

/// Each set has a lock of its own, which is held for one look at its places.
const SETS: usize = 2048;
const PLACES: usize = 16;

/// The bucket of a value, whose hash is `value`. An empty place is a bucket that has long been full.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    value: u64,
    full_ns: u64,
}

type Set = [Place; PLACES];

/// Buckets by value; half a mebibyte.
#[derive(Debug)]
pub struct Table {
    /// Keyed and secret, so that nobody can choose values that meet in one set.
    hasher: RandomState,
    sets: Box<[Mutex<Set>]>,
    forgotten: AtomicU64,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
            forgotten: AtomicU64::new(0),
        }
    }
}

impl Table {
    /// Takes a token from the bucket that a value has for this limit, or tells in how many nanoseconds there will be one.
    pub(super) fn take(&self, limit: u64, value: Option<&[u8]>, pace: Pace, now_ns: u64) -> Result<(), u64> {
        let value = self.hash_of(&(limit, value));
        let mut set = lock(&self.sets[value as usize % SETS]);
        let mut chosen = 0;
        for (nth, place) in set.iter().enumerate() {
            if place.value == value {
                chosen = nth;
                break;
            }
            if place.full_ns < set[chosen].full_ns {
                chosen = nth;
            }
        }
        let place = &mut set[chosen];
        if place.value != value {
            if place.full_ns > now_ns {
                self.forgotten.fetch_add(1, Relaxed);
            }
            *place = Place { value, full_ns: 0 };
        }
        place.full_ns = pace.take(place.full_ns, now_ns)?;
        Ok(())
    }

    pub(super) fn hash_of(&self, what: &impl Hash) -> u64 {
        self.hasher.hash_one(what)
    }

    /// How many buckets that were not full had to give way.
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = super::super::NANOSECONDS_PER_SECOND;

    fn take(table: &Table, value: &str, pace: Pace, now_ns: u64) -> bool {
        table.take(0, Some(value.as_bytes()), pace, now_ns).is_ok()
    }

    #[test]
    fn a_flood_of_values_does_not_set_an_abuser_free() {
        let (table, pace) = (Table::default(), Pace::new(1.0, 5));
        let (mut given, mut now_ns) = (0, 0);
        for number in 0..1_000_000 {
            // A hundred thousand values a second, three times what there is room for.
            now_ns += SECOND / 100_000;
            take(&table, &format!("flood {number}"), pace, now_ns);
            given += usize::from(number % 10 == 0 && take(&table, "abuser", pace, now_ns));
        }
        assert_eq!(
            given,
            5 + 10 - 1,
            "a burst and what came in within ten seconds but the first token's time"
        );
        assert!(table.forgotten() > 0);
    }

    #[test]
    fn as_many_values_as_there_is_room_for_are_nearly_all_remembered() {
        let (table, pace) = (Table::default(), Pace::new(0.001, 1));
        let values: Vec<String> = (0..SETS * PLACES / 2).map(|number| number.to_string()).collect();
        assert!(values.iter().all(|value| take(&table, value, pace, 0)));
        let again = values.iter().filter(|value| take(&table, value, pace, 0)).count();
        assert!(again < values.len() / 50, "{again} of {} were forgotten", values.len());
    }

    #[test]
    fn buckets_that_have_filled_up_give_way_at_no_loss() {
        let (table, pace) = (Table::default(), Pace::new(1.0, 1));
        for second in 0..20 {
            for number in 0..5_000 {
                assert!(take(&table, &format!("{second} {number}"), pace, 2 * second * SECOND));
            }
        }
        assert_eq!(table.forgotten(), 0, "100,000 values, 5,000 at a time");
    }
}
