"""Requests that name their host twice, in other words, or not at all (RFC 9112 §3.2)."""

from __future__ import annotations

from typing import Final

from tests.mesh.smuggling.case import HIDDEN, Case, passed, plain, refused

TARGETS: Final[tuple[Case, ...]] = (
    passed("a host of the absolute form", "GET http://HOST/a HTTP/1.1\r\nHost: HOST\r\n\r\n", "GET /a", Host="HOST"),
    passed(
        "the absolute form wins over Host", "GET http://HOST/a HTTP/1.1\r\nHost: other\r\n\r\n", "GET /a", Host="HOST"
    ),
    passed(
        "the absolute form with an empty Host", "GET http://HOST/a HTTP/1.1\r\nHost:\r\n\r\n", "GET /a", Host="HOST"
    ),
    passed("the absolute form in capitals", "GET HTTP://HOST/a HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a", Host="HOST"),
    passed("the absolute form without a path", "GET http://HOST HTTP/1.1\r\nHost: x\r\n\r\n", "GET /", Host="HOST"),
    passed(
        "the absolute form with a query only", "GET http://HOST?q HTTP/1.1\r\nHost: x\r\n\r\n", "GET /?q", Host="HOST"
    ),
    passed("the absolute form of https", "GET https://HOST/a HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a", Host="HOST"),
    passed(
        "the absolute form asked for everything",
        "OPTIONS http://HOST HTTP/1.1\r\nHost: x\r\n\r\n",
        "OPTIONS *",
        nginx_refuses=True,
        Host="HOST",
    ),
    passed(
        "a target that looks absolute",
        "GET /http://other/a HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET /http://other/a",
        Host="HOST",
    ),
    passed("a target of two slashes", "GET //other/a HTTP/1.1\r\nHost: HOST\r\n\r\n", "GET //other/a", Host="HOST"),
    passed("an escaped request in a target", plain(target="/a%0d%0aHost:%20other"), "GET /a%0d%0aHost:%20other"),
    passed("dots in a path", plain(target="/a/../b"), "GET /a/../b"),
    passed("escaped slashes and dots", plain(target="/a/..%2f..%2fb"), "GET /a/..%2f..%2fb", nginx_refuses=True),
    passed("X-Forwarded-Host is only a header", plain("X-Forwarded-Host: other"), "GET /a", Host="HOST"),
    *(
        refused(f"hosts: {what}", f"GET /a HTTP/1.1\r\n{lines}\r\n\r\n" + HIDDEN)
        for what, lines in {
            "two": "Host: HOST\r\nHost: other",
            "two that are the same": "Host: HOST\r\nHost: HOST",
            "two, far apart, in other letters": "Host: HOST\r\nX: y\r\nhost: other",
            "an empty second": "Host: HOST\r\nHost:",
            "a list": "Host: HOST, other",
            "two words": "Host: HOST other",
            "a path": "Host: HOST/a",
            "a query": "Host: HOST?a",
            "a fragment": "Host: HOST#other",
            "a user": "Host: other@HOST",
            "a scheme": "Host: http://HOST",
            "a backslash": "Host: HOST\\other",
            "a port that is none": "Host: HOST:evil",
            "two ports": "Host: HOST:80:80",
            "a negative port": "Host: HOST:-1",
            "NUL": "Host: HOST\x00other",
            "a tab inside": "Host: HOST\tother",
            "bytes above 127": "Host: HOST\xe9",
            "folded": "Host: other\r\n HOST",
            "a second after a space": "Host: HOST\r\n Host: other",
            "a space before the colon": "Host : HOST",
            "half an escape": "Host: HOST%2",
            "half an IPv6 address": "Host: [::1",
            "quoted": 'Host: "HOST"',
            "a comma": "Host: HOST,",
            "a semicolon and a bracket": "Host: HOST>other",
        }.items()
    ),
    *(
        refused(f"the target {target!r}", f"GET {target} HTTP/1.1\r\nHost: HOST\r\n\r\n" + HIDDEN)
        for target in (
            "a",
            "*",
            "HOST:80",
            "http://",
            "http:///a",
            "http:/a",
            "http:a",
            "http://:80/",
            "http://user@HOST/a",
            "http://user:word@HOST/a",
            "http://HOST\\@other/a",
            "http://HOST:evil/a",
            "http://HOST#/a",
            "http://HOST%/a",
            "ftp://HOST/a",
            "file:///a",
            "@other/a",
            "?a",
            "#a",
            "/a#b",
            "/a\xe9",
            "/a\x7f",
            "/a\x01",
            "/a%0",
            "/a%zz",
            "/a%",
            "\\a",
        )
    ),
    refused("CONNECT", "CONNECT HOST:80 HTTP/1.1\r\nHost: HOST\r\n\r\n" + HIDDEN, 405),
    refused("CONNECT to a path", "CONNECT /a HTTP/1.1\r\nHost: HOST\r\n\r\n" + HIDDEN),
)
