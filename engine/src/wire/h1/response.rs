//! The head of a response.

use super::error::{HeadError, HeadErrorKind};
use super::fields::{self, Facts, Header, Limits, Parse, Scan};
use super::framing::Body;
use super::request::{Method, Version};
use super::scan;
use super::span::Span;

/// What comes before the reason phrase.
const PREFIX: usize = "HTTP/1.1 200".len();

/// What an endpoint says of sending the request once more (reference/linker.md §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// `l5d-retryable: true`.
    pub retryable: bool,
    /// `finagle-http-nack` or `Retry-After: 0`: with 503, that it has not acted on it.
    pub nack: bool,
    /// `finagle-http-nonretryable-nack`: with 503, that it has not, and will not.
    pub nonretryable_nack: bool,
}

/// A response's head. Reused for the next response; `parse` begins anew after it was complete or refused.
#[derive(Debug, Default)]
pub struct ResponseHead {
    pub version: Version,
    pub status: u16,
    /// The whole first line with its CRLF, if it is written as we would write it; else empty.
    pub line: Span,
    /// The reason phrase, which may be empty.
    pub reason: Span,
    /// In the order in which they came.
    pub headers: Vec<Header>,
    pub body: Body,
    /// What `Content-Length` says, which in answer to HEAD and in 304 is not the length of this message's body.
    pub content_length: Option<u64>,
    /// Whether one `Content-Length` line, in its shortest form, says so.
    pub plain_length: bool,
    /// Whether the next response can follow on this connection.
    pub keep_alive: bool,
    /// The protocols in `Upgrade`, if `Connection` lists it and the version is 1.1.
    pub upgrade: Option<Span>,
    /// The value of `l5d-err`: a router made this response.
    pub l5d_err: Option<Span>,
    /// What its endpoint says of another attempt.
    pub signals: Signals,
    facts: Facts,
    scan: Scan,
}

impl ResponseHead {
    /// Reads a head from the start of `buf`, the answer to a request with `request_method`. After `Partial`, call again with
    /// the same bytes and more. All spans are positions in the last `buf`.
    pub fn parse(&mut self, buf: &[u8], limits: &Limits, request_method: Method) -> Result<Parse, HeadError> {
        self.scan.resume(buf);
        let advanced = self.advance(buf, limits, request_method);
        self.scan.conclude(advanced)
    }

    /// Forgets a head that was read in part, because its connection is gone.
    pub fn clear(&mut self) {
        self.scan = Scan::default();
    }

    fn advance(&mut self, buf: &[u8], limits: &Limits, request_method: Method) -> Result<bool, HeadErrorKind> {
        if self.scan.fields.is_none() && !self.read_status_line(buf, limits)? {
            return Ok(false);
        }
        if !fields::read(buf, limits, &mut self.scan, &mut self.headers, &mut self.facts)? {
            return Ok(false);
        }
        self.conclude(request_method)?;
        Ok(true)
    }

    fn read_status_line(&mut self, buf: &[u8], limits: &Limits) -> Result<bool, HeadErrorKind> {
        let bound = limits.line_bytes.saturating_add(2);
        let whole = buf.len() < bound;
        let window = &buf[..buf.len().min(bound)];
        match self.read_line(window)? {
            Some(next) => {
                self.headers.clear();
                self.facts = Facts::default();
                self.scan = Scan {
                    at: next,
                    fields: Some(next),
                };
                Ok(true)
            }
            None if whole => Ok(false),
            None => Err(HeadErrorKind::LineTooLong),
        }
    }

    /// Reads `version SP status [SP reason] CRLF`; gives where the next line begins, or `None` if the bytes run out.
    fn read_line(&mut self, buf: &[u8]) -> Result<Option<usize>, HeadErrorKind> {
        let Some((version, rest)) = buf.split_first_chunk::<8>() else {
            return Ok(None);
        };
        self.version = Version::read(*version)?;
        let Some(([space, digits @ ..], rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] = digits else {
            return Err(HeadErrorKind::InvalidStatus);
        };
        if *space != b' ' {
            return Err(HeadErrorKind::InvalidVersion);
        }
        self.status = digits
            .iter()
            .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        let mut at = match rest.first() {
            None => return Ok(None),
            Some(b' ') => 1,
            // Many leave out the space along with the reason.
            Some(b'\r') => 0,
            Some(b'\n') => return Err(HeadErrorKind::BareLf),
            Some(_) => return Err(HeadErrorKind::InvalidStatus),
        };
        let reason_start = at;
        loop {
            at += scan::control(&rest[at..]);
            match rest.get(at) {
                None => return Ok(None),
                Some(b'\t') => at += 1,
                Some(b'\r') => break,
                Some(b'\n') => return Err(HeadErrorKind::BareLf),
                Some(_) => return Err(HeadErrorKind::InvalidReason),
            }
        }
        match rest.get(at + 1) {
            None => return Ok(None),
            Some(b'\n') => {}
            Some(_) => return Err(HeadErrorKind::BareCr),
        }
        self.reason = Span::new(PREFIX + reason_start, PREFIX + at);
        let end = PREFIX + at + 2;
        let ours = self.version == Version::Http11 && reason_start == 1;
        self.line = if ours { Span::new(0, end) } else { Span::default() };
        Ok(Some(end))
    }

    /// Finds the body's framing (RFC 9112 §6.3) and what becomes of the connection.
    fn conclude(&mut self, request_method: Method) -> Result<(), HeadErrorKind> {
        let facts = &self.facts;
        let framed = facts.framing.body(self.version)?;
        self.content_length = facts.framing.content_length;
        self.plain_length = facts.framing.plain_length;
        self.keep_alive = facts.options.persistent(self.version);
        self.l5d_err = facts.l5d_err;
        self.signals = facts.signals;
        self.upgrade = facts
            .upgrade
            .filter(|_| self.version == Version::Http11 && facts.options.upgrade);
        let tunnel = self.status == 101 || (request_method == Method::Connect && (200..300).contains(&self.status));
        self.body = match self.status {
            100..200 | 204 if matches!(framed, None | Some(Body::Exact(0))) => Body::None,
            // It has no body, but a sender that announces one may send it, too. Then it would be read as a response: behind an
            // interim one as that to this request, behind a 204 as that to the next.
            100..200 => return Err(HeadErrorKind::InterimBody),
            204 => {
                self.keep_alive = false;
                Body::None
            }
            304 => Body::None,
            _ if request_method == Method::Head || tunnel => Body::None,
            _ => framed.unwrap_or(Body::UntilClose),
        };
        if tunnel || self.body == Body::UntilClose {
            self.keep_alive = false;
        }
        Ok(())
    }
}
