//! Paths as text: the strict reader (reference/naming.md §0.1), whose errors read like the original's.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::shown::{is_showable, push_bytes};

/// A path that is not one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    expected: &'static str,
    text: String,
    /// Where in `text` it went wrong; its length means the end.
    at: usize,
}

impl fmt::Display for PathError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expected, text, at } = self;
        let (before, rest) = text.split_at(*at);
        match rest.chars().next() {
            None => write!(formatter, "{expected} expected but end of input found at '{before}[]'"),
            Some(found) => {
                let after = &rest[found.len_utf8()..];
                write!(
                    formatter,
                    "{expected} expected but '{found}' found at '{before}[{found}]{after}'"
                )
            }
        }
    }
}

impl std::error::Error for PathError {}

/// A path that was read once, when the plan came.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct StaticPath {
    shown: Vec<u8>,
}

impl StaticPath {
    /// The path in shown form; nothing for the empty path.
    pub fn shown(&self) -> &[u8] {
        &self.shown
    }
}

/// Reads a path whose first slash the operator may leave out: `web` and `/web` mean the same.
pub(super) fn with_or_without_slash<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StaticPath, D::Error> {
    let text = String::deserialize(deserializer)?;
    StaticPath::try_from(format!("/{}", text.trim_start_matches('/'))).map_err(D::Error::custom)
}

impl TryFrom<String> for StaticPath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        let mut shown = Vec::new();
        read(text.as_bytes(), &mut shown)?;
        Ok(Self { shown })
    }
}

/// Reads a path and appends it in shown form; nothing for `/`.
pub(super) fn read(text: &[u8], out: &mut Vec<u8>) -> Result<(), PathError> {
    let length = out.len();
    read_path(text, out).map_err(|(expected, at)| {
        out.truncate(length);
        PathError::new(expected, text, at)
    })
}

impl PathError {
    fn new(expected: &'static str, text: &[u8], at: usize) -> Self {
        // Only for people: bytes that are no text are shown as U+FFFD.
        let before = String::from_utf8_lossy(&text[..at]);
        let rest = String::from_utf8_lossy(&text[at..]);
        Self {
            expected,
            at: before.len(),
            text: format!("{before}{rest}"),
        }
    }
}

fn read_path(text: &[u8], out: &mut Vec<u8>) -> Result<(), (&'static str, usize)> {
    let mut at = skip_white_space(text, 0);
    if text.get(at) != Some(&b'/') {
        return Err(("'/'", at));
    }
    at += 1;
    if text.get(at).is_some_and(|&byte| begins_element(byte)) {
        loop {
            let end = check_element(text, at)?;
            push_bytes(Unescaped(&text[at..end]), out);
            at = end;
            if text.get(at) != Some(&b'/') {
                break;
            }
            at += 1;
        }
    }
    at = skip_white_space(text, at);
    if at < text.len() {
        return Err(("end of input", at));
    }
    Ok(())
}

fn begins_element(byte: u8) -> bool {
    byte == b'\\' || is_showable(byte)
}

/// Finds the end of the element that begins at `start`.
fn check_element(text: &[u8], start: usize) -> Result<usize, (&'static str, usize)> {
    let mut at = start;
    loop {
        match text.get(at) {
            Some(b'\\') => {
                if text.get(at + 1) != Some(&b'x') {
                    return Err(("'x'", at + 1));
                }
                for digit in at + 2..at + 4 {
                    if !text.get(digit).is_some_and(u8::is_ascii_hexdigit) {
                        return Err(("hex char", digit));
                    }
                }
                at += 4;
            }
            Some(&byte) if is_showable(byte) => at += 1,
            _ if at == start => return Err(("label char", at)),
            _ => return Ok(at),
        }
    }
}

/// The bytes of an element that was checked.
#[derive(Clone)]
struct Unescaped<'a>(&'a [u8]);

impl Iterator for Unescaped<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        match self.0 {
            [b'\\', b'x', high, low, rest @ ..] => {
                self.0 = rest;
                let value = |digit: u8| (digit as char).to_digit(16).unwrap_or(0) as u8;
                Some(value(*high) << 4 | value(*low))
            }
            [byte, rest @ ..] => {
                self.0 = rest;
                Some(*byte)
            }
            [] => None,
        }
    }
}

/// Skips white space and comments.
fn skip_white_space(text: &[u8], mut at: usize) -> usize {
    loop {
        match text.get(at) {
            Some(b'#') => at += memchr::memchr(b'\n', &text[at..]).unwrap_or(text.len() - at),
            Some(b'\t'..=b'\r' | 0x1c..=b' ') => at += 1,
            Some(0x80..) => match wide_white_space(&text[at..]) {
                Some(length) => at += length,
                None => return at,
            },
            _ => return at,
        }
    }
}

/// The length of a white space character outside ASCII; Java's notion, which leaves out those that don't break a line.
fn wide_white_space(text: &[u8]) -> Option<usize> {
    let valid = match std::str::from_utf8(&text[..text.len().min(4)]) {
        Ok(valid) => valid,
        Err(error) => std::str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default(),
    };
    let character = valid.chars().next()?;
    let breaks = !matches!(character, '\u{85}' | '\u{a0}' | '\u{2007}' | '\u{202f}');
    (character.is_whitespace() && breaks).then(|| character.len_utf8())
}
