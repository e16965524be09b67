//! `io.l5d.methodAndHost`: version, method, host and, if asked for, the path name the service.

use super::{Consumed, Unidentified, path_only, shown, text};
use crate::wire::h1::{RequestHead, Version};

pub(super) fn identify(
    http_uri_in_dst: bool,
    head: &RequestHead,
    buf: &[u8],
    out: &mut Vec<u8>,
) -> Result<Option<Consumed>, Unidentified> {
    out.extend_from_slice(match head.version {
        Version::Http10 => b"/1.0",
        Version::Http11 => b"/1.1",
    });
    shown::push_element(head.method_span.get(buf), out);
    if head.version == Version::Http11 {
        let host = head
            .authority()
            .map(|host| host.get(buf))
            .filter(|host| !host.is_empty());
        let host = host.ok_or(Unidentified::Reason("HTTP/1.1 request missing hostname".into()))?;
        shown::push_lower_case_element(host, out);
    }
    if http_uri_in_dst {
        let path = path_only(head, buf).get(buf);
        // The target `http://host` means its root.
        let path = if path.is_empty() { b"/" } else { path };
        text::read(path, out).map_err(|error| Unidentified::Invalid(error.to_string().into()))?;
    }
    Ok(None)
}
