//! When a file is rolled, and what the rolled one is called.

use std::path::{Path, PathBuf};

use jiff::{ToSpan, Zoned};
use serde::Deserialize;

/// When the file is moved away and a new one begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum RollPolicy {
    /// Never: whoever moves the file away says so by SIGHUP.
    Never,
    Hourly,
    Daily,
    /// At the start of a day of the week: 1 is Sunday.
    Weekly {
        day: i8,
    },
    /// Before it would become larger than so many bytes.
    Size {
        bytes: u64,
    },
}

impl RollPolicy {
    /// When a file that was opened at `opened` is rolled.
    pub fn next(self, opened: &Zoned) -> Option<Zoned> {
        let days = match self {
            Self::Never | Self::Size { .. } => return None,
            Self::Hourly => {
                let hour = opened.datetime().time().hour();
                let since = opened.time().duration_since(jiff::civil::time(hour, 0, 0, 0));
                return opened.checked_sub(since).ok()?.checked_add(1.hour()).ok();
            }
            Self::Daily => 1,
            Self::Weekly { day } => match (day - opened.weekday().to_sunday_one_offset()).rem_euclid(7) {
                0 => 7,
                days => days,
            },
        };
        let day = opened.date().checked_add(i64::from(days).days()).ok()?;
        day.to_zoned(opened.time_zone().clone()).ok()
    }

    /// The time in a rolled file's name: when it was opened.
    pub fn stamp(self, opened: &Zoned) -> String {
        let form = match self {
            Self::Hourly => "%Y%m%d-%H",
            Self::Daily | Self::Weekly { .. } => "%Y%m%d",
            Self::Never | Self::Size { .. } => "%Y%m%d-%H%M%S",
        };
        opened.strftime(form).to_string()
    }
}

/// What a rolled file is called: `base-stamp.ext`, and `base-stamp.1.ext` for the next of the same stamp.
pub(super) fn rolled_name(path: &Path, stamp: &str, number: u32) -> PathBuf {
    let (base, extension) = split(path);
    let number = match number {
        0 => String::new(),
        number => format!(".{number}"),
    };
    path.with_file_name(format!("{base}-{stamp}{number}{extension}"))
}

/// The file's name before its last dot, and the rest.
fn split(path: &Path) -> (String, String) {
    let part = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let extension = part(path.extension()).map(|extension| format!(".{extension}"));
    (
        part(path.file_stem()).unwrap_or_default(),
        extension.unwrap_or_default(),
    )
}

/// What orders a rolled file among others of the same log: stamp and number. `None` for a file that is none.
pub(super) fn rolled_order(path: &Path, name: &str) -> Option<(String, u32)> {
    let (base, extension) = split(path);
    let middle = name.strip_prefix(&base)?.strip_prefix('-')?.strip_suffix(&extension)?;
    let (stamp, number) = match middle.split_once('.') {
        None => (middle, 0),
        Some((stamp, number)) => (stamp, number.parse().ok()?),
    };
    let (day, time) = stamp.split_once('-').unwrap_or((stamp, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (day.len() == 8 && matches!(time.len(), 0 | 2 | 6) && digits(day) && digits(time))
        .then(|| (stamp.to_owned(), number))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use jiff::tz::TimeZone;

    use super::*;

    fn at(day: i8, hour: i8) -> Zoned {
        // A Monday is the 23rd.
        let time = date(2026, 11, day).at(hour, 20, 30, 5);
        time.to_zoned(TimeZone::UTC).expect("a time")
    }

    fn next(policy: RollPolicy) -> String {
        let next = policy.next(&at(23, 23)).expect("it rolls");
        next.strftime("%Y-%m-%dT%H:%M:%S%.f").to_string()
    }

    #[test]
    fn a_file_is_rolled_at_the_next_whole_hour_day_or_week() {
        assert_eq!(next(RollPolicy::Hourly), "2026-11-24T00:00:00");
        assert_eq!(next(RollPolicy::Daily), "2026-11-24T00:00:00");
        assert_eq!(next(RollPolicy::Weekly { day: 1 }), "2026-11-29T00:00:00");
        assert_eq!(next(RollPolicy::Weekly { day: 2 }), "2026-11-30T00:00:00");
        assert_eq!(next(RollPolicy::Weekly { day: 3 }), "2026-11-24T00:00:00");
        assert_eq!(RollPolicy::Never.next(&at(23, 4)), None);
        assert_eq!(RollPolicy::Size { bytes: 1 }.next(&at(23, 4)), None);
    }

    #[test]
    fn a_rolled_file_is_named_after_the_time_of_its_opening() {
        let name = |policy: RollPolicy, path: &str, number| {
            let rolled = rolled_name(Path::new(path), &policy.stamp(&at(23, 4)), number);
            rolled.to_string_lossy().into_owned()
        };
        assert_eq!(name(RollPolicy::Hourly, "/var/a.b.log", 0), "/var/a.b-20261123-04.log");
        assert_eq!(name(RollPolicy::Weekly { day: 1 }, "access", 2), "access-20261123.2");
        let size = RollPolicy::Size { bytes: 1 };
        assert_eq!(name(size, "/var/a.log", 1), "/var/a-20261123-042030.1.log");
    }

    #[test]
    fn only_rolled_files_of_the_same_log_are_taken_for_such() {
        let order = |name| rolled_order(Path::new("/var/a.log"), name);
        assert_eq!(order("a-20261123.log"), Some(("20261123".to_owned(), 0)));
        assert_eq!(
            order("a-20261123-042030.12.log"),
            Some(("20261123-042030".to_owned(), 12))
        );
        for other in [
            "a.log",
            "b-20261123.log",
            "a-old.log",
            "a-20261123.log.gz",
            "a-b-20261123.log",
            "a-2026112x.log",
        ] {
            assert_eq!(order(other), None, "{other}");
        }
    }
}
