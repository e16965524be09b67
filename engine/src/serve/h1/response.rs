//! The head of a response as the caller gets it.

use super::request::push_passing;
use crate::classify::Class;
use crate::wire::h1::{Body, Header, Known, Method, RequestHead, ResponseHead, Version};
use crate::wire::text::push_decimal;

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

/// Writes the head of a final response. An edge tells no `class`, nor any other `l5d-` header.
pub(super) fn push_head(
    out: &mut Vec<u8>,
    response: &ResponseHead,
    bytes: &[u8],
    request: &RequestHead,
    framing: Framing,
    keep_alive: bool,
    class: Option<Class>,
) {
    push_first_line(out, response, bytes);
    let keep_length = framing == Framing::None && (request.method == Method::Head || response.status == 304);
    let clear_context = class.is_none();
    let sent = response.content_length.map(Framing::Exact);
    let length_passes = response.plain_length && (keep_length || sent == Some(framing));
    push_passing(out, &response.headers, bytes, |header| {
        passes(header, length_passes, clear_context)
    });
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
