//! The head of a response as the caller gets it.

use super::request::push_passing;
use crate::classify::Class;
use crate::wire::h1::{Body, Header, Known, Method, RequestHead, ResponseHead, Version};
use crate::wire::text::push_decimal;

/// Beyond so many bytes of a header's value nothing is renamed any more.
const MAX_RENAMED: usize = 16 * 1024;

/// How the body of a response reaches the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Exact(u64),
    /// The endpoint's chunks, written anew.
    Chunked,
    /// All that comes until the endpoint closes, as chunks of ours.
    IntoChunks,
    /// The data alone; the end of the connection ends the body, since an HTTP/1.0 caller knows no chunks.
    UntilClose,
}

impl Framing {
    /// Chooses how the caller gets a body that the endpoint frames as `body`.
    pub(super) fn of(body: Body, caller: Version) -> Self {
        match (body, caller) {
            (Body::None, _) => Self::None,
            (Body::Exact(length), _) => Self::Exact(length),
            (Body::Chunked, Version::Http11) => Self::Chunked,
            (Body::UntilClose, Version::Http11) => Self::IntoChunks,
            (Body::Chunked | Body::UntilClose, Version::Http10) => Self::UntilClose,
        }
    }
}

fn passes(header: &Header, length_passes: bool, clear_context: bool) -> bool {
    match header.known {
        Known::ContentLength => length_passes,
        Known::L5dSuccessClass => false,
        known if known.is_hop_by_hop() => false,
        Known::Other => !header.named_by_connection,
        known => !(header.named_by_connection || clear_context && known.is_l5d()),
    }
}

/// What the head of a final response is made from.
pub(super) struct HeadParts<'a> {
    pub response: &'a ResponseHead,
    /// The bytes that `response` points into.
    pub bytes: &'a [u8],
    pub request: &'a RequestHead,
    pub framing: Framing,
    pub keep_alive: bool,
    /// An edge tells none, nor any other `l5d-` header.
    pub class: Option<Class>,
    /// The host that the endpoint was asked for, and the one that the caller asked for.
    pub renamed: Option<(&'a str, &'a [u8])>,
}

/// Writes the head of a final response.
pub(super) fn push_head(out: &mut Vec<u8>, parts: &HeadParts<'_>) {
    let HeadParts {
        response,
        bytes,
        request,
        framing,
        keep_alive,
        class,
        renamed,
    } = *parts;
    push_first_line(out, response, bytes);
    let keep_length = framing == Framing::None && (request.method == Method::Head || response.status == 304);
    let clear_context = class.is_none();
    let sent = response.content_length.map(Framing::Exact);
    let length_passes = response.plain_length && (keep_length || sent == Some(framing));
    push_passing(out, &response.headers, bytes, |header| {
        passes(header, length_passes, clear_context) && !(renamed.is_some() && leads_elsewhere(header, bytes))
    });
    if let Some((authority, host)) = renamed {
        let leading = |header: &&Header| leads_elsewhere(header, bytes) && passes(header, length_passes, clear_context);
        for header in response.headers.iter().filter(leading) {
            out.extend_from_slice(header.name.get(bytes));
            out.extend_from_slice(b": ");
            push_renamed(out, header.value.get(bytes), authority.as_bytes(), host);
            out.extend_from_slice(b"\r\n");
        }
    }
    if let Some(class) = class {
        out.extend_from_slice(if class.is_success() {
            b"l5d-success-class: 1.0\r\n"
        } else {
            b"l5d-success-class: 0.0\r\n"
        });
    }
    out.extend_from_slice(match response.version {
        Version::Http10 => b"Via: 1.0 linkerd\r\n",
        Version::Http11 => b"Via: 1.1 linkerd\r\n",
    });
    match framing {
        _ if length_passes => {}
        Framing::None => {
            // Where there is no body the length is information (HEAD, 304); several that agree become one.
            if keep_length {
                response
                    .content_length
                    .into_iter()
                    .for_each(|length| push_content_length(out, length));
            } else if !matches!(response.status, 100..200 | 204 | 304) {
                push_content_length(out, 0);
            }
        }
        Framing::Exact(length) => push_content_length(out, length),
        Framing::Chunked | Framing::IntoChunks => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::UntilClose => {}
    }
    if !keep_alive {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if request.version == Version::Http10 {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether a header tells the caller where to go next.
fn leads_elsewhere(header: &Header, bytes: &[u8]) -> bool {
    let name = header.name.get(bytes);
    name.eq_ignore_ascii_case(b"location") || name.eq_ignore_ascii_case(b"refresh")
}

/// Writes a value with the host that the caller asked for in the place of the endpoint's (reference/linker.md §5.1).
fn push_renamed(out: &mut Vec<u8>, value: &[u8], authority: &[u8], host: &[u8]) {
    let begin = out.len();
    let mut rest = value;
    // A caller that asked for none, or for a very long one, gets the endpoint's.
    while !host.is_empty() && out.len() - begin <= MAX_RENAMED {
        let Some(at) = rest.windows(authority.len()).position(|window| window == authority) else {
            break;
        };
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(host);
        rest = &rest[at + authority.len()..];
    }
    out.extend_from_slice(rest);
}

/// Writes the head of an interim response (1xx) or of one that changes the protocol.
pub(super) fn push_interim(
    out: &mut Vec<u8>,
    response: &ResponseHead,
    bytes: &[u8],
    upgrade: Option<&[u8]>,
    clear_context: bool,
) {
    push_first_line(out, response, bytes);
    push_passing(out, &response.headers, bytes, |header| {
        passes(header, false, clear_context)
    });
    if let Some(protocol) = upgrade {
        out.extend_from_slice(b"Connection: upgrade\r\nUpgrade: ");
        out.extend_from_slice(protocol);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

fn push_first_line(out: &mut Vec<u8>, response: &ResponseHead, bytes: &[u8]) {
    if response.line.is_empty() {
        push_status_line(out, response.status, response.reason.get(bytes));
    } else {
        out.extend_from_slice(response.line.get(bytes));
    }
}

/// Writes `HTTP/1.1 <status> <reason>`.
pub(super) fn push_status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// Writes a `Content-Length` line.
pub(super) fn push_content_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    push_decimal(out, length);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(value: &str, host: &str) -> String {
        let mut out = Vec::new();
        push_renamed(&mut out, value.as_bytes(), b"web.service.dc1.consul", host.as_bytes());
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn the_callers_host_takes_the_place_of_the_endpoints_wherever_it_stands() {
        let there = "http://web.service.dc1.consul/a?next=http%3A//web.service.dc1.consul/";
        assert_eq!(renamed(there, "web:80"), "http://web:80/a?next=http%3A//web:80/");
        assert_eq!(renamed("http://other/", "web"), "http://other/");
        assert_eq!(renamed("", "web"), "");
        assert_eq!(renamed("web.service.dc1.consul", ""), "web.service.dc1.consul");
    }

    #[test]
    fn what_an_endpoint_repeats_cannot_grow_without_bound() {
        let value = "web.service.dc1.consul".repeat(1000);
        assert!(renamed(&value, &"h".repeat(8000)).len() < MAX_RENAMED + 8000 + value.len());
    }
}
