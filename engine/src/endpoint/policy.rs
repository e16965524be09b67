//! When failures are enough to call an endpoint dead: the kinds of `failureAccrual` (reference/linker.md §2.9).

use std::fmt;
use std::sync::atomic::AtomicU64;

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
