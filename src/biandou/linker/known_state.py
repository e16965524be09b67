"""What a linker keeps in its state file: names, clients, and what registries have said."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from itertools import chain

import msgspec

from biandou.clients.kept import KEPT, Said
from biandou.config.linker import LinkerConfig
from biandou.config.state_keeper import StateKeeper
from biandou.config.state_on_disk import StateOnDisk
from biandou.linker.binder import Binder
from biandou.linker.knowledge import Knowledge, KnownClient, KnownName

_log = logging.getLogger(__name__)


class Configurations(msgspec.Struct, frozen=True, tag="routers"):
    """The configurations that names and clients were known by, by the router's label."""

    routers: dict[str, str]


Entry = Configurations | KnownName | KnownClient | Said
"""A line of the file."""


def state_on_disk(config: LinkerConfig) -> StateOnDisk[Entry] | None:
    """Give the file that a configuration wants, if it wants any."""
    port = next((server.port for router in config.routers for server in router.servers), 0)
    path = config.state_file.place("linker", port)
    return None if path is None else StateOnDisk(path, "linker", Entry)


def keeper(config: LinkerConfig, binder: Binder) -> StateKeeper[Entry]:
    """Give what keeps what this binder knows."""
    return StateKeeper(state_on_disk(config), lambda: entries(binder), lambda: binder.knowledge.changes + KEPT.changes)


def recall(knowledge: Knowledge, found: Sequence[Entry]) -> None:
    """Take what a file says into the knowledge, as far as it was known by the same configuration."""
    now = knowledge.configurations
    same: set[str] = set()
    for configurations in (entry for entry in found if isinstance(entry, Configurations)):
        before = configurations.routers
        same = {label for label, known_by in before.items() if known_by == now.get(label)}
        for label in sorted((now.keys() & before.keys()) - same):
            _log.info("what the state file says of the router %s was known by another configuration", label)
    for entry in found:
        match entry:
            case KnownName() if entry.router in same:
                knowledge.names.keep(entry.key, entry)
            case KnownClient() if entry.router in same:
                knowledge.clients.keep(entry.key, entry)
            case Said():
                KEPT.records.keep(entry.key, entry)


def entries(binder: Binder) -> Iterator[Entry]:
    """Give what is known now, then what was before, the latest first."""
    knowledge = binder.knowledge
    now = knowledge.now()
    nothing = True
    for entry in chain[Entry](
        binder.known_clients(now),
        binder.known_names(now),
        KEPT.said(now),
        knowledge.clients.latest(),
        knowledge.names.latest(),
        KEPT.records.latest(),
    ):
        if nothing:
            nothing = False
            yield Configurations(knowledge.configurations)
        yield entry


def configurations(config: LinkerConfig) -> dict[str, str]:
    """Give for each router's label what tells its names' meaning from that by another configuration."""
    written = config.written
    shown = written.get("routers", [])
    found = {}
    for index, router in enumerate(config.routers):
        own = shown[index] if index < len(shown) else {}
        meaning = [written.get("namers"), own.get("dtab"), own.get("interpreter")]
        found[router.name] = hashlib.sha256(json.dumps(meaning, sort_keys=True, default=str).encode()).hexdigest()
    return found
