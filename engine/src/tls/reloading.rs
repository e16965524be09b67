//! What is made from files, and made anew when they change.
//!
//! The files are looked at when a handshake needs them and at most once a second: nothing runs while nobody connects, and a
//! connection that is open keeps what it was opened with.

use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::mail::{Level, Outbox, lock};

/// How long a look at the files is good for.
const LOOK: Duration = Duration::from_secs(1);

/// What can be made from files.
pub trait Load {
    type Loaded;

    /// The files' paths.
    fn files(&self) -> Vec<&str>;

    /// Makes it; an error names the file.
    fn load(&self) -> Result<Self::Loaded, String>;
}

/// Modification time in seconds and nanoseconds, size, and inode; none when the file cannot be seen.
type Stamp = Option<(i64, i64, u64, u64)>;

#[derive(Debug)]
struct Looked {
    at: Instant,
    stamps: Vec<Stamp>,
}

/// The newest sound state of what a plan's files say.
#[derive(Debug)]
pub struct Reloading<P: Load> {
    plan: P,
    current: ArcSwap<Result<P::Loaded, String>>,
    looked: Mutex<Looked>,
}

impl<P: Load> Reloading<P> {
    /// Reads the files for the first time.
    pub fn new(plan: P) -> Self {
        let looked = Looked {
            at: Instant::now(),
            stamps: stamps(&plan),
        };
        Self {
            current: ArcSwap::from_pointee(plan.load()),
            looked: Mutex::new(looked),
            plan,
        }
    }

    /// Gives what the files say. When they have become unsound it is what they said before, and a note says so.
    pub fn get(&self, outbox: &Outbox) -> Arc<Result<P::Loaded, String>> {
        {
            let mut looked = lock(&self.looked);
            if looked.at.elapsed() >= LOOK {
                looked.at = Instant::now();
                // Before reading, so that a change while we read is seen the next time.
                let stamps = stamps(&self.plan);
                if stamps != looked.stamps {
                    looked.stamps = stamps;
                    self.reload(outbox);
                }
            }
        }
        self.current.load_full()
    }

    fn reload(&self, outbox: &Outbox) {
        match self.plan.load() {
            Ok(loaded) => {
                self.current.store(Arc::new(Ok(loaded)));
                let files = self.plan.files().join(", ");
                outbox.note(Level::Info, "tls", format!("read again after a change: {files}"));
            }
            Err(message) if self.current.load().is_ok() => {
                let message = format!("{message}; the former certificates stay in use");
                outbox.note(Level::Warning, "tls", message);
            }
            Err(message) => self.current.store(Arc::new(Err(message))),
        }
    }
}

fn stamps<P: Load>(plan: &P) -> Vec<Stamp> {
    let stamp = |path: &&str| {
        let seen = std::fs::metadata(path).ok()?;
        Some((seen.mtime(), seen.mtime_nsec(), seen.size(), seen.ino()))
    };
    plan.files().iter().map(stamp).collect()
}
