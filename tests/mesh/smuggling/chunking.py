"""Chunked bodies of requests that are not as RFC 9112 §7.1 has them."""

from __future__ import annotations

from typing import Final

from tests.mesh.smuggling.case import END, HIDDEN, TE, Case, chunks, passed, post, refused

LONG: Final = "x" * 300

CHUNKING: Final[tuple[Case, ...]] = (
    passed("two chunks", chunks("5\r\nhello\r\n1\r\n!\r\n" + END), "POST /a chunked:hello!"),
    passed(
        "a size in capitals, with leading zeros",
        chunks("0000000A\r\n0123456789\r\n00\r\n\r\n"),
        "POST /a chunked:0123456789",
    ),
    passed("an extension", chunks("5;a=b\r\nhello\r\n0;c\r\n\r\n"), "POST /a chunked:hello"),
    passed("a quoted extension", chunks('5;a="b;c"\r\nhello\r\n' + END), "POST /a chunked:hello"),
    passed("white space before an extension", chunks("5 \t;a=b\r\nhello\r\n" + END), "POST /a chunked:hello"),
    passed(
        "a request in a chunk",
        chunks(f"{len(HIDDEN):x}\r\n{HIDDEN}\r\n{END}"),
        f"POST /a chunked:{HIDDEN}",
    ),
    passed(
        "a last chunk and a request in a chunk",
        chunks(f"{len(END + HIDDEN):x}\r\n{END}{HIDDEN}\r\n{END}"),
        f"POST /a chunked:{END}{HIDDEN}",
    ),
    passed(
        "a request in an extension is not forwarded",
        chunks("5;GET /hidden HTTP/1.1\r\nhello\r\n" + END),
        "POST /a chunked:hello",
    ),
    *(
        refused(f"a chunk's size: {what}", chunks(f"{size}\r\nhello\r\n{END}{HIDDEN}"))
        for what, size in {
            "nothing": "",
            "only an extension": ";a=b",
            "a minus": "-5",
            "a plus": "+5",
            "0x": "0x5",
            "a space before": " 5",
            "a tab before": "\t5",
            "a vertical tab before": "\x0b5",
            "a space after": "5 ",
            "words after": "5 5",
            "a comma": "5,5",
            "a dot": "5.0",
            "an underscore": "0_5",
            "quoted": '"5"',
            "no hexadecimal digit": "g",
            "NUL": "5\x00",
            "17 digits": "00000000000000005",
            "2^63": "8000000000000000",
            "2^64 - 1": "ffffffffffffffff",
            "2^64": "10000000000000000",
            "2^64 + 5": "10000000000000005",
            "many digits": "f" * 40,
            "a byte above 127": "5\xa0",
            "fullwidth": "５".encode().decode("latin-1"),
        }.items()
    ),
    *(
        refused(f"a chunk's line: {what}", chunks(f"{body}{END}{HIDDEN}"))
        for what, body in {
            "LF after the size": "5\nhello\r\n",
            "CR after the size": "5\rhello\r\n",
            "CR CR LF after the size": "5\r\r\nhello\r\n",
            "LF after the data": "5\r\nhello\n",
            "CR after the data": "5\r\nhello\r",
            "nothing after the data": "5\r\nhello",
            "other bytes after the data": "5\r\nhelloXX",
            "two more bytes, then CRLF": "5\r\nhelloXX\r\n",
            "an empty line before the size": "\r\n5\r\nhello\r\n",
            "LF in an extension": "5;a\nb\r\nhello\r\n",
            "LF at the end of an extension": "5;a\nhello\r\n",
            "CR in an extension": "5;a\rb\r\nhello\r\n",
            "NUL in an extension": "5;a\x00\r\nhello\r\n",
            "LF in a quoted extension": '5;a="\nb"\r\nhello\r\n',
            "a long extension": f"5;{LONG}\r\nhello\r\n",
            "a long run of spaces": f"5{' ' * 300};\r\nhello\r\n",
            "a size too small": "4\r\nhello\r\n",
            "a size too large": "8\r\nhello\r\n",
        }.items()
    ),
    *(
        refused(f"the last chunk: {what}", chunks(f"5\r\nhello\r\n{body}{HIDDEN}"))
        for what, body in {
            "LF": "0\n\n",
            "LF for the empty line": "0\r\n\n",
            "CR": "0\r\r",
            "a minus": "-0\r\n\r\n",
            "a space after": "0 \r\n\r\n",
            "a trailer without a colon": "0\r\nX\r\n\r\n",
            "a folded trailer": "0\r\nX: y\r\n z\r\n\r\n",
            "a trailer that ends with LF": "0\r\nX: y\n\r\n",
            "a space before a trailer's colon": "0\r\nX : y\r\n\r\n",
            "CR in a trailer": "0\r\nX: y\rZ: z\r\n\r\n",
            "NUL in a trailer": "0\r\nX: y\x00\r\n\r\n",
            "a trailer without a name": "0\r\n: y\r\n\r\n",
            "many trailers": f"0\r\n{'X: y' + chr(13) + chr(10)}" + "X: y\r\n" * 70 + "\r\n",
            "a request for a trailer": "0\r\n",
        }.items()
    ),
    passed("a trailer", chunks("0\r\nX-Sum: 1\r\n\r\n"), "POST /a chunked:"),
    *(
        passed(f"the trailer {line!r} is dropped", chunks(f"1\r\nx\r\n0\r\n{line}\r\n\r\n"), "POST /a chunked:x")
        for line in (
            "Content-Length: 50",
            "Transfer-Encoding: chunked",
            "Host: other",
            "Connection: close",
            "Authorization: Basic eA==",
            "Cookie: a=b",
            "Expect: 100-continue",
            "Upgrade: h2c",
            "l5d-dtab: /svc => /evil",
            "l5d-ctx-dtab: /svc => /evil",
            "Trailer: Host",
        )
    ),
    refused("a body that breaks off is nobody's", post("Content-Length: 500", HIDDEN), 0),
    refused("chunks that break off are nobody's", chunks("ff\r\n" + HIDDEN), 0),
    refused("a chunk of 2^63 - 1 bytes", chunks("7fffffffffffffff\r\n" + HIDDEN), 0),
    refused("a length of 2^63 - 1 bytes", post("Content-Length: 9223372036854775807", HIDDEN), 0),
    passed(
        "chunks with an announced trailer",
        post(f"{TE}\r\nTrailer: X", "0\r\nX: y\r\n\r\n"),
        "POST /a chunked:",
        Trailer=None,
    ),
)
