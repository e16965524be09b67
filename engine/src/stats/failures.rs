//! Failures by cause, under the names that Linkerd's dashboards know.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::counter::Counter;
use crate::classify::Class;
use crate::failure::Cause;
use crate::tally::Scope;

const CAUSES: usize = 12;
/// A response that is a failure by its class.
const BY_STATUS: usize = 11;

/// The scopes below `failures` (reference/linker.md §8.6): flag, exception, and its own cause. The metric is counted at
/// each level.
const NAMES: [&str; CAUSES] = [
    "io.netty.handler.codec.DecoderException",
    "io.buoyant.router.RoutingFactory$UnknownDst",
    "com.twitter.finagle.naming.buoyant.RichNoBrokersAvailableException",
    "com.twitter.finagle.Failure",
    "com.twitter.finagle.Failure/java.net.ConnectException",
    "com.twitter.finagle.ChannelClosedException",
    "com.twitter.finagle.UnknownChannelException/io.netty.handler.codec.DecoderException",
    "com.twitter.finagle.IndividualRequestTimeoutException",
    "com.twitter.finagle.GlobalRequestTimeoutException",
    "rejected/com.twitter.finagle.Failure",
    "interrupted/com.twitter.finagle.CancelledRequestException",
    "com.twitter.finagle.service.ResponseClassificationSyntheticException",
];

fn index(cause: Option<Cause>) -> usize {
    match cause {
        Some(Cause::BadRequest) => 0,
        Some(Cause::Unidentified) => 1,
        Some(Cause::NoBrokers) => 2,
        Some(Cause::Binding) => 3,
        Some(Cause::ConnectFailed) => 4,
        Some(Cause::ChannelClosed) => 5,
        Some(Cause::BadResponse) => 6,
        Some(Cause::AttemptTimeout) => 7,
        Some(Cause::TotalTimeout) => 8,
        Some(Cause::Rejected | Cause::RateLimited) => 9,
        Some(Cause::Cancelled) => 10,
        None | Some(Cause::Plugin) => BY_STATUS,
    }
}

/// Counts failures, in all and by cause. Takes a word until there is one.
#[derive(Debug, Default)]
pub struct Failures(OnceLock<Box<[Counter; CAUSES]>>);

impl Failures {
    /// Counts one; without a cause it was a response that is a failure by its class.
    pub fn add(&self, cause: Option<Cause>) {
        let counters = self
            .0
            .get_or_init(|| Box::new(std::array::from_fn(|_| Counter::default())));
        counters[index(cause)].add(1);
    }

    pub(super) fn footprint(&self) -> usize {
        self.0.get().map_or(0, |_| size_of::<[Counter; CAUSES]>())
    }

    /// Adds up parts as `<prefix>failures` and what is below it; gives back how many there were.
    pub fn collect<'a>(parts: impl Iterator<Item = &'a Self>, prefix: &str, scope: &mut Scope) -> u64 {
        let mut counts = [0; CAUSES];
        for counters in parts.filter_map(|part| part.0.get()) {
            for (count, counter) in counts.iter_mut().zip(counters.iter()) {
                *count += counter.get();
            }
        }
        let mut below: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, &count) in NAMES.iter().zip(&counts).filter(|(_, count)| **count > 0) {
            let ends = name.match_indices('/').map(|(end, _)| end).chain([name.len()]);
            for end in ends {
                *below.entry(&name[..end]).or_default() += count;
            }
        }
        for (name, count) in below {
            scope.count(format!("{prefix}failures/{name}"), count);
        }
        let total = counts.iter().sum();
        scope.count(format!("{prefix}failures"), total);
        total
    }
}

/// What an exchange counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    Success,
    /// Without a cause, the response itself says so.
    Failure(Option<Cause>),
}

impl Counted {
    /// By the status (0: there was no response) and what went wrong. What the caller alone did wrong is nobody's failure.
    pub fn of(status: u16, cause: Option<Cause>) -> Self {
        match cause {
            _ if status >= 500 => Self::Failure(cause),
            None if status > 0 => Self::Success,
            Some(Cause::BadRequest | Cause::Unidentified | Cause::RateLimited) => Self::Success,
            _ => Self::Failure(cause),
        }
    }

    /// By the class of a response, unless it broke off.
    pub fn response(class: Class, broken: Option<Cause>) -> Self {
        match broken {
            None if class.is_success() => Self::Success,
            _ => Self::Failure(broken),
        }
    }
}
