"""What namerd keeps in its state file: what registries have said."""

from __future__ import annotations

import msgspec

from biandou.clients.kept import KEPT, Said
from biandou.config.namerd import NamerdConfig
from biandou.config.state_keeper import StateKeeper, slowly
from biandou.config.state_on_disk import StateOnDisk


class KnownState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in the file."""

    said: list[Said] = []


def state_on_disk(config: NamerdConfig) -> StateOnDisk[KnownState] | None:
    """Give the file that a configuration wants, if it wants any, and go by its other keys."""
    settings = config.state_file
    KEPT.records.max_age_secs = settings.max_age_secs
    KEPT.patience_seconds = settings.patience_ms / 1000
    port = next((interface.port for interface in config.interfaces), 0)
    path = settings.place("namerd", port)
    return None if path is None else StateOnDisk(path, "namerd", KnownState)


def keeper(config: NamerdConfig) -> StateKeeper[KnownState]:
    """Give what keeps it."""
    return StateKeeper(state_on_disk(config), _gather, lambda: KEPT.changes)


def recall(state: KnownState) -> None:
    """Take in what a file says."""
    for said in state.said:
        KEPT.records.keep(said.key, said)


async def _gather() -> KnownState | None:
    said = KEPT.records.with_newer(await slowly(KEPT.said(KEPT.records.now())))
    return KnownState(said=said) if said else None
