"""What a linker keeps in its state file: names, clients, and what registries have said."""

from __future__ import annotations

import hashlib
import json
import logging

import msgspec

from biandou.clients.kept import KEPT, Said
from biandou.config.linker import LinkerConfig
from biandou.config.state_keeper import StateKeeper, slowly
from biandou.config.state_on_disk import StateOnDisk
from biandou.linker.binder import Binder
from biandou.linker.knowledge import Knowledge, KnownClient, KnownName

_log = logging.getLogger(__name__)


class KnownState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in the file; `routers` are the configurations that names and clients were known by."""

    routers: dict[str, str] = {}
    names: list[KnownName] = []
    clients: list[KnownClient] = []
    said: list[Said] = []


def state_on_disk(config: LinkerConfig) -> StateOnDisk[KnownState] | None:
    """Give the file that a configuration wants, if it wants any."""
    port = next((server.port for router in config.routers for server in router.servers), 0)
    path = config.state_file.place("linker", port)
    return None if path is None else StateOnDisk(path, "linker", KnownState)


def keeper(config: LinkerConfig, binder: Binder) -> StateKeeper[KnownState]:
    """Give what keeps what this binder knows."""
    return StateKeeper(state_on_disk(config), lambda: gather(binder), lambda: binder.knowledge.changes + KEPT.changes)


def recall(knowledge: Knowledge, state: KnownState) -> None:
    """Take what a file says into the knowledge, as far as it was known by the same configuration."""
    now = knowledge.configurations
    same = {label for label, known_by in state.routers.items() if known_by == now.get(label)}
    for name in state.names:
        if name.router in same:
            knowledge.names.keep(name.key, name)
    for client in state.clients:
        if client.router in same:
            knowledge.clients.keep(client.key, client)
    for said in state.said:
        KEPT.records.keep(said.key, said)
    for label in sorted(now.keys() & state.routers.keys() - same):
        _log.info("what the state file says of the router %s was known by another configuration", label)


async def gather(binder: Binder) -> KnownState | None:
    """Give what is known now, and what was before; `None` if that is nothing."""
    knowledge = binder.knowledge
    now = knowledge.now()
    clients = knowledge.clients.with_newer(await slowly((one.key, one) for one in binder.known_clients(now)))
    names = knowledge.names.with_newer(await slowly((one.key, one) for one in binder.known_names(now)))
    said = KEPT.records.with_newer(await slowly(KEPT.said(now)))
    if not clients and not names and not said:
        return None
    return KnownState(routers=knowledge.configurations, names=names, clients=clients, said=said)


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
