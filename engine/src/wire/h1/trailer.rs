//! The trailer section of a chunked body (RFC 9112 §7.1.2).

use super::chunk::{ChunkError, Form};
use super::known::Known;
use super::scan;

const MAX_BYTES: usize = 8 * 1024;
const MAX_LINES: usize = 64;

/// Reads trailer lines; one that came in part is kept until the rest of it comes.
#[derive(Debug, Default)]
pub(super) struct Trailers {
    partial: Vec<u8>,
    bytes: usize,
    lines: usize,
}

impl Trailers {
    pub(super) fn clear(&mut self) {
        self.partial.clear();
        self.bytes = 0;
        self.lines = 0;
    }

    /// Reads lines and appends those that pass, until `out` is `full` bytes long; gives how many bytes were used and whether
    /// the empty line that ends the section was among them.
    pub(super) fn relay(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        form: Form,
        full: usize,
    ) -> Result<(usize, bool), ChunkError> {
        let mut at = 0;
        while out.len() < full {
            let rest = &input[at..];
            let end = memchr::memchr(b'\n', rest);
            let count = end.map_or(rest.len(), |end| end + 1);
            self.bytes += count;
            if self.bytes > MAX_BYTES {
                return Err(ChunkError::TrailersTooLarge);
            }
            at += count;
            if end.is_none() {
                self.partial.extend_from_slice(rest);
                return Ok((at, false));
            }
            let line = if self.partial.is_empty() {
                &rest[..count]
            } else {
                self.partial.extend_from_slice(&rest[..count]);
                &self.partial
            };
            if line == b"\r\n" {
                if form == Form::Chunked {
                    out.extend_from_slice(line);
                }
                return Ok((at, true));
            }
            self.lines += 1;
            if self.lines > MAX_LINES {
                return Err(ChunkError::TrailersTooLarge);
            }
            if may_pass(name(line).ok_or(ChunkError::InvalidTrailer)?) && form == Form::Chunked {
                out.extend_from_slice(line);
            }
            self.partial.clear();
        }
        Ok((at, false))
    }
}

/// The name in a line that is a well-formed header line; the line ends with LF.
fn name(line: &[u8]) -> Option<&[u8]> {
    let length = scan::run(line, &scan::TOKEN);
    let value = line[length..].strip_prefix(b":")?.strip_suffix(b"\r\n")?;
    let clean = value.iter().all(|&byte| byte == b'\t' || !byte.is_ascii_control());
    (length > 0 && clean).then(|| &line[..length])
}

/// Whether a field is of use after the body: not if it frames, routes, authenticates or controls the message, or says how
/// its content is to be read (RFC 9110 §6.5.1).
fn may_pass(name: &[u8]) -> bool {
    const REFUSED: &[&str] = &[
        "age",
        "authorization",
        "cache-control",
        "content-encoding",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "expires",
        "location",
        "max-forwards",
        "pragma",
        "range",
        "set-cookie",
        "vary",
        "warning",
        "www-authenticate",
    ];
    Known::of(name) == Known::Other
        && !name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"if-"))
        && !REFUSED
            .iter()
            .any(|refused| name.eq_ignore_ascii_case(refused.as_bytes()))
}
