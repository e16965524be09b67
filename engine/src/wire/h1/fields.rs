//! The header lines of a head, one pass from the first to the empty line.

use super::connection::Options;
use super::error::HeadErrorKind;
use super::framing::Framing;
use super::known::Known;
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
}

/// How far a head was read when its bytes ran out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    /// Where the first line that was not read begins.
    pub at: usize,
    /// Where the header lines begin, once the first line was read.
    pub fields: Option<usize>,
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

/// Reads the line at `start`. A header is built in its place: handing it around costs as much as finding it.
fn read_line(buf: &[u8], start: usize, headers: &mut Vec<Header>) -> Result<Line, HeadErrorKind> {
    let line = &buf[start..];
    // A name is seldom read byte by byte: it ends before the first colon, and one that we know is a token by that alone.
    let colon = match line {
        [b'\r', ..] => 0,
        _ => scan::colon(line),
    };
    let name = &line[..colon];
    let known = Known::of(name);
    if colon == line.len() || (known == Known::Other && !scan::is_token(name)) {
        return read_odd_line(line);
    }
    let mut at = colon + 1;
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
    headers.push(Header {
        line: Span::new(start, start + at + 2),
        name: Span::new(start, start + colon),
        value: Span::new(start + value_start, start + value_end),
        known,
        named_by_connection: false,
    });
    Ok(Line::Header(start + at + 2))
}

/// The line that ends the head, one whose name is wrong, or one whose name has not come as far as its colon.
#[cold]
fn read_odd_line(line: &[u8]) -> Result<Line, HeadErrorKind> {
    let name_length = scan::run(line, &TOKEN);
    let Some(&byte) = line.get(name_length) else {
        return Ok(Line::Partial);
    };
    Err(match (name_length, byte) {
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
            _ => {}
        }
        Ok(())
    }
}
