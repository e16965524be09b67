//! `io.l5d.header` and `io.l5d.header.token`: a header names the service.

use serde::Deserialize;

use super::{Consumed, Unidentified, shown, text};
use crate::wire::h1::RequestHead;

/// The name of the header that is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct HeaderName {
    name: String,
    /// `Host` is looked up often, and a target in absolute form replaces it.
    is_host: bool,
}

impl From<String> for HeaderName {
    fn from(name: String) -> Self {
        Self {
            is_host: name.eq_ignore_ascii_case("host"),
            name,
        }
    }
}

impl HeaderName {
    pub(super) fn l5d_name() -> Self {
        "l5d-name".to_owned().into()
    }

    pub(super) fn host() -> Self {
        "Host".to_owned().into()
    }

    /// The first value of the header, unless it is empty.
    fn value<'a>(&self, head: &RequestHead, buf: &'a [u8]) -> Result<&'a [u8], Unidentified> {
        let span = if self.is_host {
            head.authority()
        } else {
            let wanted = self.name.as_bytes();
            let mut headers = head.headers.iter();
            headers
                .find(|header| header.name.get(buf).eq_ignore_ascii_case(wanted))
                .map(|header| header.value)
        };
        match span.map(|span| span.get(buf)) {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(Unidentified::Reason(format!("{} header is absent", self.name).into())),
        }
    }
}

/// The value is one element.
pub(super) fn identify_token(
    header: &HeaderName,
    head: &RequestHead,
    buf: &[u8],
    out: &mut Vec<u8>,
) -> Result<Option<Consumed>, Unidentified> {
    shown::push_element(header.value(head, buf)?, out);
    Ok(None)
}

/// The value is a path.
pub(super) fn identify_path(
    header: &HeaderName,
    head: &RequestHead,
    buf: &[u8],
    out: &mut Vec<u8>,
) -> Result<Option<Consumed>, Unidentified> {
    match text::read(header.value(head, buf)?, out) {
        Ok(()) => Ok(None),
        Err(error) => Err(Unidentified::Invalid(error.to_string().into())),
    }
}
