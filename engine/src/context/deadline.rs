//! By when a request must be answered, as `l5d-ctx-deadline` carries it.

use std::time::{Duration, SystemTime};

use crate::wire::text::push_decimal;

/// By when a request must be answered, and when that was said, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    pub timestamp_ns: u64,
    pub deadline_ns: u64,
}

impl Deadline {
    /// Reads the value of `l5d-ctx-deadline`; anything but two decimal numbers is ignored.
    pub fn read(value: &[u8]) -> Option<Self> {
        let space = memchr::memchr(b' ', value)?;
        Some(Self {
            timestamp_ns: parse_nanoseconds(&value[..space])?,
            deadline_ns: parse_nanoseconds(&value[space + 1..])?,
        })
    }

    /// The stricter of two: the later word and the earlier end.
    pub fn combine(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (Some(first), Some(second)) = (one, other) else {
            return one.or(other);
        };
        Some(Self {
            timestamp_ns: first.timestamp_ns.max(second.timestamp_ns),
            deadline_ns: first.deadline_ns.min(second.deadline_ns),
        })
    }

    /// How long a request may still take; on error, for how long it has been late.
    pub fn left(&self) -> Result<Duration, Duration> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let end = Duration::from_nanos(self.deadline_ns);
        end.checked_sub(now).ok_or_else(|| now.saturating_sub(end))
    }

    /// Says that a request must be answered within `left` from now.
    pub fn within(left: Duration) -> Option<Self> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(Self {
            timestamp_ns: u64::try_from(now.as_nanos()).ok()?,
            deadline_ns: u64::try_from(now.saturating_add(left).as_nanos()).ok()?,
        })
    }

    /// Appends the value of `l5d-ctx-deadline`.
    pub fn write(&self, out: &mut Vec<u8>) {
        push_decimal(out, self.timestamp_ns);
        out.push(b' ');
        push_decimal(out, self.deadline_ns);
    }
}

/// Others read these numbers into 64 signed bits.
fn parse_nanoseconds(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    u64::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_combine_to_the_later_word_and_the_earlier_end() {
        let one = Deadline::read(b"10 500");
        let two = Deadline::read(b"20 400");
        let both = Deadline::combine(one, two).expect("both are valid");
        let mut out = Vec::new();
        both.write(&mut out);
        assert_eq!(out, b"20 400");
        assert_eq!(Deadline::combine(two, one), Some(both));
        assert_eq!(Deadline::combine(None, one), one);
        assert_eq!(Deadline::combine(one, None), one);
        assert_eq!(Deadline::combine(None, None), None);
    }

    #[test]
    fn malformed_deadlines_are_ignored() {
        for value in [
            "",
            " ",
            "1",
            "1 ",
            " 1",
            "1  2",
            "1 2 3",
            "a 2",
            "1 b",
            "-1 2",
            "+1 2",
            "1 9223372036854775808",
        ] {
            assert_eq!(Deadline::read(value.as_bytes()), None, "{value}");
        }
        assert!(Deadline::read(b"0 9223372036854775807").is_some());
    }
}
