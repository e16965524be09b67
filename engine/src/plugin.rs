//! What plugins written in Python say of a request: a letter out, a letter back, and a bound on how many wait.
//!
//! A request asks once: Python runs the router's filters in order, then its Python identifiers. A response asks once more if its
//! service has a classifier in Python. Text stands for bytes, a
//! character for each (Latin-1), as header fields hold any bytes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use tokio::sync::oneshot;

use crate::classify::Class;
use crate::identify::{Consumed, Identifier, Unidentified};
use crate::mail::{Outbox, Outgoing, lock};
use crate::wire::h1::{Header, RequestHead};

/// A router's Python plugins.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PluginPlan {
    /// How long all of them together may take for one request.
    pub timeout_ms: u64,
    /// So many requests wait for them at a time; more are refused.
    pub max_waiting: usize,
    /// There are filters or identifiers among them: each request is shown to them before it is identified.
    pub sees_requests: bool,
}

/// What the plugins say of a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Advice {
    /// It goes on: without the headers `remove`, then with `add`; `names` is what each Python identifier says.
    Go {
        remove: Vec<String>,
        add: Vec<(String, String)>,
        names: Vec<Named>,
    },
    /// A filter answers itself.
    Reply {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    /// What a classifier makes of a response.
    Class { class: Class },
    /// A plugin failed; the kind is told to the caller, the detail is in Python's log.
    Failed { message: String },
}

/// What one Python identifier says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Named {
    /// In shown form, without the router's prefix.
    Path { path: String },
    /// The next identifier is asked.
    Reason { reason: String },
}

/// The requests of one router that wait for its plugins.
#[derive(Debug)]
pub struct Consultations {
    router: usize,
    outbox: Arc<Outbox>,
    table: Mutex<Table>,
    /// Responses of which the classifier in Python said nothing in time.
    pub unclassified: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    waiting: HashMap<u64, oneshot::Sender<Advice>>,
    next: u64,
}

/// One request's place among those that wait: dropped before the advice came, it takes the letter back.
#[derive(Debug)]
pub struct Waiting<'a> {
    consultations: &'a Consultations,
    ticket: u64,
    pub advice: oneshot::Receiver<Advice>,
}

const TICKET_BITS: u32 = 40;

impl Consultations {
    pub fn new(router: usize, outbox: Arc<Outbox>) -> Self {
        Self {
            router,
            outbox,
            table: Mutex::default(),
            unclassified: AtomicU64::new(0),
        }
    }

    /// The router that a ticket belongs to.
    pub fn router_of(ticket: u64) -> usize {
        (ticket >> TICKET_BITS) as usize
    }

    /// How many wait now.
    pub fn waiting(&self) -> usize {
        lock(&self.table).waiting.len()
    }

    /// Posts a request's letter, which `letter` makes for its ticket; `None` if too many wait.
    pub fn ask(&self, max_waiting: usize, letter: impl FnOnce(u64) -> Outgoing) -> Option<Waiting<'_>> {
        let (sender, advice) = oneshot::channel();
        let ticket = {
            let mut table = lock(&self.table);
            if table.waiting.len() >= max_waiting {
                return None;
            }
            table.next = (table.next + 1) & ((1 << TICKET_BITS) - 1);
            let ticket = ((self.router as u64) << TICKET_BITS) | table.next;
            table.waiting.insert(ticket, sender);
            ticket
        };
        self.outbox.post(letter(ticket));
        Some(Waiting {
            consultations: self,
            ticket,
            advice,
        })
    }

    /// Hands advice to the request that waits for it; one that waits no more needs none.
    pub fn advise(&self, ticket: u64, advice: Advice) {
        let waiting = lock(&self.table).waiting.remove(&ticket);
        if let Some(sender) = waiting {
            let _gone = sender.send(advice);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let unanswered = lock(&self.consultations.table).waiting.remove(&self.ticket);
        if unanswered.is_some() {
            self.consultations.outbox.post(Outgoing::Cancel { ticket: self.ticket });
        }
    }
}

