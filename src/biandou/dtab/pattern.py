"""Patterns that an operator writes to match paths: literal segments, `*`, and `{captures}` (reference/linker.md §2.6).

A pattern matches the beginning of a path. Segments are compared as they are shown, so escaped. Two differences: a
pattern matches a whole segment (in Linkerd `a{x}` also matched inside `bac`), and a capture's name may hold `-`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from biandou.dtab.path import Path

_CAPTURE: Final = re.compile(r"\{([^{}/]+)\}")


@dataclass(frozen=True, slots=True)
class _Segment:
    """Literal texts with a capture between each two; one text alone is a literal segment."""

    literals: tuple[str, ...]
    captures: tuple[str, ...]

    def extract(self, text: str) -> dict[str, str] | None:
        """Match the whole text; each capture takes as much as it can, the first before the second."""
        first, last = self.literals[0], self.literals[-1]
        if not self.captures:
            return {} if text == first else None
        end = len(text) - len(last)
        if end < len(first) or not text.startswith(first) or not text.endswith(last):
            return None
        # From the right, each literal as far right as it goes: what a greedy regular expression finds, in linear time.
        found: list[tuple[str, str]] = []
        for literal, capture in zip(self.literals[-2:0:-1], self.captures[:0:-1], strict=True):
            at = text.rfind(literal, len(first), end)
            if at < 0:
                return None
            found.append((capture, text[at + len(literal) : end]))
            end = at
        found.append((self.captures[0], text[len(first) : end]))
        return dict(reversed(found))


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern; `None` stands for `*`."""

    segments: tuple[_Segment | None, ...]

    @staticmethod
    def read(text: str) -> Pattern:
        """Read a pattern; every text is one (`/` and the empty one match every path)."""
        return Pattern(tuple(_segment(part) for part in text.lstrip("/").split("/")) if text.strip("/") else ())

    @property
    def captures(self) -> frozenset[str]:
        """The names of all captures."""
        return frozenset(name for segment in self.segments if segment for name in segment.captures)

    def extract(self, path: Path) -> dict[str, str] | None:
        """Give the captured texts, or `None` if the path does not begin as the pattern says."""
        if len(path) < len(self.segments):
            return None
        captured: dict[str, str] = {}
        for segment, value in zip(self.segments, path.segments, strict=False):
            if segment is not None:
                found = segment.extract(str(Path((value,)))[1:])
                if found is None:
                    return None
                captured.update(found)
        return captured


def substitute(text: str, captured: Mapping[str, str]) -> str:
    """Put captured texts in the place of `{name}`; a name that was not captured stays as it is."""
    return _CAPTURE.sub(lambda match: captured.get(match[1], match[0]), text)


def placeholders(text: str) -> frozenset[str]:
    """Give the names in braces."""
    return frozenset(_CAPTURE.findall(text))


def _segment(text: str) -> _Segment | None:
    if text == "*":
        return None
    parts = _CAPTURE.split(text)
    return _Segment(tuple(parts[::2]), tuple(parts[1::2]))
