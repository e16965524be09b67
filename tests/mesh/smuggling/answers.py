"""What a caller is answered, read strictly, one answer after the other."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_STATUS = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2}) [^\x00-\x08\x0a-\x1f\x7f]*")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([^\x00-\x08\x0a-\x1f\x7f]*)")


class NoAnswer(Exception):
    """The bytes are not an answer, or not a whole one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One final answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Give the values of a header."""
        return [value for key, value in self.headers if key == name]


def read_answers(got: bytes, methods: Iterable[str]) -> list[Answer]:
    """Read all answers on a connection that has ended, to requests with these methods; raises `NoAnswer`."""
    asked = iter(methods)
    answers: list[Answer] = []
    while got:
        answer, got = _read_answer(got, next(asked, "GET"))
        answers.append(answer)
    return answers


def _read_answer(got: bytes, method: str) -> tuple[Answer, bytes]:
    while True:
        head, end, got = got.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        if not end or (status := _STATUS.fullmatch(first)) is None:
            raise NoAnswer(f"{head!r}")
        code = int(status[1])
        if code >= 200 or code == 101:
            break
    fields: list[tuple[str, str]] = []
    for line in lines:
        if (found := _FIELD.fullmatch(line)) is None:
            raise NoAnswer(f"a header line: {line!r}")
        fields.append((found[1].decode().lower(), found[2].decode("latin-1")))
    headers = tuple(fields)
    lengths = [value for name, value in headers if name == "content-length"]
    codings = [value for name, value in headers if name == "transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        raise NoAnswer(f"more than one framing: {headers}")
    if method == "HEAD" or code in (101, 204, 304):
        return Answer(code, headers, b""), got
    if codings:
        body, got = _read_chunks(got)
        return Answer(code, headers, body), got
    if not lengths:
        return Answer(code, headers, got), b""
    length = int(lengths[0])
    if len(got) < length:
        raise NoAnswer(f"{len(got)} bytes of {length}")
    return Answer(code, headers, got[:length]), got[length:]


def _read_chunks(got: bytes) -> tuple[bytes, bytes]:
    body = b""
    while (size := re.match(rb"([0-9a-f]{1,16})\r\n", got)) is not None:
        length = int(size[1], 16)
        got = got[size.end() :]
        if length == 0:
            while not got.startswith(b"\r\n"):
                line, end, got = got.partition(b"\r\n")
                if not end or _FIELD.fullmatch(line) is None:
                    raise NoAnswer(f"a trailer: {line!r}")
            return body, got[2:]
        if got[length : length + 2] != b"\r\n":
            raise NoAnswer("a chunk that does not end")
        body += got[:length]
        got = got[length + 2 :]
    raise NoAnswer(f"a chunk: {got[:40]!r}")
