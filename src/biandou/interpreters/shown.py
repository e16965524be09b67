"""What an interpreter follows, for `/<router>/interpreter_state/…` (reference/linker.md §7.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from biandou.errors import reason
from biandou.live import Failed, Live, Ok

T = TypeVar("T")


def shown(live: Live[T], show: Callable[[T], Any]) -> dict[str, Any]:
    """Give JSON of what is followed now: `running` is false, and nothing known, while nobody wants it."""
    if not live.observed:
        return {"running": False, "value": "Still pending"}
    match live.sample():
        case Ok(value):
            told = show(value)
        case Failed(error):
            told = reason(error)
        case _:
            told = "Still pending"
    return {"running": True, "value": told}
