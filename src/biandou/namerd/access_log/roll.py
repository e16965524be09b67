"""When the file of an access log is rolled, and what the rolled one is called (reference/linker.md §6.4)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from biandou.config.plan import DailyRoll, HourlyRoll, Roll, WeeklyRoll

_ROLLED: Final = re.compile(r"(?P<stamp>[0-9]{8}(?:-[0-9]{2}|-[0-9]{6})?)(?:\.(?P<number>[0-9]{1,9}))?")


def next_roll(roll: Roll, opened: float) -> float | None:
    """Give when a file is rolled that was opened at `opened`, in seconds since 1970; `None` if time never rolls it."""
    local = datetime.fromtimestamp(opened)
    match roll:
        case HourlyRoll():
            # By the clock that no change of summer time moves.
            return opened - (local.minute * 60 + local.second + local.microsecond / 1e6) + 3600
        case DailyRoll():
            days = 1
        case WeeklyRoll(day=day):
            # Sunday is 7 here, and 1 there.
            days = (day - 1 - local.isoweekday()) % 7 or 7
        case _:
            return None
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return (midnight + timedelta(days=days)).timestamp()


def stamp(roll: Roll, opened: float) -> str:
    """Give the time in a rolled file's name: when it was opened, in the local zone."""
    match roll:
        case HourlyRoll():
            form = "%Y%m%d-%H"
        case DailyRoll() | WeeklyRoll():
            form = "%Y%m%d"
        case _:
            form = "%Y%m%d-%H%M%S"
    return datetime.fromtimestamp(opened).strftime(form)


def rolled_name(path: Path, of: str, number: int) -> Path:
    """Give what a rolled file is called: `base-stamp.ext`, and `base-stamp.1.ext` for the next of the same stamp."""
    numbered = f".{number}" if number else ""
    return path.with_name(f"{path.stem}-{of}{numbered}{path.suffix}")


def rolled_order(path: Path, name: str) -> tuple[str, int] | None:
    """Give what orders a rolled file among others of its log, stamp and number; `None` for a file that is none."""
    start, end = f"{path.stem}-", path.suffix
    if not (name.startswith(start) and name.endswith(end)):
        return None
    found = _ROLLED.fullmatch(name[len(start) : len(name) - len(end)])
    return None if found is None else (found["stamp"], int(found["number"] or 0))
