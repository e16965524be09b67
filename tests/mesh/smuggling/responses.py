"""Answers of a back end that two readers could take differently, and what the caller may see (RFC 9112 §6.3, §9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

EVIL: Final = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
"""An answer that nobody asked for."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes that a back end answers the first request with, after which it closes or stays; and what the caller sees.

    `status` and `body` are what it sees of that answer; no body: it breaks off, `*`: any. The next request of the same
    caller, if its connection is left open, gets its own answer.
    """

    name: str
    sent: str
    status: int
    body: str | None = ""
    method: str = "GET"
    closes: bool = False


def answer(lines: str, body: str = "", *, status: str = "200 OK", version: str = "1.1") -> str:
    """Give an answer with these header lines."""
    more = f"{lines}\r\n" if lines else ""
    return f"HTTP/{version} {status}\r\n{more}\r\n{body}"


def bad(name: str, sent: str) -> Reply:
    """An answer that costs a 502."""
    return Reply(name, sent, 502, "*")


CHUNKED: Final = "Transfer-Encoding: chunked"
END: Final = "0\r\n\r\n"
HELLO: Final = "5\r\nhello\r\n"

REPLIES: Final[tuple[Reply, ...]] = (
    Reply("a length", answer("Content-Length: 5", "hello"), 200, "hello"),
    Reply("chunks", answer(CHUNKED, HELLO + END), 200, "hello"),
    Reply("until the end", answer("", "hello"), 200, "hello", closes=True),
    Reply("until the end, an answer inside", answer("", "hello" + EVIL), 200, "hello" + EVIL, closes=True),
    Reply("HTTP/1.0", answer("", "hello", version="1.0"), 200, "hello", closes=True),
    Reply(
        "HTTP/1.0 that is kept",
        answer("Connection: keep-alive\r\nContent-Length: 5", "hello", version="1.0"),
        200,
        "hello",
    ),
    Reply("an answer in a body", answer(f"Content-Length: {len(EVIL)}", EVIL), 200, EVIL),
    Reply("an answer in a chunk", answer(CHUNKED, f"{len(EVIL):x}\r\n{EVIL}\r\n{END}"), 200, EVIL),
    Reply("an answer behind a length", answer("Content-Length: 5", "hello" + EVIL), 200, "hello"),
    Reply("an answer behind chunks", answer(CHUNKED, HELLO + END + EVIL), 200, "hello"),
    Reply("the same length twice", answer("Content-Length: 5\r\nContent-Length: 5", "hello"), 200, "hello"),
    Reply("204", answer("", status="204 No Content"), 204),
    Reply(
        "204 with a length and an answer", answer(f"Content-Length: {len(EVIL)}", EVIL, status="204 No Content"), 204
    ),
    Reply("204 with chunks", answer(CHUNKED, HELLO + END, status="204 No Content"), 204),
    Reply("204 and an answer", answer("", EVIL, status="204 No Content"), 204),
    Reply("304 with a length", answer("Content-Length: 5", status="304 Not Modified"), 304),
    Reply(
        "304 with a length and an answer", answer(f"Content-Length: {len(EVIL)}", EVIL, status="304 Not Modified"), 304
    ),
    Reply("304 with chunks", answer(CHUNKED, HELLO + END, status="304 Not Modified"), 304),
    Reply("205 with a body", answer("Content-Length: 5", "hello", status="205 Reset Content"), 205, "hello"),
    Reply("HEAD with a length", answer("Content-Length: 5"), 200, method="HEAD"),
    Reply("HEAD with a length and a body", answer(f"Content-Length: {len(EVIL)}", EVIL), 200, method="HEAD"),
    Reply("HEAD with chunks", answer(CHUNKED, HELLO + END), 200, method="HEAD"),
    Reply("HEAD without a length", answer(""), 200, method="HEAD"),
    Reply("HEAD and an answer", answer("Content-Length: 0", EVIL), 200, method="HEAD"),
    Reply(
        "an interim answer",
        answer("Link: x", status="103 Early Hints") + answer("Content-Length: 5", "hello"),
        200,
        "hello",
    ),
    Reply("100 unasked", answer("", status="100 Continue") + answer("Content-Length: 5", "hello"), 200, "hello"),
    bad("an interim answer with a body", answer("Content-Length: 5", "hello", status="103 Early Hints") + EVIL),
    bad("100 with chunks", answer(CHUNKED, HELLO + END, status="100 Continue") + EVIL),
    Reply(
        "an interim answer with an answer for its body",
        answer(f"Content-Length: {len(EVIL)}", EVIL, status="102 Processing") + answer("Content-Length: 5", "hello"),
        502,
        "*",
    ),
    bad("101 unasked", answer("Connection: upgrade\r\nUpgrade: x", EVIL, status="101 Switching Protocols")),
    bad("a length and chunks", answer(f"Content-Length: 5\r\n{CHUNKED}", HELLO + END)),
    bad("chunks and a length", answer(f"{CHUNKED}\r\nContent-Length: 5", HELLO + END)),
    bad("chunks in HTTP/1.0", answer(CHUNKED, HELLO + END, version="1.0")),
    *(
        bad(f"the length {value!r}", answer(f"Content-Length: {value}", "hello" + EVIL))
        for value in (
            "",
            "+5",
            "-5",
            "0x5",
            "5 5",
            "5,6",
            "5;",
            "9223372036854775808",
            "18446744073709551621",
            "5\x00",
            "\x0b5",
        )
    ),
    bad("two lengths", answer("Content-Length: 5\r\nContent-Length: 6", "hello" + EVIL)),
    bad("a length with a space before the colon", answer("Content-Length : 5", "hello" + EVIL)),
    bad("a length with CR in its name", answer("Content\rLength: 5", "hello" + EVIL)),
    *(
        bad(f"the coding {value!r}", answer(f"Transfer-Encoding: {value}", HELLO + END + EVIL))
        for value in ("identity", "gzip, chunked", "xchunked", "chunked, chunked", "\x0bchunked", "chunked;x", "")
    ),
    bad("LF in the place of CRLF", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"),
    bad("LF in a value (response splitting)", answer(f"X: y\nContent-Length: 5\n\n{EVIL}")),
    bad("CR in a value (response splitting)", answer("X: y\rContent-Length: 5")),
    bad("CR in the reason", answer("Content-Length: 0", status="200 O\rK")),
    bad("NUL in a value", answer("X: y\x00")),
    bad("a folded line", answer("X: y\r\n z\r\nContent-Length: 0")),
    bad("no colon", answer("X\r\nContent-Length: 0")),
    bad("an l5d- name that is no token", answer("l5d-x y: z\r\nContent-Length: 0")),
    bad("a status of two digits", answer("Content-Length: 0", status="99 Low")),
    bad("a status of four digits", answer("Content-Length: 0", status="2000 OK")),
    bad("HTTP/2", answer("Content-Length: 0", version="2")),
    bad("HTTP/0.9", "hello, this is it\r\n"),
    bad("an empty line first", "\r\n" + answer("Content-Length: 0")),
    Reply("chunks: a size that is none", answer(CHUNKED, "x\r\nhello\r\n" + END), 200, None),
    Reply("chunks: LF after a size", answer(CHUNKED, "5\nhello\r\n" + END), 200, None),
    Reply("chunks: a size too large", answer(CHUNKED, "10000000000000005\r\nhello\r\n" + END), 200, None),
    Reply("chunks: no CRLF after the data", answer(CHUNKED, "5\r\nhelloXX" + END), 200, None),
    Reply("chunks: CR in an extension", answer(CHUNKED, "5;a\rb\r\nhello\r\n" + END), 200, None),
    Reply("chunks: a folded trailer", answer(CHUNKED, HELLO + "0\r\nX: y\r\n z\r\n\r\n"), 200, None),
    Reply("chunks: they end in the midst", answer(CHUNKED, HELLO), 200, None, closes=True),
    Reply("a length: it ends in the midst", answer("Content-Length: 50", "hello"), 200, None, closes=True),
    Reply(
        "chunks: a trailer that frames is dropped",
        answer(CHUNKED, HELLO + "0\r\nContent-Length: 9\r\n\r\n"),
        200,
        "hello",
    ),
    Reply(
        "Connection names the length", answer("Connection: content-length\r\nContent-Length: 5", "hello"), 200, "hello"
    ),
    Reply(
        "Connection names the coding", answer(f"Connection: transfer-encoding\r\n{CHUNKED}", HELLO + END), 200, "hello"
    ),
    Reply(
        "behind Connection: close nothing is read",
        answer("Connection: close\r\nContent-Length: 5", "hello" + EVIL),
        200,
        "hello",
    ),
)
