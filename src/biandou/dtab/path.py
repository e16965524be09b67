"""A path: the name of a service before and during delegation, as a row of byte strings."""

from __future__ import annotations

import re
from functools import total_ordering
from typing import Final

from biandou.dtab.parse import LABEL, Scanner, unescape

_PATH: Final = re.compile(rf"/(?:{LABEL}(?:/{LABEL})*+)?+")
_SHOWABLE_BYTES: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_:.#$%-"


@total_ordering
class Path:
    """`/svc/web` as segments; immutable, ordered by bytes, and as quick as a tuple to hash.

    A segment is any bytes but none: an empty one raises `ValueError`.
    """

    __slots__ = ("_text", "segments")

    segments: tuple[bytes, ...]
    _text: str

    def __init__(self, segments: tuple[bytes, ...] = ()) -> None:
        if b"" in segments:
            raise ValueError("a path has no empty segments")
        _set(self, "segments", segments)

    @staticmethod
    def of(*segments: str | bytes) -> Path:
        """Give the path of these segments, taken literally; text becomes UTF-8."""
        return Path(tuple(segment.encode() if isinstance(segment, str) else bytes(segment) for segment in segments))

    @staticmethod
    def read(text: str) -> Path:
        r"""Read `/a/b` with `\xHH` escapes; raises `DtabSyntaxError`."""
        scanner = Scanner(text)
        path = take_path(scanner)
        scanner.take_end()
        return path

    def starts_with(self, prefix: Path) -> bool:
        """Whether the first segments are those of `prefix`."""
        return self.segments[: len(prefix.segments)] == prefix.segments

    def take(self, count: int) -> Path:
        """Give the first `count` segments, or all when there are fewer."""
        return Path(self.segments[:count])

    def drop(self, count: int) -> Path:
        """Give what follows the first `count` segments."""
        return Path(self.segments[count:]) if count < len(self.segments) else EMPTY_PATH

    def __add__(self, other: Path) -> Path:
        if not isinstance(other, Path):
            return NotImplemented
        return Path(self.segments + other.segments)

    def __len__(self) -> int:
        return len(self.segments)

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Path):
            return self.segments == other.segments
        return NotImplemented

    def __lt__(self, other: Path) -> bool:
        if not isinstance(other, Path):
            return NotImplemented
        return self.segments < other.segments

    def __hash__(self) -> int:
        return hash(self.segments)

    def __str__(self) -> str:
        try:
            return self._text
        except AttributeError:
            text = _show(self.segments)
            _set(self, "_text", text)
            return text

    def __repr__(self) -> str:
        return f"Path.read({str(self)!r})"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Path is immutable: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Path is immutable: {name} cannot be deleted")

    def __reduce__(self) -> tuple[type[Path], tuple[tuple[bytes, ...]]]:
        return (Path, (self.segments,))


_set: Final = object.__setattr__

EMPTY_PATH: Final = Path()


def take_path(scanner: Scanner) -> Path:
    """Take a path from where the scanner is; raises `DtabSyntaxError`."""
    text = scanner.take_elements(_PATH)
    if not text:
        return Path()
    if "\\" in text:
        return Path(tuple(unescape(label) for label in text.split("/")))
    return Path(tuple(text.encode().split(b"/")))


def show_segment(segment: bytes) -> str:
    r"""Give a segment as text: as it is, or every byte as `\xHH` when one of them needs it."""
    if segment.translate(None, _SHOWABLE_BYTES):
        return "".join(f"\\x{byte:02x}" for byte in segment)
    return segment.decode("ascii")


def _show(segments: tuple[bytes, ...]) -> str:
    joined = b"/".join(segments)
    rest = joined.translate(None, _SHOWABLE_BYTES)
    # Nothing but the slashes that were just put in: no segment needs an escape.
    if len(rest) == max(len(segments) - 1, 0) == rest.count(b"/"):
        return "/" + joined.decode("ascii")
    return "/" + "/".join(map(show_segment, segments))
