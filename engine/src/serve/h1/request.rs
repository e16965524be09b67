//! The head of a request as the endpoint gets it.

use super::response::push_content_length;
use crate::identify::Consumed;
use crate::plan::TracePropagator;
use crate::route::Hop;
use crate::wire::h1::{Body, Header, Known, RequestHead, Version};
use crate::wire::text::push_decimal;

/// Whether a header field is for the next hop as it came; the others are dropped or written anew.
fn passes(header: &Header, head: &RequestHead, parts: &HeadParts<'_>) -> bool {
    match header.known {
        known if known.is_hop_by_hop() => false,
        // What we write ourselves.
        Known::ContentLength
        | Known::Host
        | Known::Via
        | Known::L5dCtxTrace
        | Known::L5dCtxDtab
        | Known::L5dCtxDeadline
        | Known::L5dDtab
        | Known::L5dSample
        | Known::L5dReqid
        | Known::L5dDstService
        | Known::L5dDstClient
        | Known::L5dDstResidual => false,
        Known::ForwardedClientCert => parts.client_cert_passes && !header.named_by_connection,
        // We answer `100-continue` ourselves; what else may be expected is for the endpoint to decide.
        Known::Expect => !head.expect_continue,
        Known::Other => !header.named_by_connection,
        known if known.is_b3() => !(header.named_by_connection || parts.trace_propagator == TracePropagator::Zipkin),
        known => !(header.named_by_connection || parts.clear_context && known.is_l5d()),
    }
}

/// What the head is made from, besides the request itself.
pub(super) struct HeadParts<'a> {
    pub head: &'a RequestHead,
    /// The bytes that `head` points into.
    pub bytes: &'a [u8],
    /// What an identifier left of the target (`consume`).
    pub consumed: Option<Consumed>,
    pub clear_context: bool,
    /// Whose headers we write ourselves.
    pub trace_propagator: TracePropagator,
    /// What the caller says of its own caller's certificate goes on.
    pub client_cert_passes: bool,
    /// The name of the header that gets the time of receipt.
    pub timestamp_header: Option<&'a str>,
    /// The `Host` that the endpoint wants to be asked for, if it is not the caller's.
    pub authority: Option<&'a str>,
    /// Where the request goes, for the `Host` of an HTTP/1.0 request that had none.
    pub endpoint: &'a str,
    /// The protocol that the caller asks to change to.
    pub upgrade: Option<&'a [u8]>,
}

/// Writes the request line and the fields that pass, in the order in which they came.
pub(super) fn push_head(out: &mut Vec<u8>, parts: &HeadParts<'_>) {
    let HeadParts { head, bytes, .. } = parts;
    out.extend_from_slice(head.method_span.get(bytes));
    out.push(b' ');
    match (parts.consumed, &head.absolute) {
        (Some(consumed), _) => consumed.push_target(bytes, out),
        (None, Some(absolute)) => absolute.push_target(head.method, bytes, out),
        (None, None) => out.extend_from_slice(head.target.get(bytes)),
    }
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    out.extend_from_slice(match (parts.authority, head.authority()) {
        (Some(authority), _) => authority.as_bytes(),
        (None, Some(host)) => host.get(bytes),
        (None, None) => parts.endpoint.as_bytes(),
    });
    out.extend_from_slice(b"\r\n");
    push_passing(out, &head.headers, bytes, |header| passes(header, head, parts));
    push_via(out, head, bytes);
    if let Some(name) = parts.timestamp_header {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        push_decimal(out, now.map_or(0, |since| since.as_millis() as u64));
        out.extend_from_slice(b"\r\n");
    }
    if let Some(protocol) = parts.upgrade {
        out.extend_from_slice(b"Connection: upgrade\r\nUpgrade: ");
        out.extend_from_slice(protocol);
        out.extend_from_slice(b"\r\n");
    }
    match head.body {
        Body::Exact(length) => push_content_length(out, length),
        Body::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        _ => {}
    }
}

/// Writes what depends on where this attempt goes, and ends the head.
pub(super) fn push_hop(out: &mut Vec<u8>, hop: &Hop<'_>, path: &[u8]) {
    out.extend_from_slice(b"l5d-dst-service: ");
    out.extend_from_slice(path);
    out.extend_from_slice(&hop.client.line);
    let residual = hop.leaf.residual.text(path);
    if !residual.is_empty() {
        out.extend_from_slice(b"l5d-dst-residual: ");
        out.extend_from_slice(residual);
        out.extend_from_slice(b"\r\n");
    }
    if !hop.answered.context.is_empty() {
        out.extend_from_slice(b"l5d-ctx-dtab: ");
        out.extend_from_slice(hop.answered.context.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Copies the lines of the fields that pass; neighbours go in one piece.
pub(super) fn push_passing(out: &mut Vec<u8>, headers: &[Header], bytes: &[u8], passes: impl Fn(&Header) -> bool) {
    let mut run: Option<(u32, u32)> = None;
    for header in headers {
        let (start, end) = (header.line.start, header.line.end);
        match (&mut run, passes(header)) {
            (Some((_, until)), true) if *until == start => *until = end,
            (_, true) => {
                if let Some((from, until)) = run.replace((start, end)) {
                    out.extend_from_slice(&bytes[from as usize..until as usize]);
                }
            }
            (_, false) => {}
        }
    }
    if let Some((from, until)) = run {
        out.extend_from_slice(&bytes[from as usize..until as usize]);
    }
}

/// Writes one `Via` of all that came and our own entry.
fn push_via(out: &mut Vec<u8>, head: &RequestHead, bytes: &[u8]) {
    out.extend_from_slice(b"Via: ");
    if head.via_entries > 0 {
        for header in head.headers.iter().filter(|header| header.known == Known::Via) {
            out.extend_from_slice(header.value.get(bytes));
            out.extend_from_slice(b", ");
        }
    }
    out.extend_from_slice(match head.version {
        Version::Http10 => b"1.0 linkerd\r\n",
        Version::Http11 => b"1.1 linkerd\r\n",
    });
}
