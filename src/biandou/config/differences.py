"""What one configuration has that another has not: the line that a reload writes to the log."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from biandou.config.linker import LinkerConfig
from biandou.kinds import kind_name

MAX_NAMES: Final = 20
"""So many things of a sort are named."""

Things = Mapping[Hashable, tuple[str, Any]]
"""What it is called and what is written of it, by what tells it from others."""


@dataclass(frozen=True, slots=True)
class Differences:
    """Routers, servers, namers, telemeters and the admin server, by what became of them; each is called what it is."""

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
    """Compare two configurations."""
    before, after = _things(former), _things(config)
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


def _things(config: LinkerConfig) -> Things:
    things: dict[Hashable, tuple[str, Any]] = {}

    def add(key: tuple[Hashable, ...], name: str, written: Any) -> None:
        # Two of a name are told apart by their order.
        number = 0
        while (*key, number) in things:
            number += 1
        things[(*key, number)] = name, written

    for router in config.routers:
        add(("router", router.name), f"router {router.name}", msgspec.structs.replace(router, servers=()))
        for server in router.servers:
            place = f"[{server.ip}]" if ":" in server.ip else server.ip
            add(("server", server.ip, server.port), f"server {place}:{server.port}", (router.name, server))
    for namer in config.namers:
        add(("namer", namer.full_prefix), f"namer {namer.full_prefix}", namer)
    for telemeter in config.telemetry:
        name = kind_name(type(telemeter))
        add(("telemeter", name), f"telemeter {name}", telemeter)
    add(("admin",), "admin", config.admin)
    return things
