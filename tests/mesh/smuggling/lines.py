"""Requests whose lines do not end with CRLF, or are folded, or bad in another way (RFC 9112 §2, §3, §5)."""

from __future__ import annotations

from typing import Final

from tests.mesh.smuggling.case import HIDDEN, Case, passed, plain, post, refused

LINES: Final[tuple[Case, ...]] = (
    passed("an empty line before a request", "\r\n" + plain(), "GET /a"),
    passed(
        "an empty line after a body",
        post("Content-Length: 5", "hello\r\n") + HIDDEN,
        "POST /a length:hello",
        "GET /hidden",
    ),
    passed("a header with no value", plain("X:"), "GET /a", X=""),
    passed("colons in a value", plain("X: a:b: c"), "GET /a", X="a:b: c"),
    passed("bytes above 127 in a value", plain("X: caf\xe9"), "GET /a", X="caf\xe9"),
    passed("a tab in a value", plain("X: a\tb"), "GET /a", X="a\tb"),
    *(
        refused(f"line ends: {what}", sent)
        for what, sent in {
            "LF everywhere": "GET /a HTTP/1.1\nHost: HOST\n\n" + HIDDEN,
            "LF after the request line": "GET /a HTTP/1.1\nHost: HOST\r\n\r\n",
            "LF after Host": "GET /a HTTP/1.1\r\nHost: HOST\n\r\n",
            "LF for the empty line": "GET /a HTTP/1.1\r\nHost: HOST\r\n\n" + HIDDEN,
            "LF LF for the empty line": "GET /a HTTP/1.1\r\nHost: HOST\n\n" + HIDDEN,
            "LF before the request": "\n" + plain(),
            "LF in a value": plain(f"X: y\nContent-Length: {len(HIDDEN)}") + HIDDEN,
            "LF in a name": plain("X\nY: z"),
            "LF in the target": "GET /a\nHTTP/1.1\r\nHost: HOST\r\n\r\n",
            "LF CR": "GET /a HTTP/1.1\n\rHost: HOST\n\r\n\r",
            "CR everywhere": "GET /a HTTP/1.1\rHost: HOST\r\r" + HIDDEN,
            "CR after the request line": "GET /a HTTP/1.1\rHost: HOST\r\n\r\n",
            "CR in a value": plain(f"X: y\rContent-Length: {len(HIDDEN)}") + HIDDEN,
            "CR in a name": plain("X\rY: z"),
            "CR for the empty line": "GET /a HTTP/1.1\r\nHost: HOST\r\n\r" + HIDDEN,
            "CR before CRLF": "GET /a HTTP/1.1\r\nHost: HOST\r\r\n\r\n",
            "CR CR LF for the empty line": "GET /a HTTP/1.1\r\nHost: HOST\r\n\r\r\n" + HIDDEN,
            "CR before the request": "\r" + plain(),
            "CRLF in the target": "GET /a\r\nX: y HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "five empty lines before the request": "\r\n" * 5 + plain(),
        }.items()
    ),
    *(
        refused(f"header lines: {what}", sent)
        for what, sent in {
            "folded with a space": plain("X: a\r\n b"),
            "folded with a tab": plain("X: a\r\n\tb"),
            "folded onto Host": "GET /a HTTP/1.1\r\nHost: HOST\r\n b\r\n\r\n",
            "folded before the first": "GET /a HTTP/1.1\r\n X: y\r\nHost: HOST\r\n\r\n",
            "folded into nothing": plain("X: a\r\n "),
            "a folded length": post("Content-Length:\r\n 5", "hello" + HIDDEN),
            "a length folded away": post("X: y\r\n Content-Length: 5", "hello" + HIDDEN),
            "no colon": plain("X"),
            "no name": plain(": y"),
            "a space before the colon": plain("X : y"),
            "a space before the name": "GET /a HTTP/1.1\r\nHost: HOST\r\nX: y\r\n Z: y\r\n\r\n",
            "NUL in a value": plain("X: a\x00b"),
            "NUL in a name": plain("X\x00: b"),
            "NUL before the head's end": plain("X: a\x00"),
            "a backspace in a value": plain("X: a\x08b"),
            "DEL in a value": plain("X: a\x7fb"),
            "an escape in a value": plain("X: \x1b[2J"),
            "a form feed in a value": plain("X: a\x0cb"),
            "a vertical tab before a name": plain("\x0bX: b"),
            "quotes in a name": plain('"X": b'),
            "brackets in a name": plain("X[]: b"),
            "bytes above 127 in a name": plain("caf\xe9: b"),
            "a second request line": plain("GET /hidden HTTP/1.1"),
        }.items()
    ),
    *(
        refused(f"a header by the name {name!r}", plain(f"{name}: y") + HIDDEN)
        for name in (
            # A reader that compares names in haste takes one for another.
            "Content\rLength",
            "Transfer\rEncoding",
            "l5d\rerr",
            "l\x15d-err",
            "l5d- x",
            "l5d-x y",
            "l5d-x\nContent-Length",
            "l5d-x\r\n y",
            "l5d-x\x00",
            "l5d-\xe9",
            "x-forwarded-client\rcert",
            "Proxy\rConnection",
        )
    ),
    *(
        refused(f"the request line {line!r}", f"{line}\r\nHost: HOST\r\n\r\n" + HIDDEN, status)
        for line, status in (
            (" GET /a HTTP/1.1", 400),
            ("GET  /a HTTP/1.1", 400),
            ("GET\t/a HTTP/1.1", 400),
            ("GET /a\tHTTP/1.1", 400),
            ("GET /a  HTTP/1.1", 400),
            ("GET /a HTTP/1.1 ", 400),
            ("GET /a b HTTP/1.1", 400),
            ("GET /a HTTP/1.1 HTTP/1.1", 400),
            ("GET /hidden HTTP/1.1 /a HTTP/1.1", 400),
            ("GET\x0b/a HTTP/1.1", 400),
            ("GET\xa0/a HTTP/1.1", 400),
            ("G\x00T /a HTTP/1.1", 400),
            ("GET /a\x00 HTTP/1.1", 400),
            ("(GET) /a HTTP/1.1", 400),
            ("GET", 400),
            ("GET /a HTTP/1.10", 400),
            ("GET /a HTTP/01.1", 400),
            ("GET /a HTTP/1.", 400),
            ("GET /a HTTP/ 1.1", 400),
            ("GET /a http/1.1", 400),
            ("GET /a HTTPS/1.1", 400),
            ("GET /a ICY/1.1", 400),
            ("GET /a HTTP/1.2", 505),
            ("GET /a HTTP/2.0", 505),
            ("GET /a HTTP/0.9", 505),
            ("GET /a HTTP/9.9", 505),
        )
    ),
    refused("HTTP/0.9", "GET /a\r\n" + HIDDEN),
    refused("HTTP/0.9 in the place of a second request", plain() + "GET /hidden\r\n\r\n", 400, "GET /a"),
    refused("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 505),
    refused("the preface of HTTP/2 after a request", plain() + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "GET /a"),
    refused("an answer in the place of a request", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + HIDDEN),
    refused("a TLS handshake", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + HIDDEN),
)
