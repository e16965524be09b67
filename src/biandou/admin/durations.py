"""Durations as Twitter's libraries write them: `5.seconds`, `1.minute + 30.seconds`."""

from __future__ import annotations

import re
from typing import Final

MAX_LENGTH: Final = 200
_NANOS: Final = {
    "nanosecond": 1,
    "microsecond": 10**3,
    "millisecond": 10**6,
    "second": 10**9,
    "minute": 60 * 10**9,
    "hour": 3600 * 10**9,
    "day": 86400 * 10**9,
}
_PART: Final = re.compile(rf"\s*([+-]?)\s*([0-9]{{1,18}})\.({'|'.join(_NANOS)})s?\s*", re.IGNORECASE)


def duration_ms(text: str) -> int:
    """Read a duration and give whole milliseconds, perhaps negative; raises `ValueError`."""
    total = at = 0
    while at < len(text) <= MAX_LENGTH:
        part = _PART.match(text, at)
        # Only the first part goes without a sign.
        if part is None or (at and not part[1]):
            break
        nanos = int(part[2]) * _NANOS[part[3].lower()]
        total += -nanos if part[1] == "-" else nanos
        at = part.end()
    if not text or at < len(text):
        raise ValueError(f"{text} is not a valid duration")
    return total // 10**6
