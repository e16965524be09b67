//! The request target and the host it is for (RFC 9112 §3.2).

use super::error::HeadErrorKind;
use super::request::Method;
use super::scan::{self, HOST};
use super::span::Span;

/// A target that names its host, as a proxy is asked (`http://host/path`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsoluteForm {
    /// Host and port; replaces the `Host` header (RFC 9112 §3.2.2).
    pub authority: Span,
    /// Path and query, for the next hop; empty for `http://host`, and without its `/` for `http://host?query`.
    pub path: Span,
}

impl AbsoluteForm {
    /// Writes the target that the next hop gets (RFC 9112 §3.2.1 and §3.2.4).
    pub fn push_target(&self, method: Method, buf: &[u8], out: &mut Vec<u8>) {
        match (self.path.get(buf), method) {
            ([b'/', ..], _) => {}
            ([], Method::Options) => out.push(b'*'),
            _ => out.push(b'/'),
        }
        out.extend_from_slice(self.path.get(buf));
    }
}

/// Checks that the target has a form that goes with the method; `span` covers visible ASCII only.
pub(super) fn check(method: Method, span: Span, buf: &[u8]) -> Result<Option<AbsoluteForm>, HeadErrorKind> {
    let target = span.get(buf);
    if method == Method::Connect {
        let (host, port) = split_port(target);
        let valid = is_host(host) && !host.is_empty() && port.is_some_and(|port| !port.is_empty());
        return valid.then_some(None).ok_or(HeadErrorKind::InvalidTargetForm);
    }
    if target.first() == Some(&b'/') || (target == b"*" && method == Method::Options) {
        return Ok(None);
    }
    let scheme = [b"http://".as_slice(), b"https://"]
        .into_iter()
        .find(|scheme| {
            target
                .get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })
        .ok_or(HeadErrorKind::InvalidTargetForm)?;
    let start = span.start as usize + scheme.len();
    let rest = &target[scheme.len()..];
    let length = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    if length == 0 || !is_authority(&rest[..length]) {
        return Err(HeadErrorKind::InvalidTargetForm);
    }
    Ok(Some(AbsoluteForm {
        authority: Span::new(start, start + length),
        path: Span::new(start + length, span.end as usize),
    }))
}

/// Whether this is `uri-host [ ":" port ]` (RFC 9110 §7.2) without user information, or nothing at all.
pub fn is_authority(authority: &[u8]) -> bool {
    if authority.iter().all(|&byte| HOST[usize::from(byte)]) {
        return true;
    }
    let (host, port) = split_port(authority);
    is_host(host) && (port.is_none() || !host.is_empty())
}

/// Splits a port, which may be empty, from its host.
fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let digits = authority.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    match authority.split_at(authority.len() - digits) {
        ([host @ .., b':'], port) => (host, Some(port)),
        _ => (authority, None),
    }
}

fn is_host(host: &[u8]) -> bool {
    if let [b'[', address @ .., b']'] = host {
        // What the address means is for whoever connects to it.
        return !address.is_empty()
            && address
                .iter()
                .all(|&byte| byte == b':' || byte == b'%' || HOST[usize::from(byte)]);
    }
    escapes_are_whole(host) && host.iter().all(|&byte| byte == b'%' || HOST[usize::from(byte)])
}

/// Whether every `%` has its two hexadecimal digits.
pub(super) fn escapes_are_whole(text: &[u8]) -> bool {
    memchr::memchr_iter(b'%', text).all(|at| {
        matches!(text.get(at + 1..at + 3), Some([high, low]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
    })
}

/// The length of the target at the start of `line`, up to the byte that ends it; `None` if the bytes run out.
pub(super) fn length(line: &[u8]) -> Result<Option<usize>, HeadErrorKind> {
    let mut at = 0;
    loop {
        at += scan::run(&line[at..], &scan::TARGET);
        match line.get(at) {
            None => return Ok(None),
            Some(b' ') if at > 0 => return Ok(Some(at)),
            Some(b'%') => {
                for _ in 0..2 {
                    at += 1;
                    match line.get(at) {
                        None => return Ok(None),
                        Some(digit) if digit.is_ascii_hexdigit() => {}
                        Some(_) => return Err(HeadErrorKind::InvalidTarget),
                    }
                }
                at += 1;
            }
            Some(b'\n') => return Err(HeadErrorKind::BareLf),
            // `GET /` and no version: HTTP/0.9, or a space too few.
            Some(b'\r') => return Err(HeadErrorKind::InvalidVersion),
            Some(_) => return Err(HeadErrorKind::InvalidTarget),
        }
    }
}
