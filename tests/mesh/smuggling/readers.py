"""Three readers of requests that share nothing with the engine: a strict one, and two lenient ones that disagree."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Rules(Enum):
    """How a reader takes what is not as it should be."""

    STRICT = "strict"
    """RFC 9112 to the letter: whatever could be taken in two ways is an error."""
    CHUNKED_WINS = "chunked wins"
    """LF ends a line, names are stripped, lines are unfolded, and anything that holds `chunked` is chunked."""
    LENGTH_WINS = "length wins"
    """As the other lenient one, but the first `Content-Length` is believed before any `Transfer-Encoding`."""


class Unclear(Exception):
    """A strict reader does not know what these bytes are."""


@dataclass(frozen=True, slots=True)
class Message:
    """One request; the names of its headers are small letters without white space around them."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    framing: str

    def values(self, name: str) -> list[str]:
        """Give the values of a header, in their order."""
        return [value for key, value in self.headers if key == name]

    def __str__(self) -> str:
        """Give the message in the notation of the tables: `POST /a chunked:hello`."""
        line = f"{self.method} {self.target}"
        return line if self.framing == "none" else f"{line} {self.framing}:{self.body.decode('latin-1')}"


_STRICT_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/1\.1")
_STRICT_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_STRICT_SIZE = re.compile(rb"[0-9a-fA-F]{1,16}")


def read_all(sent: bytes, rules: Rules) -> tuple[list[Message], bytes]:
    """Read all requests of a connection; gives them and what is left. The strict reader raises `Unclear`."""
    messages: list[Message] = []
    while (read := read_one(sent, rules)) is not None:
        message, length = read
        messages.append(message)
        sent = sent[length:]
    return messages, sent


def read_one(sent: bytes, rules: Rules) -> tuple[Message, int] | None:
    """Read the request at the start and give its length, too; `None` while it is not whole."""
    return _read_strictly(sent) if rules is Rules.STRICT else _read_leniently(sent, rules)


def _read_strictly(sent: bytes) -> tuple[Message, int] | None:
    head, end, rest = sent.partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = head.split(b"\r\n")
    if (line := _STRICT_LINE.fullmatch(first)) is None:
        raise Unclear(f"a request line: {first!r}")
    fields: list[tuple[str, str]] = []
    for text in lines:
        if (field := _STRICT_FIELD.fullmatch(text)) is None:
            raise Unclear(f"a header line: {text!r}")
        fields.append((field[1].decode().lower(), field[2].decode("latin-1").rstrip(" \t")))
    lengths = [value for name, value in fields if name == "content-length"]
    codings = [value for name, value in fields if name == "transfer-encoding"]
    if len(lengths) + len(codings) > 1 or len([name for name, _ in fields if name == "host"]) != 1:
        raise Unclear(f"framing or host: {fields}")
    start = len(head) + 4
    framing, body, used = "none", b"", 0
    if lengths:
        if not re.fullmatch("[0-9]{1,19}", lengths[0]):
            raise Unclear(f"a length: {lengths[0]!r}")
        framing, used = "length", int(lengths[0])
        body = rest[:used]
        if len(body) < used:
            return None
    elif codings:
        if codings != ["chunked"]:
            raise Unclear(f"a coding: {codings[0]!r}")
        framing = "chunked"
        if (chunks := _strict_chunks(rest)) is None:
            return None
        body, used = chunks
    message = Message(line[1].decode(), line[2].decode(), tuple(fields), body, framing)
    return message, start + used


def _strict_chunks(rest: bytes) -> tuple[bytes, int] | None:
    body, at = b"", 0
    while (end := rest.find(b"\r\n", at)) >= 0:
        if not _STRICT_SIZE.fullmatch(rest[at:end]):
            raise Unclear(f"a chunk's size: {rest[at:end]!r}")
        size = int(rest[at:end], 16)
        at = end + 2
        if size == 0:
            return _strict_trailers(rest, body, at)
        if len(rest) < at + size + 2:
            return None
        if rest[at + size : at + size + 2] != b"\r\n":
            raise Unclear(f"a chunk's end: {rest[at + size : at + size + 2]!r}")
        body += rest[at : at + size]
        at += size + 2
    return None


def _strict_trailers(rest: bytes, body: bytes, at: int) -> tuple[bytes, int] | None:
    while (end := rest.find(b"\r\n", at)) >= 0:
        line = rest[at:end]
        at = end + 2
        if not line:
            return body, at
        if (field := _STRICT_FIELD.fullmatch(line)) is None:
            raise Unclear(f"a trailer: {line!r}")
        if field[1].lower() in {b"content-length", b"transfer-encoding", b"host", b"connection", b"authorization"}:
            raise Unclear(f"a trailer that frames or routes: {line!r}")
    return None


def _lenient_line(sent: bytes, at: int) -> tuple[bytes, int] | None:
    end = sent.find(b"\n", at)
    return None if end < 0 else (sent[at:end].rstrip(b"\r"), end + 1)


def _read_leniently(sent: bytes, rules: Rules) -> tuple[Message, int] | None:
    at = 0
    lines: list[bytes] = []
    while (read := _lenient_line(sent, at)) is not None:
        line, at = read
        if line:
            # A line that begins with white space goes on with the one before.
            if line[:1] in (b" ", b"\t") and lines:
                lines[-1] += line
            else:
                lines.append(line)
        elif lines:
            break
    else:
        return None
    method, _, target = lines[0].decode("latin-1").partition(" ")
    fields = [
        (name.strip().lower(), value.strip())
        for name, _, value in (
            re.sub(r"[\x00\x0b\x0c\r]", " ", line.decode("latin-1")).partition(":") for line in lines[1:]
        )
    ]
    lengths = [found[0] for name, value in fields if name == "content-length" and (found := re.search("[0-9]+", value))]
    chunked = any("chunked" in value.lower() for name, value in fields if name == "transfer-encoding")
    framing, body, end = "none", b"", at
    if chunked and not (lengths and rules is Rules.LENGTH_WINS):
        framing = "chunked"
        if (chunks := _lenient_chunks(sent, at)) is None:
            return None
        body, end = chunks
    elif lengths:
        framing, end = "length", at + int(lengths[0])
        body = sent[at:end]
        if len(sent) < end:
            return None
    return Message(method, target.rpartition(" ")[0] or target, tuple(fields), body, framing), end


def _lenient_chunks(sent: bytes, at: int) -> tuple[bytes, int] | None:
    body = b""
    while (read := _lenient_line(sent, at)) is not None:
        line, at = read
        found = re.match(rb"\s*(?:0[xX])?([0-9a-fA-F]+)", line)
        # Sixty-four bits are enough for all but our callers.
        size = int(found[1], 16) & 0xFFFF_FFFF_FFFF_FFFF if found else 0
        if size == 0:
            break
        if len(sent) < at + size:
            return None
        body += sent[at : at + size]
        at += size
        at += 2 if sent[at : at + 2] == b"\r\n" else sent[at : at + 1] == b"\n"
    else:
        return None
    while (read := _lenient_line(sent, at)) is not None:
        line, at = read
        if not line:
            return body, at
    return None
