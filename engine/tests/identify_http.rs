//! The HTTP identifiers against values computed with the original implementation.

use std::collections::BTreeMap;

use biandou_engine::identify::{Identifier, StaticPath, Unidentified, identify};
use biandou_engine::wire::h1::{Limits, Parse, RequestHead, Span};
use serde::Deserialize;

const LIMITS: Limits = Limits {
    head_bytes: 8192,
    line_bytes: 4096,
    headers: 100,
};

#[derive(Deserialize)]
struct Vectors<V> {
    vectors: Vec<V>,
}

#[derive(Deserialize)]
struct HttpVector {
    id: String,
    input: HttpInput,
    expect: HttpExpect,
}

#[derive(Deserialize)]
struct HttpInput {
    identifiers: Vec<Identifier>,
    uri: String,
    method: String,
    version: String,
    #[serde(rename = "dstPrefix")]
    prefix: String,
    headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct HttpExpect {
    identified: bool,
    name: Option<String>,
    uri: Option<String>,
    reason: Option<String>,
    message: Option<String>,
}

fn read(head: &mut RequestHead, bytes: &[u8]) {
    let parsed = head.parse(bytes, &LIMITS);
    assert_eq!(parsed, Ok(Parse::Complete(bytes.len())), "{}", bytes.escape_ascii());
}

/// Makes a head whose target is `uri`, also where no caller could send that target.
fn head_of(input: &HttpInput) -> (RequestHead, Vec<u8>) {
    let mut bytes = format!("{} / HTTP/{}\r\n", input.method, input.version).into_bytes();
    for (name, value) in &input.headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    let mut head = RequestHead::default();
    read(&mut head, &bytes);
    let start = bytes.len() as u32;
    bytes.extend_from_slice(input.uri.as_bytes());
    head.target = Span {
        start,
        end: bytes.len() as u32,
    };
    (head, bytes)
}

#[test]
fn the_references_values_come_out() {
    let text = include_str!("vectors/identifier_http.json");
    let vectors: Vectors<HttpVector> = serde_json::from_str(text).expect("the vectors are valid");
    assert_eq!(vectors.vectors.len(), 19);
    for HttpVector { id, input, expect } in vectors.vectors {
        let (head, bytes) = head_of(&input);
        let mut name = input.prefix.clone().into_bytes();
        match identify(&input.identifiers, &head, &bytes, None, &mut name) {
            Ok(consumed) => {
                assert!(expect.identified, "{id}");
                assert_eq!(Some(String::from_utf8_lossy(&name).into_owned()), expect.name, "{id}");
                let mut target = Vec::new();
                match consumed {
                    Some(consumed) => consumed.push_target(&bytes, &mut target),
                    None => target.extend_from_slice(head.target.get(&bytes)),
                }
                assert_eq!(Some(String::from_utf8_lossy(&target).into_owned()), expect.uri, "{id}");
            }
            Err(Unidentified::Reason(reason)) => {
                assert_eq!(Some(reason.as_ref()), expect.reason.as_deref(), "{id}");
            }
            Err(Unidentified::Invalid(text)) => {
                assert_eq!(Some(text.as_ref()), expect.message.as_deref(), "{id}");
            }
        }
    }
}

#[derive(Deserialize)]
struct PathVector {
    id: String,
    input: String,
    expect: PathExpect,
}

#[derive(Deserialize)]
struct PathExpect {
    ok: bool,
    show: Option<String>,
    message: Option<String>,
}

#[test]
fn paths_in_text_are_read_as_the_reference_reads_them() {
    let text = include_str!("vectors/path_text.json");
    let vectors: Vectors<PathVector> = serde_json::from_str(text).expect("the vectors are valid");
    assert_eq!(vectors.vectors.len(), 33);
    for PathVector { id, input, expect } in vectors.vectors {
        match StaticPath::try_from(input) {
            Ok(path) => {
                assert!(expect.ok, "{id}");
                let shown = String::from_utf8_lossy(path.shown()).into_owned();
                let shown = if shown.is_empty() { "/".to_owned() } else { shown };
                assert_eq!(Some(shown), expect.show, "{id}");
            }
            Err(error) => assert_eq!(Some(error.to_string()), expect.message, "{id}"),
        }
    }
}

/// Identifies one request; a refusal is shown as `reason: …` or `invalid: …`, a rewritten target after a space.
fn outcome(identifiers: &str, request: &str) -> String {
    let identifiers: Vec<Identifier> = serde_json::from_str(identifiers).expect("valid identifiers");
    let bytes = format!("{request}\r\n\r\n").into_bytes();
    let mut head = RequestHead::default();
    read(&mut head, &bytes);
    let mut out = Vec::new();
    match identify(&identifiers, &head, &bytes, None, &mut out) {
        Ok(None) => {}
        Ok(Some(consumed)) => {
            out.push(b' ');
            consumed.push_target(&bytes, &mut out);
        }
        Err(refusal) => {
            assert!(out.is_empty(), "a refusal leaves the name as it was");
            return match refusal {
                Unidentified::Reason(text) => format!("reason: {text}"),
                Unidentified::Invalid(text) => format!("invalid: {text}"),
            };
        }
    }
    String::from_utf8(out).expect("shown form is ASCII")
}

#[test]
fn every_kind_keeps_its_rules() {
    let token = r#"[{"kind": "io.l5d.header.token"}]"#;
    let name = r#"[{"kind": "io.l5d.header"}]"#;
    let path = r#"[{"kind": "io.l5d.path", "segments": 2, "consume": true}]"#;
    let host = r#"[{"kind": "io.l5d.methodAndHost"}]"#;
    let uri = r#"[{"kind": "io.l5d.methodAndHost", "httpUriInDst": true}]"#;
    let cases = [
        (token, "GET / HTTP/1.1\r\nHost: Web:80", "/Web:80"),
        (token, "GET / HTTP/1.1\r\nHost:", "reason: Host header is absent"),
        (token, "GET / HTTP/1.0", "reason: Host header is absent"),
        (token, "GET http://a/ HTTP/1.1\r\nHost: b", "/a"),
        (token, "GET / HTTP/1.1\r\nHost: a~b", r"/\x61\x7e\x62"),
        (
            r#"[{"kind": "io.l5d.header.token", "header": "X"}]"#,
            "GET / HTTP/1.1\r\nhost: h\r\nx: 1\r\nX: 2",
            "/1",
        ),
        (
            r#"[{"kind": "io.l5d.header.token", "header": "X"}]"#,
            "GET / HTTP/1.1\r\nhost: h",
            "reason: X header is absent",
        ),
        (
            name,
            "GET / HTTP/1.1\r\nHost: h\r\nl5d-name: /a/\\x41\\x2f",
            r"/a/\x41\x2f",
        ),
        (
            name,
            "GET / HTTP/1.1\r\nHost: h\r\nl5d-name: a",
            "invalid: '/' expected but 'a' found at '[a]'",
        ),
        (
            name,
            "GET / HTTP/1.1\r\nHost: h\r\nl5d-name: /a/",
            "invalid: label char expected but end of input found at '/a/[]'",
        ),
        (path, "GET /a/b/c?q HTTP/1.1\r\nHost: h", "/a/b /c?q"),
        (path, "GET /a/b/ HTTP/1.1\r\nHost: h", "/a/b /"),
        (path, "GET /a/b?x HTTP/1.1\r\nHost: h", "/a/b /?x"),
        (path, "GET /a/b// HTTP/1.1\r\nHost: h", "/a/b //"),
        (
            path,
            "GET /a/ HTTP/1.1\r\nHost: h",
            "reason: not enough segments in path",
        ),
        (
            path,
            "GET /a?/b HTTP/1.1\r\nHost: h",
            "reason: not enough segments in path",
        ),
        (
            path,
            "GET // HTTP/1.1\r\nHost: h",
            "reason: not enough segments in path",
        ),
        (path, "GET //a HTTP/1.1\r\nHost: h", "invalid: requirement failed"),
        (path, "GET /a//b HTTP/1.1\r\nHost: h", "invalid: requirement failed"),
        (path, "GET /a%20b/c HTTP/1.1\r\nHost: h", "/a%20b/c /"),
        (path, "GET /a+b/c HTTP/1.1\r\nHost: h", r"/\x61\x2b\x62/c /"),
        (path, "GET http://h/a/b/c HTTP/1.1\r\nHost: h", "/a/b /c"),
        (
            path,
            "GET http://h HTTP/1.1\r\nHost: h",
            "reason: not enough segments in path",
        ),
        (
            path,
            "OPTIONS * HTTP/1.1\r\nHost: h",
            "reason: not enough segments in path",
        ),
        (host, "GET / HTTP/1.1\r\nHost: WEB:80", "/1.1/GET/web:80"),
        (host, "GET / HTTP/1.0\r\nHost: web", "/1.0/GET"),
        (host, "M! / HTTP/1.1\r\nHost: web", r"/1.1/\x4d\x21/web"),
        (
            host,
            "GET / HTTP/1.1\r\nHost:",
            "reason: HTTP/1.1 request missing hostname",
        ),
        (uri, "GET /a/b?q HTTP/1.1\r\nHost: web", "/1.1/GET/web/a/b"),
        (uri, "GET http://web HTTP/1.1\r\nHost: h", "/1.1/GET/web"),
        (
            uri,
            "GET /~a HTTP/1.1\r\nHost: h",
            "invalid: end of input expected but '~' found at '/[~]a'",
        ),
        (
            r#"[{"kind": "io.l5d.static", "path": "/a/\\x41"}]"#,
            "GET / HTTP/1.0",
            "/a/A",
        ),
        (r#"[{"kind": "io.l5d.static", "path": "/"}]"#, "GET / HTTP/1.0", ""),
        (
            r#"[{"kind": "io.l5d.static", "path": "a/b"}]"#,
            "GET / HTTP/1.0",
            "/a/b",
        ),
        ("[]", "GET / HTTP/1.0", "reason: no identifier is configured"),
    ];
    for (identifiers, request, expected) in cases {
        assert_eq!(outcome(identifiers, request), expected, "{identifiers} {request}");
    }
}

#[test]
fn the_first_that_identifies_wins_and_the_last_reason_is_told() {
    let both = r#"[{"kind": "io.l5d.header"}, {"kind": "io.l5d.header.token", "header": "x"}]"#;
    assert_eq!(outcome(both, "GET / HTTP/1.1\r\nHost: h\r\nl5d-name: /n\r\nx: t"), "/n");
    assert_eq!(outcome(both, "GET / HTTP/1.1\r\nHost: h\r\nx: t"), "/t");
    assert_eq!(outcome(both, "GET / HTTP/1.1\r\nHost: h"), "reason: x header is absent");
    // What cannot be read ends the search: it was meant to be the name.
    assert!(outcome(both, "GET / HTTP/1.1\r\nHost: h\r\nl5d-name: n\r\nx: t").starts_with("invalid: "));
}

#[test]
fn plans_with_unknown_kinds_keys_or_paths_are_refused() {
    for bad in [
        r#"{"kind": "io.l5d.unknown"}"#,
        r#"{"kind": "io.l5d.path", "segment": 1}"#,
        r#"{"kind": "io.l5d.static"}"#,
        r#"{"kind": "io.l5d.static", "path": "a//b"}"#,
    ] {
        assert!(serde_json::from_str::<Identifier>(bad).is_err(), "{bad}");
    }
}
