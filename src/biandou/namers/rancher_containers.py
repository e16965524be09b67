"""What a name means in Rancher: the running containers of a service, at a port."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from biandou.clients.rancher import Container, Rancher
from biandou.clients.registry_access import RETRY, Instance, read_port
from biandou.dtab import NEG, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.live import Live
from biandou.namers.polled import Ask, Endpoints, Polled, Told, texts

if TYPE_CHECKING:
    from biandou.namers.rancher import RancherNamerKind

Tree = NameTree[Path | Bound]
Services = Mapping[tuple[str, str], tuple[str, ...]]
"""The addresses of a stack's service, in order; names are lower case."""

PORTS: Final = {"http": 80, "https": 443}
"""The names of ports that need not be configured (reference/naming.md §1.11)."""

LEAST_SECONDS: Final = 0.1
"""A version that changes all the time is followed no faster; neither is a service that does not wait."""

SAME_SECONDS: Final = 1.0

_NEGATIVE: Final[Live[Tree]] = Live.ok(NEG)
_CONTAINERS: Final = "containers"
_log = logging.getLogger(__name__)


class RancherNamer:
    """Names of the form `/<port>/<stack>/<service>[/<residual>]`."""

    def __init__(self, kind: RancherNamerKind, rancher: Rancher) -> None:
        self.prefix = kind.full_prefix
        self._ports = {**PORTS, **kind.port_mappings}
        self._rancher = rancher
        self._reconcile_seconds = kind.reconcile_seconds or math.inf
        self._services: Polled[Services] = Polled(
            rancher,
            self._ask,
            _Waits(),
            _shown,
            kind.registry(rancher.name),
            form=Services,
            size=_size,
            fails_at_first=False,
        )
        self._endpoints = Endpoints()

    def lookup(self, path: Path) -> Live[Tree]:
        """Give a leaf while containers of the service run, else a negative tree."""
        names = texts(path, 3)
        if names is None:
            return _NEGATIVE
        port = self._port(names[0])
        if port is None:
            _log.debug("%s: %s is no port", self.prefix, names[0])
            return _NEGATIVE
        service = names[1].lower(), names[2].lower()
        found = self._services.get(_CONTAINERS).map(lambda known: known.get(service, ()))
        return self._endpoints.tree(
            found.map(lambda hosts: tuple(Instance(host, port) for host in hosts)),
            lambda: self._services.origin(_CONTAINERS),
            self.prefix + path.take(3),
            path.drop(3),
        )

    def state(self) -> dict[str, Any]:
        """Give what is followed now."""
        return self._services.state()

    def source(self, client: Path) -> str:
        """Give where a client name's endpoints are."""
        names = "/".join(part.decode(errors="replace") for part in client.drop(len(self.prefix)).segments)
        return f"{self._rancher.name}: {names}"

    def _port(self, text: str) -> int | None:
        if text.isascii() and text.isdecimal():
            return read_port(text)
        return self._ports.get(text)

    def _ask(self, _name: str) -> tuple[str, Ask[Services]]:
        known: str | None = None
        listed = asked = 0.0

        async def ask() -> Told[Services] | None:
            nonlocal known, listed, asked
            # One that does not wait is not asked without a pause.
            await asyncio.sleep(max(0.0, asked + LEAST_SECONDS - time.monotonic()))
            asked = time.monotonic()
            version = await self._rancher.version(known)
            same = version == known
            if same and time.monotonic() - listed < self._reconcile_seconds:
                await asyncio.sleep(max(0.0, asked + SAME_SECONDS - time.monotonic()))
                return None
            services = _services(await self._rancher.containers())
            known, listed = version, time.monotonic()
            return Told(services, version, corrected=same)

        return "/2015-12-19/version, /2015-12-19/containers", ask


class _Waits:
    """None after an answer: asking is waiting."""

    def wait(self, failures: int) -> float:
        return RETRY.wait(failures) if failures else 0.0


def _services(containers: list[Container]) -> Services:
    found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for one in containers:
        if one.state == "running" and one.primary_ip and one.stack_name and one.service_name:
            found[one.stack_name.lower(), one.service_name.lower()].add(one.primary_ip)
    return {service: tuple(sorted(hosts)) for service, hosts in found.items()}


def _size(services: Services) -> int:
    return sum(map(len, services.values()))


def _shown(services: Services) -> dict[str, list[str]]:
    return {"/".join(service): list(hosts) for service, hosts in sorted(services.items())}
