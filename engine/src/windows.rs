//! What the last window of every distribution was (reference/linker.md §8.2).
//!
//! Histograms only grow, so a window is what they have more at its end than at its beginning. For that each scope keeps its
//! buckets, all in one piece of memory, and the summary is made when somebody reads it: a linker with thousands of names has
//! ten times as many distributions, most of them of a few buckets.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::mail::lock;
use crate::tally::{Name, Scope, Stat, Window};

/// What every exporter shows besides the smallest and the largest value.
const QUANTILES: [f64; 6] = [0.5, 0.9, 0.95, 0.99, 0.999, 0.9999];

/// The last window of each distribution of each scope.
#[derive(Debug, Default)]
pub struct Windows(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// How many windows were ended.
    ended: u32,
    scopes: BTreeMap<Box<str>, Kept>,
}

/// A scope as it was when its last window ended.
#[derive(Debug, Default)]
struct Kept {
    /// The window in which it was last seen.
    seen: u32,
    distributions: Box<[Distribution]>,
    /// Those of all distributions, one after the other.
    buckets: Box<[Bucket]>,
}

#[derive(Debug)]
struct Distribution {
    name: Name,
    /// Where its buckets end.
    end: u32,
    count: u64,
    sum: f64,
    /// How much came to the sum in the window.
    added: f64,
}

/// How many values of about one size there were.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    value: f32,
    /// Cut to 32 bits, which no window can fill.
    count: u32,
    /// How many came in the window.
    added: u32,
}

impl Windows {
    /// Ends the window of every scope that `collect` gives, and forgets the scopes that it no longer gives.
    ///
    /// Who reads meanwhile waits for one scope at the most.
    pub fn end(&self, collect: impl FnOnce(&mut dyn FnMut(Scope))) {
        let ended = {
            let mut inner = lock(&self.0);
            inner.ended = inner.ended.wrapping_add(1);
            inner.ended
        };
        let nothing = Kept::default();
        collect(&mut |scope| {
            let key = key(&scope);
            let mut inner = lock(&self.0);
            let next = keep(&scope, inner.scopes.get(&key).unwrap_or(&nothing), ended);
            inner.scopes.insert(key, next);
        });
        let mut inner = lock(&self.0);
        inner.scopes.retain(|_, kept| kept.seen == ended);
    }

    /// Puts the last windows into a scope, in place of what was counted since the start.
    pub fn show(&self, scope: &mut Scope) {
        scope.stats.clear();
        if let Some(kept) = lock(&self.0).scopes.get(&*key(scope)) {
            let distributions = kept.distributions.iter().enumerate();
            scope.windows = distributions
                .map(|(nth, one)| (one.name.clone(), summarize(kept.buckets_of(nth), one.added)))
                .collect();
        }
    }
}

/// No label or path holds a zero byte: both are shown in ASCII.
fn key(scope: &Scope) -> Box<str> {
    scope.scope.join("\0").into()
}

/// Gives what is to be kept of a scope, of which `before` was kept last time.
fn keep(scope: &Scope, before: &Kept, seen: u32) -> Kept {
    let mut buckets = Vec::with_capacity(scope.stats.values().map(|stat| stat.buckets.len()).sum());
    let distributions = scope.stats.iter().map(|(name, stat)| {
        // If it has fewer than before, it was forgotten in between, and began again.
        let then = before.find(name).filter(|(then, _)| then.count <= stat.count);
        let (sum, former) = then.map_or((0.0, &[][..]), |(then, former)| (then.sum, former));
        since(stat, former, &mut buckets);
        Distribution {
            name: name.clone(),
            end: buckets.len() as u32,
            count: stat.count,
            sum: stat.sum,
            added: stat.sum - sum,
        }
    });
    Kept {
        seen,
        distributions: distributions.collect(),
        buckets: buckets.into(),
    }
}

impl Kept {
    fn find(&self, name: &Name) -> Option<(&Distribution, &[Bucket])> {
        let nth = self.distributions.binary_search_by(|one| one.name.cmp(name)).ok()?;
        Some((&self.distributions[nth], self.buckets_of(nth)))
    }

    fn buckets_of(&self, nth: usize) -> &[Bucket] {
        let start = nth.checked_sub(1).map_or(0, |last| self.distributions[last].end);
        &self.buckets[start as usize..self.distributions[nth].end as usize]
    }
}

/// Appends the buckets of a distribution, of which there were these at the beginning of the window; both rise.
fn since(now: &Stat, before: &[Bucket], buckets: &mut Vec<Bucket>) {
    let mut former = before.iter().peekable();
    for &(value, count) in &now.buckets {
        let (value, count) = (value as f32, count as u32);
        let then = former.next_if(|bucket| bucket.value <= value);
        let added = count.wrapping_sub(then.map_or(0, |bucket| bucket.count));
        buckets.push(Bucket { value, count, added });
    }
}

