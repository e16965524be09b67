//! The `Forwarded` header (RFC 7239): who sends, through whom, and what was asked for (reference/linker.md §5.6).

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use serde::Deserialize;

use crate::wire::h1::RequestHead;

/// What a `Forwarded` header calls both ends of a connection (`addForwardedHeader`).
#[derive(Clone, Debug, Deserialize)]
pub struct ForwardedPlan {
    pub by: Labeler,
    #[serde(rename = "for")]
    pub from: Labeler,
}

/// What one end is called.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind")]
pub enum Labeler {
    #[serde(rename = "ip")]
    Ip,
    #[serde(rename = "ip:port")]
    IpAndPort,
    /// A word that a connection keeps, and that tells nothing else.
    #[serde(rename = "connectionRandom")]
    ConnectionRandom,
    /// A word for each request.
    #[serde(rename = "requestRandom")]
    RequestRandom,
    /// The router's label.
    #[serde(rename = "router")]
    Router,
    #[serde(rename = "static")]
    Static { label: String },
}

/// A request as its labels need it.
pub(super) struct Seen<'a> {
    pub head: &'a RequestHead,
    pub bytes: &'a [u8],
    pub router: &'a str,
    /// Our end of the connection, if it is known.
    pub local: Option<SocketAddr>,
    pub peer: SocketAddr,
    /// Tells connections of one peer apart.
    pub opened_ms: u64,
    /// Tells requests apart, but not the attempts of one.
    pub span: u64,
}

/// Which end a label is for.
#[derive(Clone, Copy, Hash)]
enum End {
    By,
    For,
}

/// Appends the header line.
pub(super) fn push(out: &mut Vec<u8>, plan: &ForwardedPlan, seen: &Seen<'_>) {
    out.extend_from_slice(b"Forwarded: by=");
    push_label(out, &plan.by, End::By, seen);
    out.extend_from_slice(b";for=");
    push_label(out, &plan.from, End::For, seen);
    if let Some(host) = seen.head.authority() {
        out.extend_from_slice(b";host=");
        push_value(out, host.get(seen.bytes));
    }
    if seen.head.absolute.is_some() {
        let target = seen.head.target.get(seen.bytes);
        let scheme = target
            .iter()
            .position(|&byte| byte == b':')
            .map_or(target, |end| &target[..end]);
        out.extend_from_slice(b";proto=");
        push_value(out, scheme);
    }
    out.extend_from_slice(b"\r\n");
}

fn push_label(out: &mut Vec<u8>, labeler: &Labeler, end: End, seen: &Seen<'_>) {
    let address = match end {
        End::By => seen.local,
        End::For => Some(seen.peer),
    };
    let address = address.filter(|address| !address.ip().is_unspecified());
    match (labeler, address) {
        (Labeler::Router, _) => push_obfuscated(out, seen.router),
        (Labeler::Static { label }, _) => push_obfuscated(out, label),
        (Labeler::ConnectionRandom, _) => {
            push_word(out, random().hash_one((end, seen.peer, seen.local, seen.opened_ms)));
        }
        (Labeler::RequestRandom, _) => push_word(out, random().hash_one((end, seen.span))),
        (Labeler::Ip | Labeler::IpAndPort, None) => out.extend_from_slice(b"unknown"),
        (Labeler::Ip, Some(address)) => match address.ip().to_canonical() {
            IpAddr::V4(ip) => out.extend_from_slice(ip.to_string().as_bytes()),
            IpAddr::V6(ip) => out.extend_from_slice(format!("\"[{ip}]\"").as_bytes()),
        },
        (Labeler::IpAndPort, Some(address)) => {
            let address = SocketAddr::new(address.ip().to_canonical(), address.port());
            out.extend_from_slice(format!("\"{address}\"").as_bytes());
        }
    }
}

/// Drawn once per process: who sees a word cannot tell whose it is.
fn random() -> &'static RandomState {
    static RANDOM: OnceLock<RandomState> = OnceLock::new();
    RANDOM.get_or_init(RandomState::new)
}

/// Appends `_` and six letters or digits.
fn push_word(out: &mut Vec<u8>, mut number: u64) {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    out.push(b'_');
    for _ in 0..6 {
        out.push(ALPHABET[(number % 62) as usize]);
        number /= 62;
    }
}

/// Appends a name with the `_` before it that RFC 7239 asks for.
fn push_obfuscated(out: &mut Vec<u8>, label: &str) {
    let named = if label.starts_with('_') {
        label.to_owned()
    } else {
        format!("_{label}")
    };
    push_value(out, named.as_bytes());
}

