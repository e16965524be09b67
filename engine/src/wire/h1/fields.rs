//! The header lines of a head, one pass from the first to the empty line.

use super::connection::Options;
use super::error::{HeadError, HeadErrorKind};
use super::framing::Framing;
use super::known::Known;
use super::response::Signals;
use super::scan::{self, TOKEN};
use super::span::Span;

/// Bounds of a head, in bytes and lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All header lines together, with the empty line that ends them.
    pub head_bytes: usize,
    /// The request line or status line, without its CRLF.
    pub line_bytes: usize,
    pub headers: usize,
}

/// How far a head was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parse {
    /// More bytes are needed.
    Partial,
    /// The head is whole; it is so many bytes long.
    Complete(usize),
}

/// One header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The whole line as it came, with its CRLF.
    pub line: Span,
    pub name: Span,
    /// Without white space around it.
    pub value: Span,
    pub known: Known,
    /// Whether `Connection` names it, so that it is for this hop only.
    pub named_by_connection: bool,
}

/// What the lines say together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub framing: Framing,
    pub options: Options,
    pub host: Option<Span>,
    pub second_host: bool,
    pub upgrade: Option<Span>,
    pub expect_continue: bool,
    pub via_entries: u32,
    pub l5d_err: Option<Span>,
    pub signals: Signals,
}

/// How far a head was read when its bytes ran out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    /// Where the first line that was not read begins.
    pub at: usize,
    /// Where the header lines begin, once the first line was read.
    pub fields: Option<usize>,
}

impl Scan {
    /// Goes on in `buf`, or begins anew: fewer bytes than were read before belong to another head.
    #[inline]
    pub(super) fn resume(&mut self, buf: &[u8]) {
        if self.at > buf.len() {
            *self = Self::default();
        }
    }

    /// Tells how far a head was read, which is whole if `advanced` says so; after that, or an error, the next head begins.
    #[inline]
    pub(super) fn conclude(&mut self, advanced: Result<bool, HeadErrorKind>) -> Result<Parse, HeadError> {
        match advanced {
            Ok(false) => Ok(Parse::Partial),
            Ok(true) => Ok(Parse::Complete(std::mem::take(self).at)),
            Err(kind) => {
                *self = Self::default();
                Err(kind.into())
            }
        }
    }
}

/// Reads header lines from `scan.at` on; true when the empty line was read, false when bytes are missing.
pub(super) fn read(
    buf: &[u8],
    limits: &Limits,
    scan: &mut Scan,
    headers: &mut Vec<Header>,
    facts: &mut Facts,
) -> Result<bool, HeadErrorKind> {
    let bound = scan.fields.unwrap_or(scan.at).saturating_add(limits.head_bytes);
    let whole = buf.len() < bound;
    let window = &buf[..buf.len().min(bound)];
    loop {
        match read_line(window, scan.at, headers)? {
            Line::Header(end) => {
                if headers.len() > limits.headers {
                    return Err(HeadErrorKind::TooManyHeaders);
                }
                scan.at = end;
                if let Some(header) = headers.last()
                    && header.known != Known::Other
                {
                    facts.note(header, window)?;
                }
            }
            Line::End => {
                scan.at += 2;
                facts.options.mark(headers, window);
                return Ok(true);
            }
            Line::Partial if whole => return Ok(false),
            Line::Partial => return Err(HeadErrorKind::HeadTooLarge),
        }
    }
}

enum Line {
    /// It was appended; where the next line begins.
    Header(usize),
    /// The empty line.
    End,
    Partial,
}

/// Reads the line at `start`: `name: value CRLF` as nearly all are written, at once; any other with the care that it needs.
fn read_line(buf: &[u8], start: usize, headers: &mut Vec<Header>) -> Result<Line, HeadErrorKind> {
    let line = &buf[start..];
    if line.starts_with(b"\r\n") {
        return Ok(Line::End);
    }
    match read_plain_line(line) {
        Some(plain) => {
            headers.push(plain.at(start));
            Ok(Line::Header(start + plain.end))
        }
        None => read_any_line(line, start, headers),
    }
}

/// The parts of a line, from its start.
struct Parts {
    known: Known,
    name_end: usize,
    value_start: usize,
    value_end: usize,
    end: usize,
}

impl Parts {
    fn at(&self, start: usize) -> Header {
        Header {
            line: Span::new(start, start + self.end),
            name: Span::new(start, start + self.name_end),
            value: Span::new(start + self.value_start, start + self.value_end),
            known: self.known,
            named_by_connection: false,
        }
    }
}

