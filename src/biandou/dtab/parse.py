"""What the grammars of path, tree and dtab share: a scanner over text, and the error that says where it stopped.

The wording of the messages is the reference's (reference/linker.md §3.2). Everything here takes time in
proportion to the text, whatever the text is.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import Final, NoReturn

from biandou.errors import BiandouError

MAX_NESTING: Final = 64
"""How deep parentheses may go: deeper text is hostile or an accident, and would exhaust the stack."""

_SHOWN: Final = 400
"""Longer texts are quoted around the mistake only, this many characters to each side."""

SHOWABLE: Final = rb"0-9A-Za-z_:.#$%\-".decode()
LABEL: Final = rf"(?:[{SHOWABLE}]|\\x[0-9A-Fa-f]{{2}})++"
# Java's Character.isWhitespace: Unicode spaces without the no-break ones, line ends and the four separators.
_SPACE: Final = r"[\t\n\x0b\x0c\r\x1c-\x1f \u1680\u2000-\u2006\u2008-\u200a\u2028\u2029\u205f\u3000]"
_GAP: Final = re.compile(rf"(?:{_SPACE}|#[^\n]*+)*+")
_NUMBER: Final = re.compile(r"[0-9]*+(?:\.[0-9]*+)?+")
_ESCAPE: Final = re.compile(rb"\\x([0-9A-Fa-f]{2})")


class DtabSyntaxError(BiandouError, ValueError):
    """Text that is no path, tree or dtab; `line` and `column` count from 1."""

    room = "configuration"
    fault = "user"

    def __init__(self, expected: str, found: str, text: str, index: int) -> None:
        before, at, after = text[:index], text[index : index + 1], text[index + 1 :]
        self.line = before.count("\n") + 1
        self.column = index - (before.rfind("\n") + 1) + 1
        self.expected = expected
        self.found = found
        if len(before) > _SHOWN:
            before = "…" + before[-_SHOWN:]
        if len(after) > _SHOWN:
            after = after[:_SHOWN] + "…"
        super().__init__(f"{expected} expected but {found} found at '{before}[{at}]{after}'")


class Scanner:
    """A place in a text; every `take_` moves it on or raises `DtabSyntaxError`."""

    __slots__ = ("index", "nesting", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.index = 0
        self.nesting = 0

    @property
    def peek(self) -> str:
        """The character here, empty at the end."""
        return self.text[self.index : self.index + 1]

    def fail(self, expected: str, index: int | None = None) -> NoReturn:
        """Raise `DtabSyntaxError` for this place, or for `index`."""
        at = self.index if index is None else index
        char = self.text[at : at + 1]
        raise DtabSyntaxError(expected, f"'{char}'" if char else "end of input", self.text, at)

    def skip_space(self) -> None:
        """Pass over white space and comments."""
        gap = _GAP.match(self.text, self.index)
        if gap is not None:
            self.index = gap.end()

    def skip(self, char: str) -> bool:
        """Pass over `char` if it is here, and say whether it was."""
        if self.text.startswith(char, self.index):
            self.index += 1
            return True
        return False

    def take(self, char: str) -> None:
        """Pass over `char`, which has to be here."""
        if not self.skip(char):
            self.fail(f"'{char}'")

    def take_elements(self, pattern: re.Pattern[str]) -> str:
        """Take `/a/b` as far as `pattern` (a whole path or prefix) reads it; gives the part after the first slash."""
        self.skip_space()
        match = pattern.match(self.text, self.index)
        if match is None:
            self.fail("'/'")
        start, self.index = self.index + 1, match.end()
        char = self.peek
        if char == "\\":
            self._fail_escape()
        if char == "/" and self.index > start:
            self.index += 1
            if self.peek == "\\":
                self._fail_escape()
            self.fail("label char")
        return self.text[start : self.index]

    def take_weight(self) -> float:
        """Take digits with at most one point."""
        start = self.index
        match = _NUMBER.match(self.text, start)
        self.index = start if match is None else match.end()
        if self.peek == ".":
            self.fail("number char")
        digits = self.text[start : self.index]
        if digits == ".":
            raise DtabSyntaxError("weight", "'.'", self.text, self.index)
        weight = float(digits)
        if not isfinite(weight):
            raise DtabSyntaxError("weight", "a number beyond all bounds", self.text, start)
        return weight

    def take_end(self) -> None:
        """Pass over white space to the end of the text, which has to come."""
        self.skip_space()
        if self.index < len(self.text):
            self.fail("end of input")

    def _fail_escape(self) -> NoReturn:
        index = self.index + 1
        if self.text[index : index + 1] != "x":
            self.fail("'x'", index)
        digit = self.text[index + 1 : index + 2]
        self.fail("hex char", index + 2 if digit and digit in "0123456789abcdefABCDEF" else index + 1)


def unescape(label: str) -> bytes:
    """Give the bytes of a label that the grammar has accepted."""
    return _ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()), label.encode())
