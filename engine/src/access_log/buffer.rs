//! What lies between the workers and the writer: bounded, and never waited for.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, TryLockError};
use std::thread::Thread;
use std::time::SystemTime;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::line::Entry;
use crate::mail::lock;
use crate::stats::Counter;

/// Bytes that wait for the writer in each of a worker's two buffers.
const BUFFER_BYTES: usize = 512 * 1024;
/// More than time, status and length take.
const REST_BYTES: usize = 128;

/// Lines that wait, and the time as it was last written.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    second: u64,
    time: String,
}

/// One worker's share. The writer locks one buffer at a time, so that the other is free for the worker.
#[derive(Debug, Default)]
struct Share {
    buffers: [Mutex<Lines>; 2],
    dropped: Counter,
}

/// What workers and the writer of one log have in common.
#[derive(Debug)]
pub(super) struct Shared {
    shares: Box<[Share]>,
    zone: TimeZone,
    writer: OnceLock<Thread>,
    reopen: AtomicBool,
    stop: AtomicBool,
    unwritten: AtomicU64,
}

impl Shared {
    pub(super) fn new(workers: usize, zone: TimeZone) -> Self {
        Self {
            shares: (0..workers).map(|_| Share::default()).collect(),
            zone,
            writer: OnceLock::new(),
            reopen: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            unwritten: AtomicU64::new(0),
        }
    }

    /// A time in the local zone.
    pub(super) fn now(&self, time: SystemTime) -> Zoned {
        Timestamp::try_from(time)
            .unwrap_or(Timestamp::UNIX_EPOCH)
            .to_zoned(self.zone.clone())
    }

    /// Appends a line, or counts it as lost.
    pub(super) fn add(&self, worker: usize, entry: &Entry, status: u16, length: Option<u64>, at: SystemTime) {
        let Some(share) = self.shares.get(worker) else {
            return;
        };
        for buffer in &share.buffers {
            let mut lines = match buffer.try_lock() {
                Ok(lines) => lines,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            let before = lines.bytes.len();
            if before + entry.len() + REST_BYTES > BUFFER_BYTES {
                break;
            }
            let second = at
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs());
            let Lines {
                bytes,
                second: written,
                time,
            } = &mut *lines;
            if time.is_empty() || *written != second {
                *written = second;
                *time = self.now(at).strftime("%d/%m/%Y:%H:%M:%S %Z").to_string();
            }
            entry.push(bytes, time, status, length);
            let after = bytes.len();
            drop(lines);
            if before < BUFFER_BYTES / 2 && after >= BUFFER_BYTES / 2 {
                self.wake();
            }
            return;
        }
        share.dropped.add(1);
    }

    /// Moves the lines of every worker, in the order of each, into `out`, a buffer at a time; `write` gets each.
    pub(super) fn take(&self, out: &mut Vec<u8>, mut write: impl FnMut(&[u8])) {
        for buffer in self.shares.iter().flat_map(|share| &share.buffers) {
            out.clear();
            std::mem::swap(&mut lock(buffer).bytes, out);
            if !out.is_empty() {
                write(out);
            }
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        let dropped: u64 = self.shares.iter().map(|share| share.dropped.get()).sum();
        dropped + self.unwritten.load(Ordering::Relaxed)
    }

    /// Counts lines that could not be written.
    pub(super) fn lose(&self, lines: u64) {
        self.unwritten.fetch_add(lines, Ordering::Relaxed);
    }

    pub(super) fn set_writer(&self, thread: Thread) {
        let _first = self.writer.set(thread);
    }

    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    pub(super) fn want_reopen(&self) {
        self.reopen.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn take_reopen(&self) -> bool {
        self.reopen.swap(false, Ordering::AcqRel)
    }

    pub(super) fn want_stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &[u8]) -> Entry {
        let mut head = crate::wire::h1::RequestHead::default();
        let limits = crate::wire::h1::Limits {
            head_bytes: 8192,
            line_bytes: 4096,
            headers: 100,
        };
        assert!(head.parse(text, &limits).is_ok());
        let mut entry = Entry::default();
        entry.note(&head, text, text, "127.0.0.1".parse().expect("an address"));
        entry
    }

    #[test]
    fn a_full_buffer_loses_lines_and_counts_them() {
        let shared = Shared::new(1, TimeZone::UTC);
        let entry = entry(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        for _ in 0..20_000 {
            shared.add(0, &entry, 200, None, SystemTime::UNIX_EPOCH);
        }
        let mut kept = 0;
        shared.take(&mut Vec::new(), |lines| {
            assert!(lines.len() <= BUFFER_BYTES);
            kept += memchr::memchr_iter(b'\n', lines).count() as u64;
        });
        assert!(shared.dropped() > 0);
        assert_eq!(kept + shared.dropped(), 20_000);
    }

    #[test]
    fn a_worker_does_not_wait_for_the_writer() {
        let shared = Shared::new(1, TimeZone::UTC);
        let held = lock(&shared.shares[0].buffers[0]);
        shared.add(
            0,
            &entry(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            204,
            Some(3),
            SystemTime::UNIX_EPOCH,
        );
        drop(held);
        let mut taken = Vec::new();
        shared.take(&mut Vec::new(), |lines| taken.extend_from_slice(lines));
        assert_eq!(
            String::from_utf8_lossy(&taken),
            "a 127.0.0.1 - - [01/01/1970:00:00:00 UTC] \"GET / HTTP/1.1\" 204 3 \"-\" \"-\"\n"
        );
        assert_eq!(shared.dropped(), 0);
    }
}
