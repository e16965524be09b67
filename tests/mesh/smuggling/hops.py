"""Requests that abuse what is for one hop only: `Connection`, `Expect`, `Upgrade`, `TE` (RFC 9110 §7.6, §10.1.1)."""

from __future__ import annotations

from typing import Final

from tests.mesh.smuggling.case import END, HIDDEN, TE, Case, passed, plain, post, refused

UPGRADE: Final = "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"

HOPS: Final[tuple[Case, ...]] = (
    passed(
        "Connection names the length",
        post("Connection: content-length\r\nContent-Length: 5", "hello"),
        "POST /a length:hello",
    ),
    passed("Connection names the coding", post(f"Connection: transfer-encoding\r\n{TE}", END), "POST /a chunked:"),
    passed("Connection names Host", plain("Connection: host"), "GET /a", Host="HOST"),
    passed("Connection names Via", plain("Connection: via\r\nVia: 1.1 x"), "GET /a", Via="1.1 x, 1.1 linkerd"),
    passed(
        "Connection names a header", plain("Connection: x-one\r\nX-One: 1\r\nX-Two: 2"), "GET /a", X_One=None, X_Two="2"
    ),
    passed("Connection names itself", plain("Connection: connection"), "GET /a", Connection=None),
    passed(
        "Connection names Upgrade, and more",
        plain("Connection: close, x-one, upgrade\r\nX-One: 1\r\nUpgrade: x"),
        "GET /a",
        closes=True,
        X_One=None,
        Upgrade="x",
    ),
    passed(
        "Connection in two lines",
        plain("Connection: x-one\r\nConnection: x-two\r\nX-One: 1\r\nX-Two: 2"),
        "GET /a",
        X_One=None,
        X_Two=None,
    ),
    passed("Connection with empty elements", plain("Connection: ,, ,x-one,,\r\nX-One: 1"), "GET /a", X_One=None),
    passed("Proxy-Connection ends nothing", plain("Proxy-Connection: close"), "GET /a", Proxy_Connection=None),
    passed("Keep-Alive is for this hop", plain("Keep-Alive: timeout=1000"), "GET /a", Keep_Alive=None),
    passed("TE is for this hop", plain("TE: trailers, chunked\r\nConnection: TE"), "GET /a", TE=None),
    passed("behind Connection: close nothing is read", plain("Connection: close") + HIDDEN, "GET /a", closes=True),
    passed("close and keep-alive is close", plain("Connection: keep-alive, close") + HIDDEN, "GET /a", closes=True),
    passed("behind HTTP/1.0 nothing is read", plain(version="1.0") + HIDDEN, "GET /a", closes=True),
    passed("HTTP/1.0 that is kept", plain("Connection: keep-alive", version="1.0") + HIDDEN, "GET /a", "GET /hidden"),
    passed(
        "HTTP/1.0 with a length",
        post("Content-Length: 5\r\nConnection: keep-alive", "hello", version="1.0"),
        "POST /a length:hello",
    ),
    passed("HTTP/1.0 without a length has no body", post("", version="1.0") + HIDDEN, "POST /a", closes=True),
    refused("Connection with too many options", plain("Connection: " + "a," * 65) + HIDDEN),
    passed("a HEAD with a body", post("Content-Length: 5", "hello").replace("POST", "HEAD"), "HEAD /a length:hello"),
    passed("a HEAD, and then a request", plain(method="HEAD") + HIDDEN, "HEAD /a", "GET /hidden"),
    passed(
        "an OPTIONS with a body",
        post("Content-Length: 5", "hello").replace("POST", "OPTIONS"),
        "OPTIONS /a length:hello",
    ),
    passed("a TRACE with a body", post("Content-Length: 5", "hello").replace("POST", "TRACE"), "TRACE /a length:hello"),
    passed(
        "a method that nobody knows",
        post("Content-Length: 5", "hello").replace("POST", "SMUGGLE"),
        "SMUGGLE /a length:hello",
    ),
    passed("a method in small letters", plain(method="get"), "get /a", nginx_refuses=True),
    passed("an override of the method is only a header", plain("X-HTTP-Method-Override: CONNECT"), "GET /a"),
    passed(
        "Expect with a body that is here",
        post("Expect: 100-continue\r\nContent-Length: 5", "hello"),
        "POST /a length:hello",
        Expect=None,
    ),
    passed(
        "Expect with chunks that are here",
        post(f"Expect: 100-continue\r\n{TE}", "5\r\nhello\r\n" + END),
        "POST /a chunked:hello",
        Expect=None,
    ),
    passed(
        "Expect in a GET without a body", plain("Expect: 100-continue") + HIDDEN, "GET /a", "GET /hidden", Expect=None
    ),
    passed(
        "Expect in capitals",
        post("EXPECT: 100-CONTINUE\r\nContent-Length: 5", "hello"),
        "POST /a length:hello",
        Expect=None,
    ),
    passed(
        "Expect twice",
        post("Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 5", "hello"),
        "POST /a length:hello",
        Expect=None,
    ),
    passed(
        "Expect with a length of nothing",
        post("Expect: 100-continue\r\nContent-Length: 0") + HIDDEN,
        "POST /a length:",
        "GET /hidden",
        Expect=None,
    ),
    passed(
        "Expect in HTTP/1.0",
        post("Expect: 100-continue\r\nContent-Length: 5", "hello", version="1.0"),
        "POST /a length:hello",
        closes=True,
    ),
    passed(
        "Expect of something else", post("Expect: y 100-continue\r\nContent-Length: 5", "hello"), "POST /a length:hello"
    ),
    passed(
        "h2c is not passed on",
        plain(f"{UPGRADE}\r\nUpgrade: h2c") + HIDDEN,
        "GET /a",
        "GET /hidden",
        Upgrade=None,
        HTTP2_Settings=None,
    ),
    passed("h2c in a list is not passed on", plain("Connection: upgrade\r\nUpgrade: x, h2c"), "GET /a", Upgrade=None),
    passed("h2c in capitals is not passed on", plain("Connection: upgrade\r\nUpgrade: H2C"), "GET /a", Upgrade=None),
    passed(
        "h2c in a second line is not passed on",
        plain("Connection: upgrade\r\nUpgrade: x\r\nUpgrade: h2c"),
        "GET /a",
        Upgrade="x",
    ),
    passed(
        "h2c with a body",
        post("Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5", "hello"),
        "POST /a length:hello",
        Upgrade=None,
    ),
    passed("HTTP/2.0 is not passed on", plain("Connection: upgrade\r\nUpgrade: HTTP/2.0"), "GET /a", Upgrade=None),
    passed(
        "TLS is passed on, and not switched to",
        plain("Connection: upgrade\r\nUpgrade: TLS/1.0") + HIDDEN,
        "GET /a",
        "GET /hidden",
        Upgrade="TLS/1.0",
    ),
    passed("Upgrade without Connection", plain("Upgrade: websocket"), "GET /a", Upgrade=None),
    passed(
        "Upgrade in HTTP/1.0",
        plain("Connection: upgrade\r\nUpgrade: websocket", version="1.0"),
        "GET /a",
        closes=True,
        Upgrade=None,
    ),
    passed(
        "a websocket that is not answered with 101 stays HTTP",
        plain("Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777") + HIDDEN,
        "GET /a",
        "GET /hidden",
        Upgrade="websocket",
    ),
    passed("a client's l5d-reqid is not passed on", plain("l5d-dst-client: /evil"), "GET /a"),
)
