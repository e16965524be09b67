//! The kinds of `loadBalancer`, with their keys.

use serde::Deserialize;

use super::Band;

/// A `loadBalancer` as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Kind {
    /// The less loaded of two.
    #[serde(rename_all = "camelCase")]
    P2c {
        #[serde(default = "max_effort")]
        max_effort: u32,
        #[serde(default)]
        enable_probation: bool,
    },
    /// The one of two that promises the quicker answer.
    #[serde(rename_all = "camelCase")]
    Ewma {
        #[serde(default = "max_effort")]
        max_effort: u32,
        #[serde(default = "decay_time_ms")]
        decay_time_ms: u64,
        #[serde(default)]
        enable_probation: bool,
    },
    /// The less loaded of two among as many as are needed.
    #[serde(rename_all = "camelCase")]
    Aperture {
        #[serde(default = "smooth_window_ms")]
        smooth_window_ms: u64,
        #[serde(default = "max_effort")]
        max_effort: u32,
        #[serde(default = "low_load")]
        low_load: f64,
        #[serde(default = "high_load")]
        high_load: f64,
        #[serde(default = "min_aperture")]
        min_aperture: u32,
        #[serde(default)]
        enable_probation: bool,
    },
    /// The least loaded of all.
    #[serde(rename_all = "camelCase")]
    Heap {
        #[serde(default)]
        enable_probation: bool,
    },
    /// Each in turn.
    #[serde(rename_all = "camelCase")]
    RoundRobin {
        #[serde(default = "max_effort")]
        max_effort: u32,
        #[serde(default)]
        enable_probation: bool,
    },
}

fn max_effort() -> u32 {
    5
}

fn decay_time_ms() -> u64 {
    10_000
}

fn smooth_window_ms() -> u64 {
    5_000
}

fn low_load() -> f64 {
    0.5
}

fn high_load() -> f64 {
    2.0
}

fn min_aperture() -> u32 {
    1
}

impl Default for Kind {
    fn default() -> Self {
        Self::P2c {
            max_effort: max_effort(),
            enable_probation: false,
        }
    }
}

impl Kind {
    /// What the operator writes after `kind:`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::P2c { .. } => "p2c",
            Self::Ewma { .. } => "ewma",
            Self::Aperture { .. } => "aperture",
            Self::Heap { .. } => "heap",
            Self::RoundRobin { .. } => "roundRobin",
        }
    }

    /// The name of the algorithm in `loadbalancer/algorithm/…`.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::P2c { .. } => "p2c_least_loaded",
            Self::Ewma { .. } => "p2c_peak_ewma",
            Self::Aperture { .. } => "aperture_least_loaded",
            Self::Heap { .. } => "heap_least_loaded",
            Self::RoundRobin { .. } => "round_robin",
        }
    }

    /// How fast endpoints are to forget latencies, if this kind looks at them.
    pub fn decay_us(&self) -> Option<f32> {
        match self {
            Self::Ewma { decay_time_ms, .. } => Some((*decay_time_ms as f32 * 1000.0).max(1.0)),
            _ => None,
        }
    }

    /// When the aperture is opened and closed, if this kind has one.
    pub fn band(&self) -> Option<Band> {
        match *self {
            Self::Aperture {
                smooth_window_ms,
                low_load,
                high_load,
                min_aperture,
                ..
            } => Some(Band {
                smooth_window_us: smooth_window_ms as f32 * 1000.0,
                low_load: low_load as f32,
                high_load: high_load as f32,
                min_aperture: min_aperture.max(1),
            }),
            _ => None,
        }
    }

    pub fn probation(&self) -> bool {
        match self {
            Self::P2c { enable_probation, .. }
            | Self::Ewma { enable_probation, .. }
            | Self::Aperture { enable_probation, .. }
            | Self::Heap { enable_probation }
            | Self::RoundRobin { enable_probation, .. } => *enable_probation,
        }
    }

    /// How often to try again while the pick is not fit to serve.
    pub(super) fn max_effort(&self) -> u32 {
        match self {
            Self::P2c { max_effort, .. }
            | Self::Ewma { max_effort, .. }
            | Self::Aperture { max_effort, .. }
            | Self::RoundRobin { max_effort, .. } => *max_effort,
            // It has seen all that are better already; another try may be for another weight class.
            Self::Heap { .. } => max_effort(),
        }
    }
}
