"""What Python itself counts: the admin server's requests, a namer's lookups.

Everything runs on the event loop, so that counting is adding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final

from biandou.telemeters.model import Counted
from biandou.telemeters.window import Summary, summarize

_EXACT_BELOW: Final = 128
"""Larger values keep this many steps a doubling: within 1 %."""
_MOST: Final = 2**53


class Counter:
    """A number that only grows."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def add(self, count: int = 1) -> None:
        """Count something that happened."""
        self.count += count


class Recorder:
    """A distribution of whole numbers, to within 1 %, of which only the window under way and the last one are kept."""

    __slots__ = ("_counts", "_ended", "_last", "_sum")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._sum = 0
        self._ended = False
        self._last: Summary | None = None

    def record(self, value: float) -> None:
        """Keep a measurement; less than nothing counts as nothing."""
        whole = min(max(0, int(value)), _MOST) if math.isfinite(value) else 0
        self._sum += whole
        if whole >= _EXACT_BELOW:
            shift = whole.bit_length() - _EXACT_BELOW.bit_length() + 1
            whole = (whole >> shift << shift) + (1 << shift >> 1)
        self._counts[whole] = self._counts.get(whole, 0) + 1

    def end_window(self) -> None:
        """Begin a new window: what was kept since the last one is the last from now on."""
        self._last = summarize(sorted(self._counts.items()), self._sum)
        self._ended = True
        self._counts.clear()
        self._sum = 0

    @property
    def windowed(self) -> bool:
        """Whether a window has ended."""
        return self._ended

    @property
    def last(self) -> Summary | None:
        """The last window, `None` if nothing came in it."""
        return self._last


class ScopeRegistry:
    """The metrics of one thing; asking for a name again gives the same metric."""

    __slots__ = ("_counters", "_gauges", "_scope", "_stats")

    def __init__(self, scope: tuple[str, ...]) -> None:
        self._scope = scope
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Callable[[], float]] = {}
        self._stats: dict[str, Recorder] = {}

    def counter(self, name: str) -> Counter:
        """Give the counter of this name, at 0 if it is new."""
        return self._counters.setdefault(name, Counter())

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Show what `read` gives whenever somebody looks."""
        self._gauges[name] = read

    def stat(self, name: str) -> Recorder:
        """Give the distribution of this name."""
        return self._stats.setdefault(name, Recorder())

    def counted(self) -> Counted:
        """Give everything as it is now."""
        return Counted(
            self._scope,
            {name: counter.count for name, counter in self._counters.items()},
            {name: read() for name, read in self._gauges.items()},
            {name: stat.last for name, stat in self._stats.items() if stat.windowed},
        )

    def end_windows(self) -> None:
        """Begin a new window of every distribution."""
        for stat in self._stats.values():
            stat.end_window()


class Registry:
    """All that the Python part of a process counts; reading it gives `Metrics`."""

    def __init__(self) -> None:
        self._scopes: dict[tuple[str, ...], ScopeRegistry] = {}

    def scope(self, *parts: str) -> ScopeRegistry:
        """Give the metrics below `parts`, e.g. `namer`, `#/io.l5d.fs`."""
        return self._scopes.setdefault(parts, ScopeRegistry(parts))

    def remove(self, *parts: str) -> None:
        """Forget the metrics of a thing that is gone."""
        self._scopes.pop(parts, None)

    def end_windows(self) -> None:
        """Begin a new window of every distribution."""
        for scope in self._scopes.values():
            scope.end_windows()

    def __iter__(self) -> Iterator[Counted]:
        return iter([scope.counted() for scope in self._scopes.values()])
