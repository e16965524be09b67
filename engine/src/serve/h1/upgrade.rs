//! Which other protocols a connection may change to.

use crate::wire::h1::RequestHead;

/// The protocols that the endpoint is asked to change to. Not HTTP/2: its requests would pass by us, unrouted.
pub(super) fn wanted<'a>(request: &RequestHead, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let protocols = request.upgrade?.get(bytes);
    let is_http2 = |protocol: &[u8]| {
        let protocol = protocol.trim_ascii();
        protocol.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"h2"))
            || protocol
                .get(..5)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"http/"))
    };
    (!protocols.split(|&byte| byte == b',').any(is_http2)).then_some(protocols)
}
