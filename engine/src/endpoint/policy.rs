//! When failures are enough to call an endpoint dead: the kinds of `failureAccrual` (reference/linker.md §2.9).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Deserialize;

use super::backoff::Backoff;

/// A `failureAccrual` as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind")]
pub enum Policy {
    /// Dead after so many failures in a row.
    #[serde(rename = "io.l5d.consecutiveFailures")]
    ConsecutiveFailures {
        #[serde(default)]
        failures: u32,
        #[serde(default)]
        backoff: Option<Backoff>,
    },
    /// Dead when the exponentially weighted success rate of about the last `requests` results is below `success_rate`.
    #[serde(rename = "io.l5d.successRate", rename_all = "camelCase")]
    SuccessRate {
        success_rate: f64,
        requests: u32,
        #[serde(default)]
        backoff: Option<Backoff>,
    },
    /// Dead when the success rate of the last `window` seconds is below `success_rate`.
    #[serde(rename = "io.l5d.successRateWindowed", rename_all = "camelCase")]
    SuccessRateWindowed {
        success_rate: f64,
        /// Seconds.
        window: u32,
        #[serde(default)]
        backoff: Option<Backoff>,
    },
    /// Never dead.
    #[serde(rename = "none")]
    Never {},
}

impl Default for Policy {
    fn default() -> Self {
        Self::ConsecutiveFailures {
            failures: 5,
            backoff: None,
        }
    }
}

impl Policy {
    /// The waits between one death and the next.
    pub fn backoff(&self) -> Backoff {
        match self {
            Self::ConsecutiveFailures { backoff, .. }
            | Self::SuccessRate { backoff, .. }
            | Self::SuccessRateWindowed { backoff, .. } => backoff.clone().unwrap_or_default(),
            Self::Never {} => Backoff::default(),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConsecutiveFailures { failures, .. } => {
                write!(out, "io.l5d.consecutiveFailures(failures = {failures})")
            }
            Self::SuccessRate {
                success_rate, requests, ..
            } => {
                write!(
                    out,
                    "io.l5d.successRate(successRate = {success_rate}, requests = {requests})"
                )
            }
            Self::SuccessRateWindowed {
                success_rate, window, ..
            } => {
                write!(
                    out,
                    "io.l5d.successRateWindowed(successRate = {success_rate}, window = {window} s)"
                )
            }
            Self::Never {} => out.write_str("none"),
        }
    }
}

/// The failures of one client's endpoints, counted over all of them and all workers.
#[derive(Debug, Default)]
pub struct AccrualCounters {
    pub removals: AtomicU64,
    pub revivals: AtomicU64,
    pub probes: AtomicU64,
    pub removed_for_ms: AtomicU64,
}

impl AccrualCounters {
    /// What was counted so far, to be counted on.
    pub(super) fn copied(&self) -> Self {
        Self {
            removals: copied(&self.removals),
            revivals: copied(&self.revivals),
            probes: copied(&self.probes),
            removed_for_ms: copied(&self.removed_for_ms),
        }
    }
}

/// The same for `failFast`.
#[derive(Debug, Default)]
pub struct FailFastCounters {
    pub marked_dead: AtomicU64,
    pub marked_available: AtomicU64,
}

impl FailFastCounters {
    /// What was counted so far, to be counted on.
    pub(super) fn copied(&self) -> Self {
        Self {
            marked_dead: copied(&self.marked_dead),
            marked_available: copied(&self.marked_available),
        }
    }
}

fn copied(count: &AtomicU64) -> AtomicU64 {
    AtomicU64::new(count.load(Relaxed))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What Python sends for a map of plain values.
    fn read(text: &[(&str, Value)]) -> Result<Policy, rmp_serde::decode::Error> {
        let map: BTreeMap<&str, &Value> = text.iter().map(|(key, value)| (*key, value)).collect();
        let bytes = rmp_serde::to_vec_named(&map).unwrap_or_default();
        rmp_serde::from_slice(&bytes)
    }

    #[derive(serde::Serialize)]
    #[serde(untagged)]
    enum Value {
        Text(&'static str),
        Whole(u64),
        Real(f64),
        Map(BTreeMap<&'static str, Value>),
        Nothing(()),
    }

    #[test]
    fn policies_are_read_as_the_operator_wrote_them() {
        let backoff = Value::Map(BTreeMap::from([
            ("kind", Value::Text("constant")),
            ("ms", Value::Whole(250)),
        ]));
        let policy = read(&[
            ("kind", Value::Text("io.l5d.consecutiveFailures")),
            ("failures", Value::Whole(7)),
            ("backoff", backoff),
        ]);
        let expected = Policy::ConsecutiveFailures {
            failures: 7,
            backoff: Some(Backoff::Constant { ms: 250 }),
        };
        assert_eq!(policy.ok(), Some(expected));
        let jittered = Value::Map(BTreeMap::from([
            ("kind", Value::Text("jittered")),
            ("minMs", Value::Whole(10)),
            ("maxMs", Value::Whole(20)),
        ]));
        let policy = read(&[
            ("kind", Value::Text("io.l5d.successRate")),
            ("successRate", Value::Whole(1)),
            ("requests", Value::Whole(20)),
            ("backoff", jittered),
        ]);
        let expected = Policy::SuccessRate {
            success_rate: 1.0,
            requests: 20,
            backoff: Some(Backoff::Jittered { min_ms: 10, max_ms: 20 }),
        };
        assert_eq!(policy.ok(), Some(expected));
        let policy = read(&[
            ("kind", Value::Text("io.l5d.successRateWindowed")),
            ("successRate", Value::Real(0.9)),
            ("window", Value::Whole(60)),
            ("backoff", Value::Nothing(())),
        ]);
        let expected = Policy::SuccessRateWindowed {
            success_rate: 0.9,
            window: 60,
            backoff: None,
        };
        assert_eq!(policy.ok(), Some(expected));
        let policy = read(&[("kind", Value::Text("none")), ("backoff", Value::Nothing(()))]);
        assert_eq!(policy.ok(), Some(Policy::Never {}));
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        assert!(read(&[("kind", Value::Text("io.l5d.guess"))]).is_err());
    }

    #[test]
    fn the_defaults_are_five_failures_and_growing_waits() {
        let expected = Policy::ConsecutiveFailures {
            failures: 5,
            backoff: None,
        };
        assert_eq!(Policy::default(), expected);
        assert_eq!(expected.backoff(), Backoff::default());
        assert_eq!(
            read(&[("kind", Value::Text("io.l5d.consecutiveFailures"))])
                .ok()
                .map(|policy| policy.to_string()),
            Some("io.l5d.consecutiveFailures(failures = 0)".to_owned())
        );
    }
}