/// Reads a line that has at most one space before its value, none after it and no tab; none if it is not such a line.
#[inline]
fn read_plain_line(line: &[u8]) -> Option<Parts> {
    if line.first() == Some(&b'\r') {
        return None;
    }
    let (name, rest) = scan::split_at_colon(line)?;
    let known = Known::of(name);
    // A name that we know whole is a token.
    if matches!(known, Known::Other | Known::L5dOther) && !scan::is_token(name) {
        return None;
    }
    let value_start = name.len() + 1 + usize::from(rest.first() == Some(&b' '));
    let value_end = value_start + scan::control(line.get(value_start..)?);
    let [first, ..] = line.get(value_start..value_end)? else {
        return None;
    };
    let last = line.get(value_end.wrapping_sub(1))?;
    let bare = *first != b' ' && *last != b' ';
    (bare && line.get(value_end..value_end + 2)? == b"\r\n").then_some(Parts {
        known,
        name_end: name.len(),
        value_start,
        value_end,
        end: value_end + 2,
    })
}

/// Reads a line in any form.
#[cold]
fn read_any_line(line: &[u8], start: usize, headers: &mut Vec<Header>) -> Result<Line, HeadErrorKind> {
    let name_end = scan::run(line, &TOKEN);
    match line.get(name_end) {
        None => return Ok(Line::Partial),
        Some(b':') if name_end > 0 => {}
        Some(_) => return read_odd_line(line, name_end),
    }
    let mut at = name_end + 1;
    while let Some(b' ' | b'\t') = line.get(at) {
        at += 1;
    }
    let value_start = at;
    loop {
        at += scan::control(&line[at..]);
        match line.get(at) {
            None => return Ok(Line::Partial),
            Some(b'\t') => at += 1,
            Some(b'\r') => break,
            Some(b'\n') => return Err(HeadErrorKind::BareLf),
            Some(_) => return Err(HeadErrorKind::InvalidValue),
        }
    }
    match line.get(at + 1) {
        None => return Ok(Line::Partial),
        Some(b'\n') => {}
        Some(_) => return Err(HeadErrorKind::BareCr),
    }
    let mut value_end = at;
    while value_end > value_start && matches!(line[value_end - 1], b' ' | b'\t') {
        value_end -= 1;
    }
    let parts = Parts {
        known: Known::of(&line[..name_end]),
        name_end,
        value_start,
        value_end,
        end: at + 2,
    };
    headers.push(parts.at(start));
    Ok(Line::Header(start + parts.end))
}

/// The line that ends the head, or one that is wrong at `name_length`.
fn read_odd_line(line: &[u8], name_length: usize) -> Result<Line, HeadErrorKind> {
    Err(match (name_length, line[name_length]) {
        (0, b'\r') => match line.get(1) {
            None => return Ok(Line::Partial),
            Some(b'\n') => return Ok(Line::End),
            Some(_) => HeadErrorKind::BareCr,
        },
        (_, b'\n') => HeadErrorKind::BareLf,
        (0, b' ' | b'\t') => HeadErrorKind::FoldedLine,
        (_, b' ' | b'\t') => HeadErrorKind::SpaceBeforeColon,
        _ => HeadErrorKind::InvalidName,
    })
}

impl Facts {
    fn note(&mut self, header: &Header, buf: &[u8]) -> Result<(), HeadErrorKind> {
        let value = header.value.get(buf);
        match header.known {
            Known::ContentLength => self.framing.content_length(value)?,
            Known::TransferEncoding => self.framing.transfer_encoding(value)?,
            Known::Connection => self.options.note(value)?,
            Known::Host => {
                self.second_host |= self.host.is_some();
                self.host.get_or_insert(header.value);
            }
            Known::Upgrade => {
                self.upgrade.get_or_insert(header.value);
            }
            Known::Expect => self.expect_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            Known::Via => self.via_entries += scan::elements(value).count() as u32,
            Known::L5dErr => self.l5d_err = Some(header.value),
            Known::L5dRetryable => self.signals.retryable |= value.eq_ignore_ascii_case(b"true"),
            Known::FinagleNack => self.signals.nack = true,
            Known::RetryAfter => self.signals.nack |= value == b"0",
            Known::FinagleNonretryableNack => self.signals.nonretryable_nack = true,
            _ => {}
        }
        Ok(())
    }
}
