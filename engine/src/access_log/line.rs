//! The text of a line.

use std::io::Write as _;
use std::net::IpAddr;

use crate::wire::h1::{Body, Known, RequestHead, ResponseHead, Version};
use crate::wire::text::push_decimal;

const HEX: &[u8; 16] = b"0123456789abcdef";
/// Memory of an entry that is kept for the next request.
const KEPT_BYTES: usize = 4096;

/// What a line says of the request, kept until the response comes. Empty, it holds no memory.
#[derive(Debug, Default)]
pub struct Entry {
    text: Vec<u8>,
    /// Where the time belongs.
    time_at: usize,
    /// Where status and length belong.
    status_at: usize,
}

impl Entry {
    /// Gives back memory that only an unusual request needed.
    pub fn reset(&mut self) {
        self.text.clear();
        self.text.shrink_to(KEPT_BYTES);
    }

    /// The number of bytes, without time, status and length.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) fn note(&mut self, head: &RequestHead, bytes: &[u8], sent: &[u8], peer: IpAddr) {
        let text = &mut self.text;
        text.clear();
        push_escaped(text, head.authority().map(|host| host.get(bytes)), true);
        // Writing to a `Vec` cannot fail.
        let _written = write!(text, " {} - - [", peer.to_canonical());
        self.time_at = text.len();
        text.extend_from_slice(b"] \"");
        let method = head.method_span.get(bytes);
        push_escaped(text, Some(method), true);
        text.push(b' ');
        // The target as it goes on: an identifier may have consumed a part of it.
        let target = sent.get(method.len() + 1..).unwrap_or_default();
        let target = target.split(|&byte| byte == b' ').next();
        push_escaped(text, target, true);
        text.extend_from_slice(match head.version {
            Version::Http10 => b" HTTP/1.0\" ",
            Version::Http11 => b" HTTP/1.1\" ",
        });
        self.status_at = text.len();
        for name in [&b"referer"[..], b"user-agent"] {
            let header = head
                .headers
                .iter()
                .find(|header| header.name.get(bytes).eq_ignore_ascii_case(name));
            text.extend_from_slice(b" \"");
            push_escaped(text, header.map(|header| header.value.get(bytes)), false);
            text.push(b'"');
        }
        text.push(b'\n');
    }

    /// Writes the whole line.
    pub(super) fn push(&self, out: &mut Vec<u8>, time: &str, status: u16, length: Option<u64>) {
        out.extend_from_slice(&self.text[..self.time_at]);
        out.extend_from_slice(time.as_bytes());
        out.extend_from_slice(&self.text[self.time_at..self.status_at]);
        push_decimal(out, status.into());
        out.push(b' ');
        match length {
            Some(length) => push_decimal(out, length),
            None => out.push(b'-'),
        }
        out.extend_from_slice(&self.text[self.status_at..]);
    }
}

/// What the response's `Content-Length` says, also where no body follows (HEAD).
pub(super) fn content_length(response: &ResponseHead, bytes: &[u8]) -> Option<u64> {
    match response.body {
        Body::Exact(length) => Some(length),
        Body::None => {
            let header = response
                .headers
                .iter()
                .find(|header| header.known == Known::ContentLength)?;
            std::str::from_utf8(header.value.get(bytes)).ok()?.parse().ok()
        }
        _ => None,
    }
}

/// Writes a value so that it ends neither its field nor its line: `\"`, `\\`, and `\xhh` for what is not printable ASCII, and
/// for a space where a space ends the field.
fn push_escaped(out: &mut Vec<u8>, value: Option<&[u8]>, to_space: bool) {
    let value = value.unwrap_or_default();
    if value.is_empty() {
        out.push(b'-');
    }
    for &byte in value {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b' ' if !to_space => out.push(byte),
            0x21..=0x7e => out.push(byte),
            _ => out.extend_from_slice(&[b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::h1::{Limits, Parse};

    const LIMITS: Limits = Limits {
        head_bytes: 8192,
        line_bytes: 4096,
        headers: 100,
    };

    fn line(request: &[u8], sent: &[u8], length: Option<u64>) -> String {
        let mut head = RequestHead::default();
        assert!(matches!(head.parse(request, &LIMITS), Ok(Parse::Complete(_))));
        let mut entry = Entry::default();
        entry.note(&head, request, sent, "127.0.0.9".parse().expect("an address"));
        let mut out = Vec::new();
        entry.push(&mut out, "23/11/2026:04:15:00 UTC", 200, length);
        String::from_utf8(out).expect("a line is ASCII")
    }

    #[test]
    fn a_line_has_the_references_form() {
        let request = b"GET /a/b HTTP/1.1\r\nHost: web\r\nReferer: http://x/\r\nUser-Agent: curl 8\r\n\r\n";
        assert_eq!(
            line(request, b"GET /b HTTP/1.1\r\n", Some(12)),
            "web 127.0.0.9 - - [23/11/2026:04:15:00 UTC] \"GET /b HTTP/1.1\" 200 12 \"http://x/\" \"curl 8\"\n"
        );
    }

    #[test]
    fn what_is_missing_is_a_dash() {
        assert_eq!(
            line(b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\n", None),
            "- 127.0.0.9 - - [23/11/2026:04:15:00 UTC] \"GET / HTTP/1.0\" 200 - \"-\" \"-\"\n"
        );
    }

    #[test]
    fn no_value_can_end_its_field_or_line() {
        let request = b"GET / HTTP/1.1\r\nHost: web\r\nUser-Agent: a\" 200 1 \"x\\\t\xff\r\n\r\n";
        let line = line(request, b"GET / HTTP/1.1\r\n", None);
        assert!(line.ends_with("\"-\" \"a\\\" 200 1 \\\"x\\\\\\x09\\xff\"\n"), "{line}");
    }

    #[test]
    fn a_space_ends_no_field_without_quotes() {
        let mut out = Vec::new();
        push_escaped(&mut out, Some(b"a b\n"), true);
        assert_eq!(out, b"a\\x20b\\x0a");
    }
}
