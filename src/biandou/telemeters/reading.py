"""Everything that a process has counted, read at one moment, for one answer of an exporter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from biandou.telemeters.model import Metrics
from biandou.telemeters.window import Summary, Windows


@dataclass(frozen=True, slots=True)
class Reading:
    """The metrics of every scope; distributions are shown as their last window was."""

    scopes: Sequence[Metrics]
    windows: Windows

    def summaries(self, metrics: Metrics) -> Iterator[tuple[str, Summary]]:
        """Give the last window of each distribution of a scope; one without a window yet is left out."""
        if metrics.stats:
            scope = tuple(metrics.scope)
            for name in metrics.stats:
                summary = self.windows.get(scope, name)
                if summary is not None:
                    yield name, summary
