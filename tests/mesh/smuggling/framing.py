"""Requests whose `Content-Length` and `Transfer-Encoding` are bad, doubled, hidden or at odds (RFC 9112 §6)."""

from __future__ import annotations

from typing import Final

from tests.mesh.smuggling.case import END, HIDDEN, TE, Case, passed, post, refused

LENGTHS: Final[tuple[Case, ...]] = (
    passed("a length", post("Content-Length: 5", "hello"), "POST /a length:hello"),
    passed("a length of nothing", post("Content-Length: 0"), "POST /a length:"),
    passed("a length with leading zeros", post("Content-Length: 0000005", "hello"), "POST /a length:hello"),
    passed("white space around a length", post("Content-Length: \t 5 \t", "hello"), "POST /a length:hello"),
    passed("no space before a length", post("Content-Length:5", "hello"), "POST /a length:hello"),
    passed("the same length twice", post("Content-Length: 5\r\nContent-Length: 5", "hello"), "POST /a length:hello"),
    passed("the same length in a list", post("Content-Length: 5, 5", "hello"), "POST /a length:hello"),
    passed(
        "a length in a GET",
        f"GET /a HTTP/1.1\r\nHost: HOST\r\nContent-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}",
        f"GET /a length:{HIDDEN}",
    ),
    passed(
        "a request in a body",
        post(f"Content-Length: {len(HIDDEN)}", HIDDEN),
        f"POST /a length:{HIDDEN}",
    ),
    passed(
        "two requests at once",
        post("Content-Length: 5", "hello") + post("Content-Length: 3", "you", target="/b"),
        "POST /a length:hello",
        "POST /b length:you",
    ),
    passed("no length, and then a request", post("") + HIDDEN, "POST /a", "GET /hidden"),
    *(
        refused(f"a length that is {value!r}", post(f"Content-Length: {value}", "hello" + HIDDEN))
        for value in (
            "",
            "+5",
            "-5",
            "-0",
            "0x5",
            "5.0",
            "5e0",
            "5 5",
            "5;",
            "5;q=1",
            '"5"',
            "5_",
            "1_0",
            "five",
            "5\x0b",
            "5\x0c",
            "5\x00",
            "\x0b5",
            "5\xa0",
            "٥".encode().decode("latin-1"),
            "5,",
            ",5",
            "5,,5",
            "5, 6",
            "6, 5",
            "5,+5",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "18446744073709551621",
            "99999999999999999999999999",
            "4294967301x",
        )
    ),
    *(
        refused(f"the lengths {one} and {other}", post(f"{one}\r\n{other}", "hello" + HIDDEN))
        for one, other in (
            ("Content-Length: 5", "Content-Length: 6"),
            ("Content-Length: 0", "Content-Length: 5"),
            ("Content-Length: 5", "content-length: 0"),
            ("Content-Length: 5", "CONTENT-LENGTH: 05a"),
            ("Content-Length: 5", "Content-Length:"),
            ("Content-Length: 5\r\nX: y", "Content-Length: 4"),
        )
    ),
    *(
        refused(f"a length by the name {name!r}", post(f"{name}: 5", "hello" + HIDDEN))
        for name in (
            "Content-Length ",
            "Content-Length\t",
            " Content-Length",
            "\tContent-Length",
            "Content-Length\x00",
            "Content-Length\x0b",
            "Content Length",
            "Content-Length\xa0",
            "\x00Content-Length",
            "Content-Length\r",
        )
    ),
)

