"""What was counted, as every exporter reads it: scopes with counters, gauges and distributions.

The engine's tally (`boundary.py`) has this shape, and so has what Python itself counts (`registry.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from biandou.telemeters.window import Summary


class Metrics(Protocol):
    """The metrics of one thing; neither the parts of `scope` nor a metric's name are free of `/`.

    A `/` in a part of `scope` belongs to it (`127.0.0.1/4140`); one in a name separates (`retries/total`).
    """

    @property
    def scope(self) -> Sequence[str]:
        """Whose metrics these are, e.g. `rt`, `http`, `server`, `127.0.0.1/4140`."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What only grows."""

    @property
    def gauges(self) -> Mapping[str, float]:
        """What is so now."""

    @property
    def windows(self) -> Mapping[str, Summary | None]:
        """The last window of what is measured, `None` if no value came in it; what had none yet is left out."""


Scopes: TypeAlias = Sequence[Metrics]
"""Everything that a process has counted, read at one moment."""

ReadScopes: TypeAlias = Callable[[], Scopes]
"""Gives everything that was counted up to now."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The metrics of one thing that Python itself has counted."""

    scope: Sequence[str]
    counters: Mapping[str, int] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)
    windows: Mapping[str, Summary | None] = field(default_factory=dict)