/// Asks the identifiers in turn, where `named` is what those in Python have said.
pub fn identify(
    identifiers: &[Identifier],
    named: &[Named],
    head: &RequestHead,
    buf: &[u8],
    original: Option<SocketAddr>,
    out: &mut Vec<u8>,
) -> Result<Option<Consumed>, Unidentified> {
    let mut last = Unidentified::Reason("no identifier is configured".into());
    for identifier in identifiers {
        let outcome = match identifier {
            Identifier::Plugin { index } => match named.get(*index) {
                Some(Named::Path { path }) => {
                    out.extend_from_slice(path.as_bytes());
                    Ok(None)
                }
                Some(Named::Reason { reason }) => Err(Unidentified::Reason(reason.clone().into())),
                None => Err(Unidentified::Reason("the plugin was not asked".into())),
            },
            identifier => identifier.identify(head, buf, original, out),
        };
        match outcome {
            Err(reason @ Unidentified::Reason(_)) => last = reason,
            decided => return decided,
        }
    }
    Err(last)
}

/// Whether a filter may change or answer with this header: not those on which a message's boundaries depend, or that hold for one
/// connection, or `Host`, which the request is addressed to.
pub fn may_set(name: &str) -> bool {
    const OURS: [&str; 11] = [
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    ];
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(token) && !OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

/// Appends a header line; false if it is none that a plugin may set.
pub fn push_header(name: &str, value: &str, out: &mut Vec<u8>) -> bool {
    if !may_set(name) {
        return false;
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    for character in value.chars() {
        match u8::try_from(u32::from(character)) {
            Ok(byte) if byte == b'\t' || (byte >= b' ' && byte != 0x7f) => out.push(byte),
            _ => return false,
        }
    }
    out.extend_from_slice(b"\r\n");
    true
}

/// A character for each byte.
pub fn as_text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Names and values of header fields as text.
pub fn fields_as_text(headers: &[Header], bytes: &[u8]) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|header| (as_text(header.name.get(bytes)), as_text(header.value.get(bytes))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consultations() -> Consultations {
        let bell = rustix::event::eventfd(0, rustix::event::EventfdFlags::empty()).expect("an eventfd");
        Consultations::new(3, Arc::new(Outbox::new(bell)))
    }

    fn letter(ticket: u64) -> Outgoing {
        Outgoing::Release { ticket }
    }

    #[test]
    fn no_more_wait_than_may_and_who_leaves_makes_room_and_takes_his_letter_back() {
        let consultations = consultations();
        let waiting = consultations.ask(1, letter).expect("room for one");
        assert!(consultations.ask(1, letter).is_none());
        let ticket = waiting.ticket;
        assert_eq!(Consultations::router_of(ticket), 3);
        drop(waiting);
        let letters = consultations.outbox.take();
        assert_eq!(letters, [Outgoing::Release { ticket }, Outgoing::Cancel { ticket }]);
        assert!(consultations.ask(1, letter).is_some());
    }

    #[test]
    fn advice_reaches_the_request_that_asked() {
        let consultations = consultations();
        let mut waiting = consultations.ask(1, letter).expect("room for one");
        let advice = Advice::Failed {
            message: "no".to_owned(),
        };
        consultations.advise(waiting.ticket + 1, advice.clone());
        assert!(waiting.advice.try_recv().is_err());
        consultations.advise(waiting.ticket, advice.clone());
        assert_eq!(waiting.advice.try_recv(), Ok(advice));
    }

    #[test]
    fn a_header_that_would_change_where_a_message_ends_is_refused() {
        let mut out = Vec::new();
        assert!(push_header("X-User", "J\u{e9}", &mut out));
        assert_eq!(out, b"X-User: J\xe9\r\n");
        for (name, value) in [
            ("Content-Length", "1"),
            ("transfer-encoding", "chunked"),
            ("a b", "1"),
            ("", "1"),
            ("a", "b\r\nc: d"),
            ("a", "\u{20ac}"),
            ("a", "\0"),
        ] {
            assert!(!push_header(name, value, &mut out), "{name}: {value}");
        }
    }
}
