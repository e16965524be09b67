//! Responses by status: `status/<code>`, `status/<class>`, and the times of each class.

use std::sync::OnceLock;

use super::counter::Counter;
use super::histogram::Histogram;
use crate::tally::{Scope, Stat};

/// No response at all, then 1XX to 5XX.
const CLASSES: usize = 6;
const CLASS_NAMES: [&str; CLASSES] = ["error", "1XX", "2XX", "3XX", "4XX", "5XX"];
const TIME_NAMES: [&str; CLASSES] = ["time/error", "time/1XX", "time/2XX", "time/3XX", "time/4XX", "time/5XX"];
const MICROSECONDS_PER_MILLISECOND: f64 = 1000.0;

type Decade = [Counter; 10];

#[derive(Debug, Default)]
struct Class {
    time: Histogram,
    codes: [OnceLock<Box<Decade>>; 10],
}

/// Counts responses and their latencies; a class takes room when it is first seen.
///
/// The latency of all requests is what the classes have together, so it is not counted once more.
#[derive(Debug, Default)]
pub struct Responses([OnceLock<Box<Class>>; CLASSES]);

impl Responses {
    /// Counts a response; a status that is none (0) counts as an error.
    #[inline]
    pub fn record(&self, status: u16, latency_us: u64) {
        let nth = usize::from(status / 100);
        let nth = if nth < CLASSES { nth } else { 0 };
        let class = self.0[nth].get_or_init(Box::default);
        class.time.record(latency_us);
        if nth > 0 {
            let (decade, digit) = (usize::from(status / 10 % 10), usize::from(status % 10));
            class.codes[decade].get_or_init(Box::default)[digit].add(1);
        }
    }

    pub(super) fn footprint(&self) -> usize {
        let classes = self.0.iter().filter_map(|class| class.get());
        classes
            .map(|class| {
                let decades = class.codes.iter().filter(|decade| decade.get().is_some()).count();
                size_of_val(&class.codes) + decades * size_of::<Decade>() + class.time.footprint()
            })
            .sum()
    }

    /// The latencies of all, in milliseconds.
    pub fn latency<'a>(parts: impl Iterator<Item = &'a Self> + Clone) -> Option<Stat> {
        let times = parts.flat_map(|part| part.0.iter().filter_map(|class| class.get()).map(|class| &class.time));
        Histogram::merged(times, MICROSECONDS_PER_MILLISECOND)
    }

    /// Adds up parts as `status/…` and `time/…`.
    pub fn collect<'a>(parts: &(impl Iterator<Item = &'a Self> + Clone), scope: &mut Scope) {
        for (nth, name) in CLASS_NAMES.iter().enumerate() {
            let classes = parts.clone().filter_map(|part| part.0[nth].get());
            let Some(time) = Histogram::merged(classes.clone().map(|class| &class.time), MICROSECONDS_PER_MILLISECOND)
            else {
                continue;
            };
            scope.count(format!("status/{name}"), time.count);
            scope.stat(TIME_NAMES[nth], Some(time));
            for (decade, digit) in (0..10).flat_map(|decade| (0..10).map(move |digit| (decade, digit))) {
                let decades = classes.clone().filter_map(|class| class.codes[decade].get());
                let count: u64 = decades.map(|codes| codes[digit].get()).sum();
                if count > 0 {
                    scope.count(format!("status/{nth}{decade}{digit}"), count);
                }
            }
        }
    }
}
