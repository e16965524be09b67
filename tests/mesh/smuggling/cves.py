"""Requests that others have fallen for, by the number of the hole, as its public description gives them."""

from __future__ import annotations

from typing import Final

from tests.mesh.smuggling.case import END, HIDDEN, TE, Case, chunks, passed, plain, post, refused

CVES: Final[tuple[Case, ...]] = (
    refused("CVE-2005-2088: Apache, both framings", post(f"Content-Length: 5\r\n{TE}", END + HIDDEN)),
    refused("CVE-2013-4286: Tomcat, two lengths", post("Content-Length: 0\r\nContent-Length: 5", "hello" + HIDDEN)),
    refused(
        "CVE-2014-0099: Tomcat, a length overflows", post("Content-Length: 36893488147419103237", "hello" + HIDDEN)
    ),
    refused("CVE-2015-3183: Apache, a chunk's size", chunks("5 x\r\nhello\r\n" + END + HIDDEN)),
    refused("CVE-2016-2086: Node.js, a length with a space", post("Content-Length: 5 5", "hello" + HIDDEN)),
    refused("CVE-2016-6816: Tomcat, bytes in the request line", "GET /a{\x80} HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    refused("CVE-2016-8743: Apache, white space in lines", "GET\x0b/a\x0bHTTP/1.1\r\nHost: HOST\r\n\r\n"),
    refused("CVE-2017-7656: Jetty, HTTP/0.9 with headers", "GET /a HTTP/0.9\r\nHost: HOST\r\n\r\n" + HIDDEN, 505),
    refused("CVE-2017-7657: Jetty, a chunk's size overflows", chunks("100000005\r\nhello\r\n" + END + HIDDEN), 0),
    refused("CVE-2017-7658: Jetty, a length and then chunks", post(f"Content-Length: 0\r\n{TE}", END + HIDDEN)),
    refused("CVE-2018-7159: Node.js, spaces in a length", post("Content-Length: 1 2", "hello" + HIDDEN)),
    refused("CVE-2018-8004: Traffic Server, a space before the colon", post("Content-Length : 5", "hello" + HIDDEN)),
    refused("CVE-2019-15605: Node.js, a coding that is none", post("Transfer-Encoding: chunked, x", END + HIDDEN)),
    refused("CVE-2019-16276: Go, a space before the colon", post("Transfer-Encoding : chunked", END + HIDDEN)),
    refused("CVE-2019-16785: Waitress, LF", "GET /a HTTP/1.1\nHost: HOST\n\n" + HIDDEN),
    refused("CVE-2019-16786: Waitress, a coding with a tab", post("Transfer-Encoding: \x0bchunked", END + HIDDEN)),
    refused("CVE-2019-16789: Waitress, white space in a header", post("Transfer-Encoding: chunked\x0b", END + HIDDEN)),
    refused("CVE-2019-16792: Waitress, two lengths", post("Content-Length: 5\r\nContent-Length: 5a", "hello" + HIDDEN)),
    refused(
        "CVE-2019-16869: Netty, a space before the colon",
        post("Transfer-Encoding : chunked\r\nContent-Length: 5", END),
    ),
    refused(
        "CVE-2019-17567: Apache, behind an Upgrade",
        plain("Connection: upgrade\r\nUpgrade: x") + "GET /hidden\r\n\r\n",
        400,
        "GET /a",
    ),
    refused(
        "CVE-2019-18277: HAProxy, a vertical tab",
        post("Content-Length: 5\r\nTransfer-Encoding:\x0bchunked", "hello" + HIDDEN),
    ),
    passed(
        "CVE-2019-20372: nginx, a body behind an error's answer",
        post(f"Content-Length: {len(HIDDEN)}", HIDDEN, target="/error"),
        f"POST /error length:{HIDDEN}",
    ),
    refused(
        "CVE-2019-20444: Netty, a header without a colon",
        post("Content-Length: 5\r\nTransfer-Encoding", "hello" + HIDDEN),
    ),
    refused(
        "CVE-2019-20445: Netty, two lengths, one with chunks",
        post(f"Content-Length: 5\r\nContent-Length: 5\r\n{TE}", END),
    ),
    refused("CVE-2020-1935: Tomcat, a coding in a folded line", post("Transfer-Encoding:\r\n chunked", END + HIDDEN)),
    refused(
        "CVE-2020-7238: Netty, white space before the colon",
        post("Transfer-Encoding \t: chunked\r\nContent-Length: 5", END),
    ),
    refused("CVE-2020-7658: Meinheld, a length with a plus", post("Content-Length: +5", "hello" + HIDDEN)),
    refused("CVE-2020-8201: Node.js, CR in a name", post("Transfer\rEncoding: chunked", END + HIDDEN)),
    refused("CVE-2020-8287: Node.js, two codings", post(f"{TE}\r\nTransfer-Encoding: eee", END + HIDDEN)),
    refused("CVE-2020-10108: Twisted, two lengths", post("Content-Length: 5\r\nContent-Length: 0", "hello" + HIDDEN)),
    refused("CVE-2020-10109: Twisted, both framings", post(f"Content-Length: 5\r\n{TE}", END + HIDDEN)),
    refused("CVE-2020-15049: Squid, a length with a plus", post('Content-Length: "+5"', "hello" + HIDDEN)),
    refused(
        "CVE-2020-15810: Squid, a space before the colon", post(f"Content-Length: 5\r\n{TE} ".replace(":", " :"), END)
    ),
    refused("CVE-2020-15811: Squid, a list with chunked", post("Transfer-Encoding: x, chunked, y", END + HIDDEN)),
    refused("CVE-2020-25613: WEBrick, a coding that is none", post("Transfer-Encoding: chunkedfoo", END + HIDDEN), 501),
    refused("CVE-2020-26129: Ktor, both framings", post(f"{TE}\r\nContent-Length: 3", "0\r\n\r\n")),
    refused(
        "CVE-2020-35863: hyper, a second coding", post(f"Transfer-Encoding: x\r\n{TE}\r\nContent-Length: 5", END), 501
    ),
    refused("CVE-2021-20220: Undertow, a length and chunks", post(f"Content-Length: 5\r\n{TE}", END)),
    refused("CVE-2021-22959: Node.js, a space before the colon", plain("Content-Length : 5") + "hello"),
    refused("CVE-2021-22960: Node.js, CR in a chunk's extension", chunks("5;a\rb\r\nhello\r\n" + END + HIDDEN)),
    refused("CVE-2021-32565: Traffic Server, a length with a sign", post("Content-Length: -5", "hello" + HIDDEN)),
    refused("CVE-2021-32714: hyper, a chunk's size overflows", chunks("10000000000000003\r\nabc\r\n" + END + HIDDEN)),
    refused("CVE-2021-32715: hyper, a length with a plus", post("Content-Length: +3", "abc" + HIDDEN)),
    refused("CVE-2021-33037: Tomcat, identity", post("Transfer-Encoding: chunked, identity", END + HIDDEN)),
    refused("CVE-2021-33193: Apache, a method of HTTP/2", "GET\x20/hidden\x20HTTP/1.1\r\nX: y /a HTTP/1.1\r\n\r\n"),
    refused("CVE-2021-37147: Traffic Server, LF in a name", plain("X\nY: z")),
    refused("CVE-2021-37148: Traffic Server, chunked twice", post("Transfer-Encoding: chunked, chunked", END + HIDDEN)),
    refused(
        "CVE-2021-40346: HAProxy, a long name",
        post(f"Content-Length0{'a' * 255}:\r\nContent-Length: 5\r\nContent-Length: 6", ""),
    ),
    refused("CVE-2021-41136: Puma, LF after a value", post("X: y\nTransfer-Encoding: chunked", END + HIDDEN)),
    refused("CVE-2021-43797: Netty, control bytes around a name", post("\x0bTransfer-Encoding: chunked", END + HIDDEN)),
    refused("CVE-2022-1705: Go, a coding that is none", post("Transfer-Encoding: chunked;x", END + HIDDEN)),
    refused("CVE-2022-22720: Apache, behind a body that is refused", chunks("g\r\n") + HIDDEN),
    refused("CVE-2022-24761: Waitress, 0x in a chunk's size", chunks("0x5\r\nhello\r\n" + END + HIDDEN)),
    refused("CVE-2022-24766: mitmproxy, white space before the colon", post("Content-Length\t: 5", "hello" + HIDDEN)),
    refused("CVE-2022-24790: Puma, codings in two lines", post(f"Transfer-Encoding: chunked\r\n{TE}", END + HIDDEN)),
    refused("CVE-2022-24801: Twisted, a plus in a chunk's size", chunks("+5\r\nhello\r\n" + END + HIDDEN)),
    passed(
        "CVE-2022-31813: Apache, Connection takes a forwarded header away",
        plain("Connection: close, X-Forwarded-For, l5d-reqid"),
        "GET /a",
        closes=True,
    ),
    refused(
        "CVE-2022-32213: Node.js, an unknown coding before",
        post("Transfer-Encoding: chunkedchunked", END + HIDDEN),
        501,
    ),
    refused("CVE-2022-32214: Node.js, LF", post("Content-Length: 5\n", "hello" + HIDDEN)),
    refused(
        "CVE-2022-32215: Node.js, codings in folded lines",
        post("Transfer-Encoding: chunked,\r\n identity", END + HIDDEN),
    ),
    refused("CVE-2022-35256: Node.js, CR without LF", post("X: y\rTransfer-Encoding: chunked", END + HIDDEN)),
    refused("CVE-2022-36760: Apache, AJP's length and chunks", post(f"{TE}\r\nContent-Length: 35", END + HIDDEN)),
    refused("CVE-2022-41721: Go, a body read as HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN, 505),
    refused("CVE-2022-42252: Tomcat, a length that is none", post("Content-Length: abc", "hello" + HIDDEN)),
    refused(
        "CVE-2023-25690: Apache, a decoded line end in a target",
        "GET /a HTTP/1.1\r\n\r\nGET /hidden HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    refused(
        "CVE-2023-25725: HAProxy, an empty name ends the headers", post(":\r\nContent-Length: 5", "hello" + HIDDEN)
    ),
    refused("CVE-2023-30589: Node.js, CR in the place of CRLF", post("X: y\rContent-Length: 5", "hello" + HIDDEN)),
    refused("CVE-2023-40175: Puma, a length of nothing", post("Content-Length:", "hello" + HIDDEN)),
    refused(
        "CVE-2023-40225: HAProxy, an empty length beside another",
        post("Content-Length:\r\nContent-Length: 5", "hello" + HIDDEN),
    ),
    refused("CVE-2023-45539: HAProxy, a fragment", plain(target="/a#.png")),
    refused("CVE-2023-46589: Tomcat, too many trailers", chunks("0\r\n" + "X: y\r\n" * 2000 + "\r\n" + HIDDEN)),
    refused("CVE-2023-46846: Squid, a chunk's line", chunks("5;\n\r\nhello\r\n" + END + HIDDEN)),
    refused("CVE-2023-47627: aiohttp, a sign in a length", post("Content-Length: +_5", "hello" + HIDDEN)),
    refused("CVE-2023-47641: aiohttp, both framings", post(f"Content-Length: 5\r\n{TE}", END)),
    refused("CVE-2023-49081: aiohttp, LF in the version", "GET /a HTTP/1.1\nX: y\r\nHost: HOST\r\n\r\n"),
    refused("CVE-2023-49082: aiohttp, CRLF in the method", "GET\r\nX: y /a HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    refused("CVE-2024-1135: gunicorn, chunked not last", post("Transfer-Encoding: chunked, gzip", END + HIDDEN)),
    refused("CVE-2024-6827: gunicorn, a coding in other words", post("Transfer-Encoding: chunked,x", END + HIDDEN)),
    refused("CVE-2024-21647: Puma, an extension without end", chunks(f"5;{'a' * 20_000}\r\nhello\r\n" + END)),
    refused("CVE-2024-23452: brpc, both framings", post(f"{TE}\r\nContent-Length: 5", END + HIDDEN)),
    refused("CVE-2024-23829: aiohttp, white space in a name", plain("X Y: z")),
    refused("CVE-2024-27982: Node.js, a space before a length", post(" Content-Length: 5", "hello" + HIDDEN)),
    refused("CVE-2024-52304: aiohttp, LF in an extension", chunks("5;\nx\r\nhello\r\n" + END + HIDDEN)),
    refused("CVE-2024-53868: Traffic Server, LF after chunks", chunks("5\r\nhello\n" + END + HIDDEN)),
    refused("CVE-2025-22871: Go, LF ends a chunk's size", chunks("5\nhello\r\n" + END + HIDDEN)),
    refused("CVE-2025-43859: h11, what ends a chunk", chunks("5\r\nhelloXX" + END + HIDDEN)),
    passed(
        "CVE-2025-55315: Kestrel, CR in an extension is refused, CRLF ends it",
        chunks("5;\r\nhello\r\n" + END),
        "POST /a chunked:hello",
    ),
    refused("CVE-2025-55315: Kestrel, CR alone in an extension", chunks("5;\rxx\r\nhello\r\n" + END + HIDDEN)),
)