/// Gives the summary of what came in a window, whose sum is `sum`; none if nothing did.
fn summarize(buckets: &[Bucket], sum: f64) -> Option<Window> {
    let mut filled = buckets.iter().filter(|bucket| bucket.added > 0);
    let least = filled.clone().next()?.value as u64;
    let most = filled.next_back()?.value as u64;
    let count: u64 = buckets.iter().map(|bucket| u64::from(bucket.added)).sum();
    let percentiles = QUANTILES.map(|quantile| {
        let mut missing = ((quantile * count as f64).ceil() as u64).max(1);
        let reached = buckets.iter().find(|bucket| {
            let here = u64::from(bucket.added);
            let reached = here >= missing;
            missing = missing.saturating_sub(here);
            reached
        });
        reached.map_or(most, |bucket| bucket.value as u64)
    });
    Some(Window {
        count,
        sum: sum as u64,
        average: sum / count as f64,
        least,
        most,
        percentiles,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "small whole numbers are exact")]

    use super::*;

    const NAME: &str = "request_latency_ms";

    fn scope(name: &str, buckets: &[(f64, u64)]) -> Scope {
        let stat = Stat {
            count: buckets.iter().map(|(_, count)| count).sum(),
            sum: buckets.iter().map(|(value, count)| value * *count as f64).sum(),
            buckets: buckets.to_vec(),
        };
        let mut scope = Scope::new(&["rt", "http", "server", name]);
        scope.stats.insert(
            "another".into(),
            Stat {
                count: 1,
                sum: 9.0,
                buckets: vec![(9.0, 1)],
            },
        );
        scope.stats.insert(NAME.into(), stat);
        scope
    }

    fn end(windows: &Windows, buckets: &[(f64, u64)]) {
        windows.end(|take| take(scope("one", buckets)));
    }

    /// How many values came in the window of `one`; nothing if there was none yet.
    fn shown(windows: &Windows) -> Option<u64> {
        let window = windows_of_one(windows).remove(NAME)?;
        Some(window.map_or(0, |window| window.count))
    }

    fn windows_of_one(windows: &Windows) -> BTreeMap<Name, Option<Window>> {
        let mut scope = scope("one", &[]);
        windows.show(&mut scope);
        assert!(scope.stats.is_empty());
        scope.windows
    }

    fn window(windows: &Windows) -> Window {
        let window = windows_of_one(windows).remove(NAME);
        window.flatten().unwrap_or_default()
    }

    #[test]
    fn there_is_nothing_before_the_first_window_has_ended() {
        assert_eq!(shown(&Windows::default()), None);
    }

    #[test]
    fn the_first_window_is_everything_since_the_start() {
        let windows = Windows::default();
        end(&windows, &[(1.0, 2), (7.0, 1)]);
        let first = window(&windows);
        assert_eq!((first.count, first.sum, first.least, first.most), (3, 9, 1, 7));
        assert_eq!(first.average, 3.0);
    }

    #[test]
    fn a_window_is_what_came_since_the_last_one() {
        let windows = Windows::default();
        end(&windows, &[(1.0, 2), (7.0, 1)]);
        end(&windows, &[(0.5, 1), (1.0, 2), (5.0, 3), (7.0, 2), (9.0, 1)]);
        let second = window(&windows);
        assert_eq!((second.count, second.sum, second.least, second.most), (6, 31, 0, 9));
        end(&windows, &[(0.5, 1), (1.0, 3), (5.0, 3), (7.0, 2), (9.0, 1)]);
        let third = window(&windows);
        assert_eq!((third.count, third.least, third.most), (1, 1, 1));
    }

    #[test]
    fn a_window_in_which_nothing_came_is_there_and_empty() {
        let windows = Windows::default();
        end(&windows, &[(1.0, 2)]);
        end(&windows, &[(1.0, 2)]);
        assert_eq!(shown(&windows), Some(0));
    }

    #[test]
    fn a_count_beyond_32_bits_is_still_told_apart_from_the_one_before() {
        let windows = Windows::default();
        end(&windows, &[(1.0, u64::from(u32::MAX) - 1)]);
        end(&windows, &[(1.0, u64::from(u32::MAX) + 4)]);
        assert_eq!(window(&windows).count, 5);
    }

    #[test]
    fn what_was_forgotten_and_began_again_is_not_subtracted() {
        let windows = Windows::default();
        end(&windows, &[(1.0, 100)]);
        end(&windows, &[(3.0, 2)]);
        let second = window(&windows);
        assert_eq!((second.count, second.least, second.most), (2, 3, 3));
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let windows = Windows::default();
        end(&windows, &[(1.0, 1)]);
        windows.end(|take| take(scope("other", &[])));
        assert_eq!(shown(&windows), None);
        assert_eq!(lock(&windows.0).scopes.len(), 1);
    }

    #[test]
    fn percentiles_are_the_smallest_values_that_enough_others_do_not_exceed() {
        let windows = Windows::default();
        let values: Vec<_> = (1..=10_000).map(|value| (f64::from(value), 1)).collect();
        end(&windows, &values);
        let all = window(&windows);
        assert_eq!(all.percentiles, [5000, 9000, 9500, 9900, 9990, 9999]);
        assert_eq!((all.least, all.most, all.average), (1, 10_000, 5000.5));
        for value in [0.4, 3.0, 3.9] {
            let windows = Windows::default();
            end(&windows, &[(value, 1)]);
            let single = window(&windows);
            assert_eq!((single.percentiles, single.average), ([value as u64; 6], value));
        }
    }
}
