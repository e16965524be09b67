"""What every telemeter is: configuration that an operator writes, for an exporter."""

from __future__ import annotations

from biandou.kinds import Kind


class TelemeterKind(Kind, frozen=True, kw_only=True):
    """The keys that all telemeters have (reference/linker.md §8.1)."""

    experimental: bool | None = None
