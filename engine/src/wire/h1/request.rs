//! The head of a request.

use super::error::{HeadError, HeadErrorKind};
use super::fields::{self, Facts, Header, Limits, Parse, Scan};
use super::framing::Body;
use super::scan::{self, TOKEN};
use super::span::Span;
use super::target::{self, AbsoluteForm};

/// Empty lines that are skipped before a request (RFC 9112 §2.2).
const MAX_EMPTY_LINES: usize = 4;

/// The versions that we speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    Http10,
    #[default]
    Http11,
}

impl Version {
    /// Reads the eight bytes of a version.
    pub(super) fn read(bytes: [u8; 8]) -> Result<Self, HeadErrorKind> {
        match &bytes {
            b"HTTP/1.1" => Ok(Self::Http11),
            b"HTTP/1.0" => Ok(Self::Http10),
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(HeadErrorKind::UnsupportedVersion),
            _ => Err(HeadErrorKind::InvalidVersion),
        }
    }
}

/// The methods that we treat specially, and those of RFC 9110 whose properties we know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
    Other,
}

impl Method {
    fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// Whether the method only reads (RFC 9110 §9.2.1).
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }

    /// Whether sending it twice does what sending it once does (RFC 9110 §9.2.2).
    pub fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }
}

/// A request's head. Reused for the next request; `parse` begins anew after it was complete or refused.
#[derive(Debug, Default)]
pub struct RequestHead {
    pub method: Method,
    pub method_span: Span,
    pub target: Span,
    pub version: Version,
    /// In the order in which they came.
    pub headers: Vec<Header>,
    pub body: Body,
    /// Whether the caller wants to send more requests on this connection.
    pub keep_alive: bool,
    /// The value of the `Host` header, which may be empty.
    pub host: Option<Span>,
    /// An HTTP/1.1 request without a `Host` header, which RFC 9112 §3.2 has us refuse.
    pub host_missing: bool,
    pub expect_continue: bool,
    /// The protocols in `Upgrade`, if `Connection` lists it and the version is 1.1.
    pub upgrade: Option<Span>,
    /// The entries of all `Via` headers.
    pub via_entries: u32,
    /// The parts of a target in absolute form.
    pub absolute: Option<AbsoluteForm>,
    facts: Facts,
    scan: Scan,
}

impl RequestHead {
    /// Reads a head from the start of `buf`. After `Partial`, call again with the same bytes and more: lines that were read are not
    /// read again. All spans are positions in the last `buf`.
    pub fn parse(&mut self, buf: &[u8], limits: &Limits) -> Result<Parse, HeadError> {
        self.scan.resume(buf);
        let advanced = self.advance(buf, limits);
        self.scan.conclude(advanced)
    }

    /// Forgets a head that was read in part, because its connection is gone.
    pub fn clear(&mut self) {
        self.scan = Scan::default();
    }

    /// The host that the request is for: the target's if it names one, else that of the `Host` header.
    pub fn authority(&self) -> Option<Span> {
        self.absolute.map(|absolute| absolute.authority).or(self.host)
    }

    /// The value of a header that the request has in one line and no more. That of `Host` is what goes on: the target's host, if it
    /// names one.
    pub fn sole_value<'a>(&self, name: &str, buf: &'a [u8]) -> Option<&'a [u8]> {
        if name.eq_ignore_ascii_case("host") {
            return self.authority().map(|host| host.get(buf));
        }
        let named = |header: &&Header| header.name.get(buf).eq_ignore_ascii_case(name.as_bytes());
        let mut headers = self.headers.iter().filter(named);
        let header = headers.next()?;
        headers.next().is_none().then(|| header.value.get(buf))
    }

    fn advance(&mut self, buf: &[u8], limits: &Limits) -> Result<bool, HeadErrorKind> {
        if self.scan.fields.is_none() && !self.read_request_line(buf, limits)? {
            return Ok(false);
        }
        if !fields::read(buf, limits, &mut self.scan, &mut self.headers, &mut self.facts)? {
            return Ok(false);
        }
        self.conclude(buf)?;
        Ok(true)
    }

    fn read_request_line(&mut self, buf: &[u8], limits: &Limits) -> Result<bool, HeadErrorKind> {
        let mut start = 0;
        while let Some(byte @ (b'\r' | b'\n')) = buf.get(start) {
            match (byte, buf.get(start + 1)) {
                (b'\n', _) => return Err(HeadErrorKind::BareLf),
                (_, None) => return Ok(false),
                (_, Some(b'\n')) => start += 2,
                (_, Some(_)) => return Err(HeadErrorKind::BareCr),
            }
            if start > 2 * MAX_EMPTY_LINES {
                return Err(HeadErrorKind::TooManyEmptyLines);
            }
        }
        let bound = start.saturating_add(limits.line_bytes).saturating_add(2);
        let whole = buf.len() < bound;
        let window = &buf[..buf.len().min(bound)];
        match self.read_line(window, start)? {
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

    /// Reads `method SP target SP version CRLF`; gives where the next line begins, or `None` if the bytes run out.
    fn read_line(&mut self, buf: &[u8], start: usize) -> Result<Option<usize>, HeadErrorKind> {
        let method_end = start + scan::run(&buf[start..], &TOKEN);
        match buf.get(method_end) {
            None => return Ok(None),
            Some(b' ') if method_end > start => {}
            Some(_) => return Err(HeadErrorKind::InvalidMethod),
        }
        let target_start = method_end + 1;
        let Some(target_length) = target::length(&buf[target_start..])? else {
            return Ok(None);
        };
        let target_end = target_start + target_length;
        let Some(rest) = buf[target_end + 1..].first_chunk::<8>() else {
            return Ok(None);
        };
        let version_end = target_end + 9;
        let version = Version::read(*rest)?;
        match buf.get(version_end) {
            None => return Ok(None),
            Some(b'\r') => {}
            Some(b'\n') => return Err(HeadErrorKind::BareLf),
            Some(_) => return Err(HeadErrorKind::InvalidVersion),
        }
        match buf.get(version_end + 1) {
            None => return Ok(None),
            Some(b'\n') => {}
            Some(_) => return Err(HeadErrorKind::BareCr),
        }
        self.version = version;
        self.method_span = Span::new(start, method_end);
        self.method = Method::of(&buf[start..method_end]);
        self.target = Span::new(target_start, target_end);
        self.absolute = target::check(self.method, self.target, buf)?;
        Ok(Some(version_end + 2))
    }

    /// Checks what only the whole head can tell, and draws the conclusions.
    fn conclude(&mut self, buf: &[u8]) -> Result<(), HeadErrorKind> {
        let facts = &self.facts;
        if facts.second_host {
            return Err(HeadErrorKind::DuplicateHost);
        }
        if let Some(host) = facts.host
            && !target::is_authority(host.get(buf))
        {
            return Err(HeadErrorKind::InvalidHost);
        }
        self.body = facts.framing.body(self.version)?.unwrap_or(Body::None);
        self.keep_alive = facts.options.persistent(self.version);
        self.host = facts.host;
        let current = self.version == Version::Http11;
        self.host_missing = current && facts.host.is_none();
        self.expect_continue = current && facts.expect_continue;
        self.upgrade = facts.upgrade.filter(|_| current && facts.options.upgrade);
        self.via_entries = facts.via_entries;
        Ok(())
    }
}