/// Appends a value: as it is if it is a token, else quoted (RFC 9110 §5.6.4), so that nothing in it looks like a further pair.
fn push_value(out: &mut Vec<u8>, value: &[u8]) {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if !value.is_empty() && value.iter().all(is_token) {
        return out.extend_from_slice(value);
    }
    out.push(b'"');
    for &byte in value {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => out.push(byte),
            _ => out.push(b'_'),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::h1::{Limits, Parse};

    const LIMITS: Limits = Limits {
        head_bytes: 8192,
        line_bytes: 4096,
        headers: 128,
    };

    fn written(by: Labeler, from: Labeler, request: &str, local: Option<&str>, peer: &str, span: u64) -> String {
        let mut head = RequestHead::default();
        let parsed = head.parse(request.as_bytes(), &LIMITS);
        assert!(matches!(parsed, Ok(Parse::Complete(_))), "{parsed:?}");
        let mut out = Vec::new();
        let seen = Seen {
            head: &head,
            bytes: request.as_bytes(),
            router: "in go",
            local: local.map(|local| local.parse().expect("an address")),
            peer: peer.parse().expect("an address"),
            opened_ms: 7,
            span,
        };
        push(&mut out, &ForwardedPlan { by, from }, &seen);
        String::from_utf8(out).expect("ASCII")
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: web\r\n\r\n";

    #[test]
    fn addresses_are_written_as_rfc_7239_has_them() {
        assert_eq!(
            written(
                Labeler::Ip,
                Labeler::IpAndPort,
                GET,
                Some("127.0.0.1:4140"),
                "1.2.3.4:80",
                1
            ),
            "Forwarded: by=127.0.0.1;for=\"1.2.3.4:80\";host=web\r\n"
        );
        assert_eq!(
            written(
                Labeler::Ip,
                Labeler::IpAndPort,
                GET,
                Some("[2001:db8::1]:1"),
                "[2001:db8::2]:80",
                1
            ),
            "Forwarded: by=\"[2001:db8::1]\";for=\"[2001:db8::2]:80\";host=web\r\n"
        );
        assert_eq!(
            written(
                Labeler::IpAndPort,
                Labeler::Ip,
                GET,
                Some("0.0.0.0:1"),
                "[::ffff:1.2.3.4]:80",
                1
            ),
            "Forwarded: by=unknown;for=1.2.3.4;host=web\r\n"
        );
        assert!(written(Labeler::Ip, Labeler::Ip, GET, None, "1.2.3.4:5", 1).contains("by=unknown;"));
    }

    #[test]
    fn names_have_one_underscore_and_are_quoted_where_they_must_be() {
        let label = |label: &str| Labeler::Static {
            label: label.to_owned(),
        };
        assert_eq!(
            written(label("_edge"), label("a;for=b\"\n"), GET, None, "1.2.3.4:5", 1),
            "Forwarded: by=_edge;for=\"_a;for=b\\\"_\";host=web\r\n"
        );
        assert_eq!(
            written(Labeler::Router, label("edge"), GET, None, "1.2.3.4:5", 1),
            "Forwarded: by=\"_in go\";for=_edge;host=web\r\n"
        );
    }

    #[test]
    fn random_words_last_for_a_connection_or_for_a_request() {
        let word = |labeler: fn() -> Labeler, peer: &str, span: u64| {
            let line = written(labeler(), labeler(), GET, Some("127.0.0.1:1"), peer, span);
            let parts: Vec<String> = line.split([';', '=']).map(str::to_owned).collect();
            assert!(parts[1].len() == 7 && parts[1].starts_with('_'), "{line}");
            assert_ne!(parts[1], parts[3], "both ends have names of their own");
            parts[3].clone()
        };
        let (one, other) = ("1.2.3.4:5", "1.2.3.4:6");
        let connection = || Labeler::ConnectionRandom;
        assert_eq!(word(connection, one, 1), word(connection, one, 2));
        assert_ne!(word(connection, one, 1), word(connection, other, 1));
        let request = || Labeler::RequestRandom;
        assert_eq!(word(request, one, 1), word(request, one, 1));
        assert_ne!(word(request, one, 1), word(request, one, 2));
    }

    #[test]
    fn an_absolute_target_tells_its_host_and_scheme() {
        let get = "GET http://web:80/a HTTP/1.1\r\nHost: other\r\n\r\n";
        assert_eq!(
            written(Labeler::Ip, Labeler::Ip, get, Some("127.0.0.1:1"), "1.2.3.4:5", 1),
            "Forwarded: by=127.0.0.1;for=1.2.3.4;host=\"web:80\";proto=http\r\n"
        );
    }
}
