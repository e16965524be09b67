//! The letters between the engine and Python, and the box that holds those going out.
//!
//! The twin of the letters in `src/biandou/boundary.py`. Posting never waits and never takes the GIL: a letter goes into the box
//! and the bell (an eventfd) is rung; Python's event loop empties the box.

use std::os::fd::OwnedFd;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::plan::{ClientPolicy, ServicePolicy};
use crate::wire::text::clip;

/// A letter to Python.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Outgoing {
    /// A service name that no cache knows; `dtab` holds the texts of the request's own dtab headers, lowest precedence first.
    Ask {
        ticket: u64,
        router: String,
        path: String,
        dtab: Vec<String>,
    },
    /// The name of this ticket was dropped.
    Release { ticket: u64 },
    /// A request of a router that has plugins in Python; header fields and target as Latin-1 text.
    Consult {
        ticket: u64,
        router: String,
        method: String,
        target: String,
        headers: Vec<(String, String)>,
        peer: String,
        local: String,
        /// The response that a classifier is asked about; nothing for a request that is to be identified.
        answered: Option<Answered>,
    },
    /// Nobody waits any more for what this ticket asked.
    Cancel { ticket: u64 },
    /// Something that an operator should read.
    Note {
        level: Level,
        room: String,
        message: String,
    },
    /// An error whose caller was told no more than its id: what it was.
    Withheld {
        id: String,
        router: String,
        room: String,
        status: u16,
        message: String,
    },
    /// The last request after `stop` is done, or the grace is over.
    Drained { unfinished: u64 },
}

/// A response that a classifier in Python is shown; header fields as Latin-1 text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The number of the classifier that is asked.
    pub classifier: u32,
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

/// How urgent a note is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warning,
    Info,
    Debug,
}

/// What a service name means now.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    pub outcome: Outcome,
    /// The request's own dtab in canonical form, passed on as `l5d-ctx-dtab`; empty for none.
    pub context: String,
    /// Its dentries, for the text of a 502.
    pub override_dentries: Vec<String>,
    pub policy: ServicePolicy,
}

/// The result of binding.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Outcome {
    /// Unions are flattened: a branch's weight is its share of the whole.
    Bound { branches: Vec<Branch> },
    /// Nothing is there.
    Negative,
    /// Binding failed: 502 with the message.
    Failed { message: String },
    /// The request's own dtab cannot be read: 400 with the message.
    Invalid { message: String },
}

/// A share of a name's requests; without a client it has no endpoint.
#[derive(Clone, Debug, Deserialize)]
pub struct Branch {
    pub weight: f64,
    pub client: Option<String>,
    pub residual: String,
}

/// Where a client name is, and how to treat it.
#[derive(Clone, Debug, Deserialize)]
pub struct Endpoints {
    pub router: String,
    pub client: String,
    pub state: EndpointsState,
    pub policy: ClientPolicy,
}

/// What the registry says of a client name.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum EndpointsState {
    /// (IP literal, port, weight) each; perhaps none.
    Bound {
        addresses: Vec<(std::net::IpAddr, u16, f64)>,
        authority: Option<String>,
    },
    Negative,
    Failed {
        message: String,
    },
    Pending,
    /// The engine itself answers with this status.
    Status {
        code: u16,
    },
}

/// So many notes wait at the most: more in one go nobody reads, and what they tell of may happen at every request.
const NOTES_MAX: usize = 256;
/// A longer message is cut.
const NOTE_BYTES_MAX: usize = 4096;

/// The box of letters for Python, and its bell.
#[derive(Debug)]
pub struct Outbox {
    waiting: Mutex<Waiting>,
    bell: OwnedFd,
}

/// What waits for Python.
#[derive(Debug, Default)]
struct Waiting {
    letters: Vec<Outgoing>,
    notes: usize,
    /// Notes for which there was no room.
    dropped: u64,
}

impl Outbox {
    /// Makes an empty box; `bell` is an eventfd that is rung when the first letter comes.
    pub fn new(bell: OwnedFd) -> Self {
        Self {
            waiting: Mutex::default(),
            bell,
        }
    }

    /// Puts a letter in; rings only if the box was empty, since one ring empties it.
    pub fn post(&self, letter: Outgoing) {
        let first = {
            let mut waiting = lock(&self.waiting);
            waiting.letters.push(letter);
            waiting.letters.len() == 1
        };
        if first {
            self.ring();
        }
    }

    /// Posts a note; when too many wait already it is only counted.
    pub fn note(&self, level: Level, room: &str, mut message: String) {
        message.truncate(clip(&message, NOTE_BYTES_MAX).len());
        self.post_bounded(Outgoing::Note {
            level,
            room: room.to_owned(),
            message,
        });
    }

    /// Posts what the caller of a failed request is not told, as a note is posted.
    pub fn withheld(&self, id: &str, router: &str, failure: &Failure) {
        self.post_bounded(Outgoing::Withheld {
            id: id.to_owned(),
            router: router.to_owned(),
            room: failure.room.name().to_owned(),
            status: failure.status,
            message: clip(&failure.message, NOTE_BYTES_MAX).to_owned(),
        });
    }

    fn post_bounded(&self, letter: Outgoing) {
        let first = {
            let mut waiting = lock(&self.waiting);
            if waiting.notes == NOTES_MAX {
                waiting.dropped += 1;
                return;
            }
            waiting.notes += 1;
            waiting.letters.push(letter);
            waiting.letters.len() == 1
        };
        if first {
            self.ring();
        }
    }

    /// Takes all letters out.
    pub fn take(&self) -> Vec<Outgoing> {
        let Waiting {
            mut letters, dropped, ..
        } = std::mem::take(&mut *lock(&self.waiting));
        if dropped > 0 {
            letters.push(Outgoing::Note {
                level: Level::Warning,
                room: "engine".to_owned(),
                message: format!("{dropped} more notes were dropped: they came faster than they were read"),
            });
        }
        letters
    }

    fn ring(&self) {
        // An eventfd refuses a write only when 2^64 - 2 rings are unread; then it is ringing already.
        let _rung = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

/// Locks, also after another holder panicked: what these locks guard is whole after every single statement.
pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox() -> Outbox {
        Outbox::new(rustix::event::eventfd(0, rustix::event::EventfdFlags::empty()).expect("an eventfd"))
    }

    #[test]
    fn a_flood_of_notes_is_bounded_and_told_of_and_costs_no_other_letter() {
        let outbox = outbox();
        for number in 0..100_000 {
            outbox.note(Level::Error, "server", format!("note {number}"));
        }
        outbox.post(Outgoing::Release { ticket: 1 });
        let letters = outbox.take();
        assert_eq!(letters.len(), NOTES_MAX + 2);
        assert_eq!(letters[NOTES_MAX], Outgoing::Release { ticket: 1 });
        let Some(Outgoing::Note { message, .. }) = letters.last() else {
            panic!("{:?}", letters.last());
        };
        assert_eq!(
            message,
            &format!(
                "{} more notes were dropped: they came faster than they were read",
                100_000 - NOTES_MAX
            )
        );
        outbox.note(Level::Error, "server", "again".to_owned());
        assert_eq!(outbox.take().len(), 1);
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let outbox = outbox();
        outbox.note(Level::Error, "server", "\u{e9}".repeat(10_000));
        let letters = outbox.take();
        let [Outgoing::Note { message, .. }] = letters.as_slice() else {
            panic!("{letters:?}");
        };
        assert_eq!(message, &"\u{e9}".repeat(NOTE_BYTES_MAX / 2));
    }
}
