"""Path patterns with captures: what static `service` and `client` configurations and the rewrite namer match with.

The syntax is the reference's (reference/linker.md §2.6): `/`-separated segments, each literal text, `*`, or text with
`{name}` captures. A capture takes as much of its segment as it can, and the whole segment has to match.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from biandou.dtab.path import Path, show_segment

# A range from `:` to `_`, as the reference has it: no `-`, so `{my-var}` is literal text.
_CAPTURE: Final = re.compile(r"\{([a-zA-Z0-9.:-_]+)\}")


class PathMatcher:
    """A pattern for the beginning of a path; compared and shown as its text."""

    __slots__ = ("_segments", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._segments = tuple([_Segment(part) for part in _split(text)])

    def match(self, path: Path) -> dict[str, str] | None:
        """Give the captured texts if `path` begins with this pattern, else `None`; of a name used twice the last."""
        if len(path) < len(self._segments):
            return None
        captured: dict[str, str] = {}
        for pattern, segment in zip(self._segments, path.segments, strict=False):
            if not pattern.match(show_segment(segment), captured):
                return None
        return captured

    def substitute(self, path: Path, template: str) -> str | None:
        """Give `template` with what `path` gave for each `{name}`, or `None` if `path` does not match."""
        captured = self.match(path)
        return None if captured is None else fill(template, captured)

    def __len__(self) -> int:
        return len(self._segments)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PathMatcher):
            return self.text == other.text
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.text)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"PathMatcher({self.text!r})"


def fill(template: str, captured: Mapping[str, str]) -> str:
    """Put captured texts in the place of `{name}`; a name that was not captured stays as it is."""
    return _CAPTURE.sub(lambda match: captured.get(match[1], match[0]), template)


class _Segment:
    """One segment of a pattern: literal pieces with captures between them.

    Matched by hand rather than by a regular expression: several `(.*)` in a row backtrack for ever on a hostile name.
    """

    __slots__ = ("_any", "_names", "_pieces")

    def __init__(self, text: str) -> None:
        self._any = text == "*"
        parts = _CAPTURE.split(text)
        self._pieces = parts[::2]
        self._names = parts[1::2]

    def match(self, text: str, captured: dict[str, str]) -> bool:
        if self._any:
            return True
        first, *others = self._pieces
        if not others:
            return text == first
        *middle, last = others
        if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
            return False
        # Greedy from the left, so every piece but the first is found as far right as those after it leave room.
        start, end = len(first), len(text) - len(last)
        values = []
        for piece in reversed(middle):
            at = text.rfind(piece, start, end)
            if at < 0:
                return False
            values.append(text[at + len(piece) : end])
            end = at
        values.append(text[start:end])
        captured.update(zip(self._names, reversed(values), strict=True))
        return True


def _split(text: str) -> list[str]:
    parts = text.split("/")
    while parts and not parts[0]:
        del parts[0]
    while parts and not parts[-1]:
        del parts[-1]
    return parts
