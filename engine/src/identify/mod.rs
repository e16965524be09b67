//! ① Identification: from a request to its service name.

mod connection;
mod header;
mod method_and_host;
mod path;
mod shown;
mod text;

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use serde::Deserialize;

use crate::wire::h1::{RequestHead, Span};
pub use connection::Meant;
pub use header::HeaderName;
pub use text::{PathError, StaticPath};

/// How a service name is found in a request (reference/linker.md §4.1); in the operator's words.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields)]
pub enum Identifier {
    #[serde(rename = "io.l5d.methodAndHost", rename_all = "camelCase")]
    MethodAndHost {
        #[serde(default)]
        http_uri_in_dst: bool,
    },
    #[serde(rename = "io.l5d.path")]
    Path {
        #[serde(default = "one")]
        segments: usize,
        #[serde(default)]
        consume: bool,
    },
    #[serde(rename = "io.l5d.header")]
    Header {
        #[serde(default = "HeaderName::l5d_name")]
        header: HeaderName,
    },
    #[serde(rename = "io.l5d.header.token")]
    HeaderToken {
        #[serde(default = "HeaderName::host")]
        header: HeaderName,
    },
    #[serde(rename = "io.l5d.static")]
    Static {
        #[serde(deserialize_with = "text::with_or_without_slash")]
        path: StaticPath,
    },
    /// Where the connection was on its way to before it was redirected here: `/<ip>/<port>`.
    #[serde(rename = "io.biandou.originalDst")]
    OriginalDst,
    /// The server that a TLS caller asks for, in lower case; of connections only.
    #[serde(rename = "io.biandou.sni")]
    Sni,
    /// One that Python runs: the place of its word among those of the router's Python identifiers (`plugin::identify`).
    #[serde(rename = "plugin")]
    Plugin { index: usize },
}

fn one() -> usize {
    1
}

/// What is left of the target once an identifier has used up its beginning (`consume`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// The end of the target, where it begins with `/` or `?`, or is empty.
    rest: Span,
}

impl Consumed {
    /// Appends the new target, which begins with `/`.
    pub fn push_target(&self, buf: &[u8], out: &mut Vec<u8>) {
        let rest = self.rest.get(buf);
        if rest.first() != Some(&b'/') {
            out.push(b'/');
        }
        out.extend_from_slice(rest);
    }
}

/// Why a request has no service name; the caller gets 400 and this text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unidentified {
    /// The identifier has nothing to say about this request; the next one is asked.
    Reason(Cow<'static, str>),
    /// What the identifier is to read is malformed; no other one is asked.
    Invalid(Cow<'static, str>),
}

impl fmt::Display for Unidentified {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Reason(text) | Self::Invalid(text)) = self;
        formatter.write_str(text)
    }
}

impl Identifier {
    /// Appends the name's path in shown form to `out` (`/web`, nothing for the empty path). `buf` is what `head` was read
    /// from, `original` where its connection was on its way to. On error `out` is as it was.
    pub fn identify(
        &self,
        head: &RequestHead,
        buf: &[u8],
        original: Option<SocketAddr>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Consumed>, Unidentified> {
        let length = out.len();
        let identified = match self {
            Self::MethodAndHost { http_uri_in_dst } => method_and_host::identify(*http_uri_in_dst, head, buf, out),
            Self::Path { segments, consume } => path::identify(*segments, *consume, head, buf, out),
            Self::Header { header } => header::identify_path(header, head, buf, out),
            Self::HeaderToken { header } => header::identify_token(header, head, buf, out),
            Self::OriginalDst => connection::identify_original(original, out).map(|()| None),
            Self::Sni => Err(Unidentified::Reason("a request has no server name of TLS".into())),
            Self::Plugin { .. } => Err(Unidentified::Reason("the plugin was not asked".into())),
            Self::Static { path } => {
                out.extend_from_slice(path.shown());
                Ok(None)
            }
        };
        if identified.is_err() {
            out.truncate(length);
        }
        identified
    }
}

/// Asks the identifiers in turn: the first that identifies wins; if none does, the last one's reason is told.
pub fn identify(
    identifiers: &[Identifier],
    head: &RequestHead,
    buf: &[u8],
    original: Option<SocketAddr>,
    out: &mut Vec<u8>,
) -> Result<Option<Consumed>, Unidentified> {
    let mut last = Unidentified::Reason("no identifier is configured".into());
    for identifier in identifiers {
        match identifier.identify(head, buf, original, out) {
            Err(reason @ Unidentified::Reason(_)) => last = reason,
            decided => return decided,
        }
    }
    Err(last)
}

/// The path and query of the target: a target in absolute form goes on as these (reference/linker.md §6.2).
fn path_and_query(head: &RequestHead) -> Span {
    head.absolute.map_or(head.target, |absolute| absolute.path)
}

/// Whether the path has a segment `.` or `..`, also percent-encoded: what one reader takes for a name, another may resolve
/// (RFC 3986 §5.2.4), so that they would not mean the same.
pub fn climbs(head: &RequestHead, buf: &[u8]) -> bool {
    let mut segments = path_only(head, buf)
        .get(buf)
        .split(|&byte| matches!(byte, b'/' | b'\\'));
    segments.any(|segment| {
        let mut rest = segment;
        let mut dots = 0;
        while let [b'.', after @ ..] | [b'%', b'2', b'e' | b'E', after @ ..] = rest {
            rest = after;
            dots += 1;
        }
        // What follows a `;` is a parameter to some.
        matches!(dots, 1 | 2) && matches!(rest.first(), None | Some(b';'))
    })
}

/// The path of the target, without the query.
fn path_only(head: &RequestHead, buf: &[u8]) -> Span {
    let span = path_and_query(head);
    let length = memchr::memchr(b'?', span.get(buf)).unwrap_or(span.len());
    Span {
        end: span.start + length as u32,
        ..span
    }
}
