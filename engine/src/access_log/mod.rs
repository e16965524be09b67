//! Access logs: a line for each attempt that had a response (reference/linker.md §6.4), written off the workers.
//!
//! A worker appends its line to a bounded buffer of its own and goes on; one thread a log takes the buffers and writes the
//! file. A line that finds no room is lost and counted, so that a slow disk delays no request.

mod buffer;
mod file;
mod line;
mod roll;
mod writer;

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::SystemTime;

use jiff::tz::TimeZone;

use crate::mail::{Outbox, lock};
use crate::plan::AccessLogPlan;
use crate::wire::h1::{RequestHead, ResponseHead};
use buffer::Shared;
use file::LogFile;
pub use line::Entry;
pub use roll::RollPolicy;

/// The access log of one router.
#[derive(Debug)]
pub struct AccessLog {
    plan: AccessLogPlan,
    /// As the operator wrote it.
    wanted: AccessLogPlan,
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLog {
    /// Makes a log that is not open yet, with a buffer for each worker.
    pub fn new(plan: AccessLogPlan, workers: usize) -> Self {
        // Without a zone file, as in small containers, the local time is UTC.
        let zone = TimeZone::try_system().unwrap_or(TimeZone::UTC);
        Self {
            wanted: plan.clone(),
            plan,
            shared: Arc::new(Shared::new(workers, zone)),
            writer: Mutex::default(),
        }
    }

    /// Makes the log that a new plan wants instead; what stands in the same file stays.
    #[must_use]
    pub fn renewed(&self, plan: AccessLogPlan, workers: usize) -> Self {
        let append = plan.append || plan.path == self.plan.path;
        let mut log = Self::new(AccessLogPlan { append, ..plan.clone() }, workers);
        log.wanted = plan;
        log
    }

    /// Whether it is what a plan wants.
    pub fn is_as(&self, plan: &AccessLogPlan) -> bool {
        self.wanted == *plan
    }

    /// Opens the file, unless it is open, and begins to write; an error names the file.
    pub fn open(&self, outbox: &Arc<Outbox>) -> io::Result<()> {
        let mut writer = lock(&self.writer);
        if writer.is_some() {
            return Ok(());
        }
        let now = self.shared.now(SystemTime::now());
        let file = LogFile::open(&self.plan, &now)
            .map_err(|error| io::Error::new(error.kind(), format!("httpAccessLog {}: {error}", self.plan.path)))?;
        *writer = Some(writer::start(&self.shared, file, outbox.clone())?);
        Ok(())
    }

    /// Opens the file anew by its name, soon: it may have been moved away.
    pub fn reopen(&self) {
        self.shared.want_reopen();
    }

    /// Writes what is left and closes the file.
    pub fn close(&self) {
        self.shared.want_stop();
        if let Some(writer) = lock(&self.writer).take() {
            // A panic in it has been reported where it happened.
            let _ended = writer.join();
        }
    }

    /// Lines that were lost since the start.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped()
    }

    /// Notes what the line says of the request: `head` points into `bytes`, and `sent` is the head that the endpoint gets.
    pub fn note(&self, entry: &mut Entry, head: &RequestHead, bytes: &[u8], sent: &[u8], peer: IpAddr) {
        entry.note(head, bytes, sent, peer);
    }

    /// Writes the line of a request that was noted, now that the response's head is here (it points into `bytes`).
    pub fn add(&self, worker: usize, entry: &Entry, response: &ResponseHead, bytes: &[u8]) {
        let length = line::content_length(response, bytes);
        self.shared
            .add(worker, entry, response.status, length, SystemTime::now());
    }
}

impl Drop for AccessLog {
    /// The last request that could write to it is done: the writer writes what is left, and ends.
    fn drop(&mut self) {
        self.shared.want_stop();
    }
}
