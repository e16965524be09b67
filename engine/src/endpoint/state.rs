//! Whether an endpoint is alive, as one word that all workers share.

/// One death of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// When it may be probed (monotonic ms). That of a probe is of the death before it, and tells this probe from another.
    pub until_ms: u64,
    /// In use all the same, lest too many be out of use.
    pub spared: bool,
    /// Found dead by connecting: no request probes it (`failFast`).
    pub fast: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Alive,
    /// Busy for a while, and then to be probed.
    Dead(Rest),
    /// A probe is under way.
    Probing(Rest),
    /// In no set any more: nothing moves it again.
    Retired,
}

const TIME_BITS: u32 = 60;
const TIME_MOST: u64 = (1 << TIME_BITS) - 1;
const FAST: u64 = 1 << 60;
const SPARED: u64 = 1 << 61;

impl Rest {
    /// Whether a request may probe.
    pub fn is_over(self, now_ms: u64) -> bool {
        self.until_ms <= now_ms && !self.fast
    }

    fn word(self) -> u64 {
        self.until_ms.min(TIME_MOST) | if self.spared { SPARED } else { 0 } | if self.fast { FAST } else { 0 }
    }
}

impl State {
    pub fn read(word: u64) -> Self {
        let rest = Rest {
            until_ms: word & TIME_MOST,
            spared: word & SPARED != 0,
            fast: word & FAST != 0,
        };
        match word >> 62 {
            0 => Self::Alive,
            1 => Self::Dead(rest),
            2 => Self::Probing(rest),
            _ => Self::Retired,
        }
    }

    pub fn word(self) -> u64 {
        match self {
            Self::Alive => 0,
            Self::Dead(rest) => 1 << 62 | rest.word(),
            Self::Probing(rest) => 2 << 62 | rest.word(),
            Self::Retired => 3 << 62,
        }
    }
}
