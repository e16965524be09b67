"""What namerd keeps in its state file: what registries have said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from biandou.clients.kept import KEPT, Said
from biandou.config.namerd import NamerdConfig
from biandou.config.state_keeper import StateKeeper
from biandou.config.state_on_disk import StateOnDisk


def state_on_disk(config: NamerdConfig) -> StateOnDisk[Said] | None:
    """Give the file that a configuration wants, if it wants any, and go by its other keys."""
    settings = config.state_file
    KEPT.records.max_age_secs = settings.max_age_secs
    KEPT.patience_seconds = settings.patience_ms / 1000
    port = next((interface.port for interface in config.interfaces), 0)
    path = settings.place("namerd", port)
    return None if path is None else StateOnDisk(path, "namerd", Said)


def keeper(config: NamerdConfig) -> StateKeeper[Said]:
    """Give what keeps it."""
    return StateKeeper(state_on_disk(config), _entries, lambda: KEPT.changes)


def recall(found: Iterable[Said]) -> None:
    """Take in what a file says."""
    for said in found:
        KEPT.records.keep(said.key, said)


def _entries() -> Iterator[Said]:
    return chain(KEPT.said(KEPT.records.now()), KEPT.records.latest())
