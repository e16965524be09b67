//! The thread that writes a log.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use super::buffer::Shared;
use super::file::LogFile;
use crate::mail::{Level, Outbox};

/// How long a line waits at the most until it is written.
const LOOK: Duration = Duration::from_millis(100);
const ROOM: &str = "access_log";

/// Starts the thread.
pub(super) fn start(shared: &Arc<Shared>, file: LogFile, outbox: Arc<Outbox>) -> io::Result<JoinHandle<()>> {
    let of_thread = shared.clone();
    let thread = thread::Builder::new().name("access-log".to_owned()).spawn(move || {
        let mut writer = Writer {
            shared: &of_thread,
            file,
            outbox,
            failing: false,
        };
        writer.run();
    })?;
    shared.set_writer(thread.thread().clone());
    Ok(thread)
}

struct Writer<'a> {
    shared: &'a Shared,
    file: LogFile,
    outbox: Arc<Outbox>,
    /// The last attempt to write failed, and the operator knows.
    failing: bool,
}

impl Writer<'_> {
    fn run(&mut self) {
        let mut lines = Vec::new();
        loop {
            thread::park_timeout(LOOK);
            // Asked before the lines are taken, so that the last of them are written.
            let stopping = self.shared.is_stopping();
            let reopening = self.shared.take_reopen();
            let shared = self.shared;
            shared.take(&mut lines, |lines| self.write(lines));
            if stopping {
                return;
            }
            if reopening {
                let now = shared.now(SystemTime::now());
                if let Err(error) = self.file.reopen(&now) {
                    let message = format!("cannot reopen the access log, going on with the old file: {error}");
                    self.outbox.note(Level::Error, ROOM, message);
                }
            }
        }
    }

    fn write(&mut self, lines: &[u8]) {
        let now = self.shared.now(SystemTime::now());
        match self.file.write(lines, &now) {
            Ok(()) => {
                if self.failing {
                    self.outbox
                        .note(Level::Info, ROOM, "the access log is written again".to_owned());
                }
                self.failing = false;
            }
            Err((lost, error)) => {
                self.shared.lose(lost);
                if !self.failing {
                    let message = format!("cannot write the access log, its lines are lost: {error}");
                    self.outbox.note(Level::Error, ROOM, message);
                }
                self.failing = true;
            }
        }
    }
}