CODINGS: Final[tuple[Case, ...]] = (
    passed("chunks", post(TE, "5\r\nhello\r\n" + END), "POST /a chunked:hello"),
    passed("chunked in capitals", post("TRANSFER-ENCODING: CHUNKED", "5\r\nhello\r\n" + END), "POST /a chunked:hello"),
    passed("white space around chunked", post("Transfer-Encoding: \t chunked \t", END), "POST /a chunked:"),
    passed("no space before chunked", post("Transfer-Encoding:chunked", END), "POST /a chunked:"),
    passed("chunks, and then a request", post(TE, END) + HIDDEN, "POST /a chunked:", "GET /hidden"),
    # CL.TE, TE.CL and their kin: RFC 9112 §6.1 lets us refuse both together, and we do.
    refused("a length, then chunked", post(f"Content-Length: 6\r\n{TE}", END + "G")),
    refused("chunked, then a length", post(f"{TE}\r\nContent-Length: 4", "5c\r\nGPOST / HTTP/1.1\r\n\r\n" + END)),
    refused("chunked, and a length of nothing", post(f"{TE}\r\nContent-Length: 0", END + HIDDEN)),
    refused("chunked between two lengths", post(f"Content-Length: 5\r\n{TE}\r\nContent-Length: 5", END + HIDDEN)),
    refused("chunked, and a length that is none", post(f"{TE}\r\nContent-Length: x", END + HIDDEN)),
    refused(
        "a length, and a coding that is none", post("Content-Length: 5\r\nTransfer-Encoding: x", "hello" + HIDDEN), 501
    ),
    refused("chunked in HTTP/1.0", post(TE, END + HIDDEN, version="1.0")),
    refused("chunked in HTTP/1.0 that is kept", post(f"{TE}\r\nConnection: keep-alive", END + HIDDEN, version="1.0")),
    refused("both in HTTP/1.0", post(f"{TE}\r\nContent-Length: 5", "hello" + HIDDEN, version="1.0")),
    refused("chunked in two lines", post(f"{TE}\r\n{TE}", END + HIDDEN)),
    refused("chunked, then a line with identity", post(f"{TE}\r\nTransfer-Encoding: identity", END + HIDDEN)),
    refused("identity, then a line with chunked", post(f"Transfer-Encoding: identity\r\n{TE}", END + HIDDEN), 501),
    refused("chunked, then an empty line of codings", post(f"{TE}\r\nTransfer-Encoding:", END + HIDDEN)),
    *(
        refused(f"the coding {value!r}", post(f"Transfer-Encoding: {value}", END + HIDDEN), 501)
        for value in (
            "identity",
            "xchunked",
            "chunkedx",
            "chunke",
            "gzip",
            "gzip, chunked",
            "identity, chunked",
            "x",
            "x\r\n chunked",
        )
    ),
    *(
        refused(f"the coding {value!r}", post(f"Transfer-Encoding: {value}", END + HIDDEN))
        for value in (
            "",
            ",",
            "chunked,",
            ",chunked",
            "chunked, chunked",
            "chunked, identity",
            "chunked, gzip",
            "chunked;q=1",
            "chunked;",
            '"chunked"',
            "'chunked'\x7f",
            "chun ked",
            "\x0bchunked",
            "chunked\x0b",
            "\x0cchunked",
            "chunked\x00",
            "\x00chunked",
            "chunked\xa0",
            "[chunked]",
            "chunked foo",
            "\r\n chunked",
            "\r\n\tchunked",
            "\nchunked",
            "x\nTransfer-Encoding: chunked",
            "chunked\r",
        )
    ),
    *(
        refused(f"a coding by the name {name!r}", post(f"Content-Length: 5\r\n{name}: chunked", "hello" + HIDDEN))
        for name in (
            "Transfer-Encoding ",
            "Transfer-Encoding\t",
            " Transfer-Encoding",
            "\tTransfer-Encoding",
            "Transfer-Encoding\x0b",
            "Transfer-Encoding\x00",
            "Transfer Encoding",
            "X: y\nTransfer-Encoding",
            "X: y\rTransfer-Encoding",
            "X\r\n : y\r\nTransfer-Encoding",
            "\x00Transfer-Encoding",
            "Transfer\xadEncoding",
        )
    ),
    passed(
        "a coding by a name with an underscore is another header",
        post("Content-Length: 5\r\nTransfer_Encoding: x", "hello"),
        "POST /a length:hello",
    ),
)
