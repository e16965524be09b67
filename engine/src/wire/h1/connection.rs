//! What `Connection` asks of this hop (RFC 9110 §7.6.1).

use super::error::HeadErrorKind;
use super::fields::Header;
use super::known::{Known, is_same};
use super::request::Version;
use super::scan::elements;

/// Options that one head may list; each is compared with each header.
const MAX_OPTIONS: usize = 64;

/// The options that were seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    pub close: bool,
    pub keep_alive: bool,
    pub upgrade: bool,
    /// Options other than `close`, which names no header, and `keep-alive`.
    others: usize,
    count: usize,
}

impl Options {
    /// Takes in the value of a `Connection` line.
    pub(super) fn note(&mut self, value: &[u8]) -> Result<(), HeadErrorKind> {
        // By far the most frequent.
        if is_same(b"keep-alive", value) && self.count < MAX_OPTIONS {
            self.count += 1;
            self.keep_alive = true;
            return Ok(());
        }
        for option in elements(value) {
            self.count += 1;
            if self.count > MAX_OPTIONS {
                return Err(HeadErrorKind::TooManyConnectionOptions);
            }
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else {
                self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                self.others += 1;
            }
        }
        Ok(())
    }

    /// Whether the sender leaves the connection open after this message (RFC 9112 §9.3).
    pub(super) fn persistent(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }

    /// Marks the headers that the `Connection` lines name.
    pub(super) fn mark(&self, headers: &mut [Header], buf: &[u8]) {
        let keep_alive_named = || self.keep_alive && headers.iter().any(|header| header.known == Known::KeepAlive);
        if self.others == 0 && !keep_alive_named() {
            return;
        }
        for line in 0..headers.len() {
            if headers[line].known != Known::Connection {
                continue;
            }
            let value = headers[line].value;
            for option in elements(value.get(buf)) {
                for header in &mut *headers {
                    if header.name.get(buf).eq_ignore_ascii_case(option) {
                        header.named_by_connection = true;
                    }
                }
            }
        }
    }
}
