"""What one configuration has that another has not: the line that a reload writes to the log."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from biandou.config.linker import LinkerConfig
from biandou.config.listening import show_address
from biandou.config.namerd import NamerdConfig
from biandou.kinds import kind_name

MAX_NAMES: Final = 20
"""So many things of a sort are named."""

Things = Mapping[Hashable, tuple[str, Any]]
"""What it is called and what is written of it, by what tells it from others."""


@dataclass(frozen=True, slots=True)
class Differences:
    """Routers, servers, interfaces, namers, telemeters and the admin server, by what became of them."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def __str__(self) -> str:
        sorts = {"added": self.added, "changed": self.changed, "removed": self.removed, "kept": self.kept}
        said = [f"{sort} {_listed(names)}" for sort, names in sorts.items() if names]
        if not (self.added or self.changed or self.removed):
            said.insert(0, "nothing differs")
        return "; ".join(said)


def differences(former: LinkerConfig, config: LinkerConfig) -> Differences:
    """Compare two configurations of a linker."""
    return _compare(_linker(former), _linker(config))


def namerd_differences(former: NamerdConfig, config: NamerdConfig) -> Differences:
    """Compare two configurations of a namerd."""
    return _compare(_namerd(former), _namerd(config))


def _compare(before: Things, after: Things) -> Differences:
    stayed = [key for key in after if key in before]
    return Differences(
        added=tuple(after[key][0] for key in after if key not in before),
        changed=tuple(after[key][0] for key in stayed if after[key][1] != before[key][1]),
        removed=tuple(before[key][0] for key in before if key not in after),
        kept=tuple(after[key][0] for key in stayed if after[key][1] == before[key][1]),
    )


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


class _Listed:
    """Things, two of a name being told apart by their order."""

    def __init__(self) -> None:
        self.things: dict[Hashable, tuple[str, Any]] = {}

    def add(self, key: tuple[Hashable, ...], name: str, written: Any) -> None:
        number = 0
        while (*key, number) in self.things:
            number += 1
        self.things[(*key, number)] = name, written

    def add_shared(self, config: LinkerConfig | NamerdConfig) -> None:
        """Add what both processes have."""
        for namer in config.namers:
            self.add(("namer", namer.full_prefix), f"namer {namer.full_prefix}", namer)
        for telemeter in config.telemetry:
            name = kind_name(type(telemeter))
            self.add(("telemeter", name), f"telemeter {name}", telemeter)
        self.add(("admin",), "admin", config.admin)


def _linker(config: LinkerConfig) -> Things:
    listed = _Listed()
    for router in config.routers:
        listed.add(("router", router.name), f"router {router.name}", msgspec.structs.replace(router, servers=()))
        for server in router.servers:
            place = show_address(server.ip, server.port)
            listed.add(("server", server.ip, server.port), f"server {place}", (router.name, server))
    listed.add_shared(config)
    return listed.things


def _namerd(config: NamerdConfig) -> Things:
    listed = _Listed()
    listed.add(("storage",), f"storage {kind_name(type(config.storage))}", config.storage)
    for interface in config.interfaces:
        name = kind_name(type(interface))
        place = show_address(interface.ip, interface.port)
        listed.add((name, interface.ip, interface.port), f"interface {name} on {place}", interface)
    listed.add_shared(config)
    return listed.things
