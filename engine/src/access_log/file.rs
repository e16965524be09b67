//! The file of a log: opened, rolled, and its rolled ones kept down to a number.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Zoned;
use memchr::{memchr, memchr_iter, memrchr};

use super::roll::{RollPolicy, rolled_name, rolled_order};
use crate::plan::AccessLogPlan;

/// An open log.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    policy: RollPolicy,
    /// Rolled files that are kept; `None` for all.
    rotate_count: Option<u32>,
    file: File,
    /// A pipe or a terminal is never rolled.
    regular: bool,
    bytes: u64,
    opened: Zoned,
    roll_at: Option<Zoned>,
}

impl LogFile {
    /// Opens the file, with the directories above it.
    pub(super) fn open(plan: &AccessLogPlan, now: &Zoned) -> io::Result<Self> {
        let path = PathBuf::from(&plan.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = open(&path, plan.append)?;
        let metadata = file.metadata()?;
        Ok(Self {
            path,
            policy: plan.roll,
            rotate_count: plan.rotate_count,
            regular: metadata.is_file(),
            bytes: metadata.len(),
            file,
            roll_at: plan.roll.next(now),
            opened: now.clone(),
        })
    }

    /// Opens the file anew by its name; what is there is appended to.
    pub(super) fn reopen(&mut self, now: &Zoned) -> io::Result<()> {
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = open(&self.path, true)?;
        let metadata = file.metadata()?;
        self.file = file;
        self.regular = metadata.is_file();
        self.bytes = metadata.len();
        self.opened = now.clone();
        self.roll_at = self.policy.next(now);
        Ok(())
    }

    /// Writes whole lines, rolling where it is time to; an error says how many lines were not written.
    pub(super) fn write(&mut self, lines: &[u8], now: &Zoned) -> Result<(), (u64, io::Error)> {
        let count = |lines: &[u8]| memchr_iter(b'\n', lines).count() as u64;
        if self.roll_at.as_ref().is_some_and(|at| now >= at) {
            self.roll(now).map_err(|error| (count(lines), error))?;
        }
        let mut rest = lines;
        while !rest.is_empty() {
            let mut length = self.room(rest);
            if length == 0 {
                if self.bytes > 0 {
                    self.roll(now).map_err(|error| (count(rest), error))?;
                    continue;
                }
                // A line that is larger than any file may be has one of its own.
                length = first_line(rest);
            }
            self.file
                .write_all(&rest[..length])
                .map_err(|error| (count(rest), error))?;
            self.bytes += length as u64;
            rest = &rest[length..];
        }
        Ok(())
    }

    /// How many bytes of whole lines the file takes before it is full.
    fn room(&self, lines: &[u8]) -> usize {
        let RollPolicy::Size { bytes: limit } = self.policy else {
            return lines.len();
        };
        let room = limit.saturating_sub(self.bytes);
        if !self.regular || lines.len() as u64 <= room {
            return lines.len();
        }
        let window = &lines[..room as usize];
        memrchr(b'\n', window).map_or(0, |at| at + 1)
    }

    fn roll(&mut self, now: &Zoned) -> io::Result<()> {
        if self.regular {
            let stamp = self.policy.stamp(&self.opened);
            // Above all numbers that are there, not the first that is free: the oldest may have been removed.
            let used = self.rolled()?.into_iter().filter(|((other, _), _)| *other == stamp);
            let number = used.map(|((_, number), _)| number.saturating_add(1)).max();
            let rolled = rolled_name(&self.path, &stamp, number.unwrap_or(0));
            match fs::rename(&self.path, rolled) {
                // Somebody else has moved it away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed?,
            }
        }
        self.reopen(now)?;
        if let Some(kept) = self.rotate_count {
            let rolled = self.rolled()?;
            let superfluous = rolled.len().saturating_sub(kept as usize);
            for (_, path) in &rolled[..superfluous] {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// The rolled files with what orders them, oldest first.
    fn rolled(&self) -> io::Result<Vec<((String, u32), PathBuf)>> {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut rolled = Vec::new();
        for entry in fs::read_dir(directory.unwrap_or(Path::new(".")))? {
            let entry = entry?;
            if let Some(order) = rolled_order(&self.path, &entry.file_name().to_string_lossy()) {
                rolled.push((order, entry.path()));
            }
        }
        rolled.sort();
        Ok(rolled)
    }
}

fn first_line(lines: &[u8]) -> usize {
    memchr(b'\n', lines).map_or(lines.len(), |end| end + 1)
}

fn open(path: &Path, append: bool) -> io::Result<File> {
    // Truncated by its length and not by the flag: the file must be open for appending in any case, for whoever empties it.
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    if !append && file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use jiff::civil::date;
    use jiff::tz::TimeZone;

    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("biandou-{name}-{}", std::process::id()));
            Self(path)
        }

        fn plan(&self, roll: RollPolicy) -> AccessLogPlan {
            AccessLogPlan {
                path: self.0.join("logs/a.log").to_string_lossy().into_owned(),
                roll,
                append: true,
                rotate_count: None,
            }
        }

        /// Names and contents, in order.
        fn files(&self) -> Vec<(String, String)> {
            let entries = fs::read_dir(self.0.join("logs")).expect("the directory was made");
            let mut files: Vec<_> = entries
                .map(|entry| {
                    let entry = entry.expect("an entry");
                    let name = entry.file_name().to_string_lossy().into_owned();
                    (name, fs::read_to_string(entry.path()).expect("text"))
                })
                .collect();
            files.sort();
            files
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _gone = fs::remove_dir_all(&self.0);
        }
    }

    fn noon() -> Zoned {
        let time = date(2026, 11, 23).at(12, 0, 0, 0);
        time.to_zoned(TimeZone::UTC).expect("a time")
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |&(name, text): &(&str, &str)| (name.to_owned(), text.to_owned());
        expected.iter().map(owned).collect()
    }

    #[test]
    fn a_file_that_is_full_is_rolled_between_lines_and_only_so_many_are_kept() {
        let directory = Directory::new("size");
        let mut plan = directory.plan(RollPolicy::Size { bytes: 8 });
        plan.rotate_count = Some(2);
        let mut log = LogFile::open(&plan, &noon()).expect("it opens");
        log.write(b"one\ntwo\nthree\nlonger than all\nfour\nfive\nsix\n", &noon())
            .expect("it writes");
        assert_eq!(
            directory.files(),
            pairs(&[
                ("a-20261123-120000.3.log", "four\n"),
                ("a-20261123-120000.4.log", "five\n"),
                ("a.log", "six\n"),
            ])
        );
    }

    #[test]
    fn a_file_is_rolled_when_its_day_is_over() {
        let directory = Directory::new("daily");
        let plan = directory.plan(RollPolicy::Daily);
        let mut log = LogFile::open(&plan, &noon()).expect("it opens");
        log.write(b"one\n", &noon()).expect("it writes");
        log.write(b"two\n", &(noon() + 12.hours())).expect("it writes");
        assert_eq!(
            directory.files(),
            pairs(&[("a-20261123.log", "one\n"), ("a.log", "two\n")])
        );
    }

    #[test]
    fn a_file_is_appended_to_unless_it_shall_begin_anew() {
        let directory = Directory::new("append");
        let mut plan = directory.plan(RollPolicy::Never);
        for line in [&b"one\n"[..], b"two\n"] {
            let mut log = LogFile::open(&plan, &noon()).expect("it opens");
            log.write(line, &noon()).expect("it writes");
        }
        assert_eq!(directory.files(), pairs(&[("a.log", "one\ntwo\n")]));
        plan.append = false;
        LogFile::open(&plan, &noon()).expect("it opens");
        assert_eq!(directory.files(), pairs(&[("a.log", "")]));
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew_when_reopened() {
        let directory = Directory::new("reopen");
        let plan = directory.plan(RollPolicy::Never);
        let mut log = LogFile::open(&plan, &noon()).expect("it opens");
        log.write(b"one\n", &noon()).expect("it writes");
        fs::rename(&plan.path, format!("{}.1", plan.path)).expect("it moves");
        log.write(b"two\n", &noon()).expect("it writes");
        log.reopen(&noon()).expect("it opens");
        log.write(b"three\n", &noon()).expect("it writes");
        assert_eq!(
            directory.files(),
            pairs(&[("a.log", "three\n"), ("a.log.1", "one\ntwo\n")])
        );
    }
}
