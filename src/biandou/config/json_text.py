"""JSON to nodes; `json` of the standard library gives no places."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import Final, NoReturn

from biandou.config.node import Entry, Mapping, Node, Place, Scalar, Sequence
from biandou.config.yaml_text import MAX_DEPTH, MAX_NODES, DocumentError

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS: Final = {"true": True, "false": False, "null": None}
_decoder: Final = json.JSONDecoder()
_HALF: Final = re.compile("[\ud800-\udfff]")
_WORD: Final = re.compile(r"[A-Za-z]+")


def read_json(text: str) -> Node:
    """Read the first value of a text; what follows it is not looked at, as in Linkerd. Raises `DocumentError`."""
    return _Reader(text).value(1)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._nodes = 0
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def value(self, depth: int) -> Node:
        self._skip()
        place = self._place(self._at)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise DocumentError(f"more than {MAX_NODES} values", place)
        if depth > MAX_DEPTH:
            raise DocumentError(f"lists and objects nest deeper than {MAX_DEPTH} levels", place)
        match self._text[self._at : self._at + 1]:
            case "{":
                return self._object(place, depth)
            case "[":
                return self._array(place, depth)
            case '"':
                start = self._at
                text = self._string()
                # With an escape in it, a place in the text is no place in the file.
                plain = self._at - start == len(text) + 2
                return Scalar(text, text, place, Place(place.line, place.column + 1) if plain else None)
        return self._word(place)

    def _object(self, place: Place, depth: int) -> Node:
        entries: list[Entry] = []
        self._at += 1
        if self._take("}"):
            return Mapping((), place)
        while True:
            self._skip()
            at = self._place(self._at)
            if not self._text.startswith('"', self._at):
                self._fail("a key in double quotes")
            key = self._string()
            if not self._take(":"):
                self._fail("`:`")
            entries.append(Entry(key, at, self.value(depth + 1)))
            if self._take("}"):
                return Mapping(tuple(entries), place)
            if not self._take(","):
                self._fail("`,` or `}`")

    def _array(self, place: Place, depth: int) -> Node:
        items: list[Node] = []
        self._at += 1
        if self._take("]"):
            return Sequence((), place)
        while True:
            items.append(self.value(depth + 1))
            if self._take("]"):
                return Sequence(tuple(items), place)
            if not self._take(","):
                self._fail("`,` or `]`")

    def _word(self, place: Place) -> Node:
        number = _NUMBER.match(self._text, self._at)
        if number is not None and number.end() - number.start() <= 400:
            self._at = number.end()
            text = number[0]
            whole = number[1] is None and number[2] is None
            return Scalar(int(text) if whole else float(text), text, place, place)
        word = _WORD.match(self._text, self._at)
        if word is None or word[0] not in _WORDS:
            self._fail("a value")
        self._at = word.end()
        return Scalar(_WORDS[word[0]], word[0], place, place)

    def _string(self) -> str:
        start = self._at
        try:
            text, self._at = _decoder.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            raise DocumentError(error.msg, self._place(error.pos)) from error
        if _HALF.search(text):
            raise DocumentError("half of a surrogate pair is no character", self._place(start))
        return str(text)

    def _take(self, character: str) -> bool:
        self._skip()
        if self._text.startswith(character, self._at):
            self._at += 1
            return True
        return False

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self._at)
        if match is not None:
            self._at = match.end()

    def _fail(self, expected: str) -> NoReturn:
        found = repr(self._text[self._at]) if self._at < len(self._text) else "the end"
        raise DocumentError(f"expected {expected}, found {found}", self._place(self._at))

    def _place(self, at: int) -> Place:
        line = bisect_right(self._lines, at)
        return Place(line, at - self._lines[line - 1] + 1)
