//! What a worker keeps of a name, so that a request that finds it there looks at little else.

use std::borrow::Borrow;
use std::cell::Cell;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use super::{Answered, Name};
use crate::budget::Deposits;
use crate::stats::ServiceStats;

/// A worker's own cache of what names are bound to.
pub type Bindings = HashSet<Cached, foldhash::fast::RandomState>;

/// A name as it was last answered: a worker's own, so that a request counts no reference that other threads count, too.
///
/// In this order, what each request looks at is together: a linker with thousands of names waits for memory.
#[derive(Debug)]
#[repr(C)]
pub struct Binding {
    /// How many changes the router's names had seen when this was last found to be current.
    changes: Cell<u64>,
    /// The second in which the name was last told of a request.
    used_s: Cell<u64>,
    key: Key,
    /// This worker's block of the name's service.
    pub stats: Arc<ServiceStats>,
    /// Where this worker's requests pay for retries; none where requests pay nothing.
    pub deposits: Option<Deposits>,
    /// A copy, so that it is here and not elsewhere.
    pub answered: Answered,
    pub name: Arc<Name>,
    answers: u64,
}

impl Binding {
    /// Takes the name's answer as it is now, for one worker; none before the first.
    pub fn of(name: Arc<Name>, worker: usize) -> Option<Rc<Self>> {
        // First, so that an answer that comes meanwhile makes this one outdated.
        let answers = name.answers();
        let answered = name.answered.load().as_deref()?.clone();
        Some(Rc::new(Self {
            key: Key::of(name.key()),
            changes: Cell::new(0),
            used_s: Cell::new(u64::MAX),
            stats: name.service.stats[worker].clone(),
            deposits: answered.budget.deposits(worker),
            answered,
            answers,
            name,
        }))
    }

    /// Whether the name still stands for this; otherwise ask anew. `changes` is what `Names::changes` gives now: while it is as
    /// it was, the name need not be looked at.
    pub fn is_current(&self, changes: u64) -> bool {
        if self.changes.get() == changes {
            return true;
        }
        let current = self.name.answers() == self.answers && !self.name.is_retired();
        if current {
            self.changes.set(changes);
        }
        current
    }

    /// Remembers that another request used the name; tells the name once a second.
    pub fn touch(&self, now_s: u64) {
        if self.used_s.replace(now_s) != now_s {
            self.name.touch(now_s);
        }
    }
}

/// Such keys are beside what they lead to: most are a path of a few words.
const SHORT: usize = 46;

/// The key of a name.
#[derive(Debug)]
enum Key {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

impl Key {
    fn of(key: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..key.len()) {
            Some(room) => {
                room.copy_from_slice(key);
                Self::Short {
                    length: key.len() as u8,
                    bytes,
                }
            }
            None => Self::Long(key.into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
        }
    }
}

/// A binding that is found by its key.
#[derive(Debug)]
pub struct Cached(pub Rc<Binding>);

impl Borrow<[u8]> for Cached {
    fn borrow(&self) -> &[u8] {
        self.0.key.bytes()
    }
}

impl Hash for Cached {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.key.bytes().hash(hasher);
    }
}

impl PartialEq for Cached {
    fn eq(&self, other: &Self) -> bool {
        self.0.key.bytes() == other.0.key.bytes()
    }
}

impl Eq for Cached {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_what_it_was_made_of_whatever_its_length() {
        for length in [0, 1, SHORT - 1, SHORT, SHORT + 1, 5_000] {
            let key: Vec<u8> = (0..length).map(|nth| nth as u8).collect();
            assert_eq!(Key::of(&key).bytes(), key);
        }
    }
}
