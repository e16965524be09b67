"""When a log's file is rolled, as operators write it (reference/linker.md §6.4)."""

from __future__ import annotations

import re
from typing import Annotated, Final

from biandou.config.node import Scalar
from biandou.config.plan import AccessLogPlan, DailyRoll, HourlyRoll, NeverRoll, Roll, SizeRoll, WeeklyRoll
from biandou.config.values import Check
from biandou.config.wording import shorten

_NAMED: Final[dict[str, Roll]] = {
    "never": NeverRoll(),
    "hourly": HourlyRoll(),
    "daily": DailyRoll(),
    # SIGHUP reopens every access log: one that does nothing else is never rolled.
    "sighup": NeverRoll(),
}
_UNITS: Final = ("byte", "kilobyte", "megabyte", "gigabyte", "terabyte")
_WEEKLY: Final = re.compile(r"weekly\(([1-7])\)", re.IGNORECASE)
_SIZE: Final = re.compile(rf"([1-9][0-9]{{0,5}})\.({'|'.join(_UNITS)})s?", re.IGNORECASE)


def read_roll_policy(text: str) -> Roll:
    """Read `never`, `hourly`, `daily`, `sighup`, `weekly(n)` or `<n>.<unit>` in any case; raises `ValueError`.

    Sizes go by 1024; the first day of the week is Sunday, 1.
    """
    named = _NAMED.get(text.lower())
    if named is not None:
        return named
    weekly = _WEEKLY.fullmatch(text)
    if weekly is not None:
        return WeeklyRoll(day=int(weekly[1]))
    size = _SIZE.fullmatch(text)
    if size is None:
        raise ValueError(f"`{shorten(text)}` is no roll policy")
    return SizeRoll(bytes=int(size[1]) * 1024 ** _UNITS.index(size[2].lower()))


def access_log_plan(path: str | None, roll: Roll, append: bool, rotate_count: int) -> AccessLogPlan | None:
    """Give what the four keys of a log mean: without a file there is none, and fewer than no rolled files are all."""
    if path is None:
        return None
    return AccessLogPlan(path=path, roll=roll, append=append, rotate_count=None if rotate_count < 0 else rotate_count)


def _roll_policy(scalar: Scalar) -> Roll:
    return read_roll_policy(scalar.text)


RollPolicyText = Annotated[
    Roll,
    Check(
        "`never`, `hourly`, `daily`, `sighup`, `weekly(1)` to `weekly(7)`, or a size such as `3.megabytes`",
        _roll_policy,
    ),
]
