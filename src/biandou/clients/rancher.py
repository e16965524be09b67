"""A client of Rancher's metadata service, `2015-12-19`: its version, and all containers (reference/naming.md §1.11).

Rancher 1.6's page "Metadata Service" has the containers' fields; waiting for a version is in `rancher-metadata`'s own
description (`?wait=true&value=<known>&maxWait=<seconds>`).
"""

from __future__ import annotations

from typing import Final

import msgspec

from biandou.clients.registry_http import (
    ANSWER_SECONDS,
    Answer,
    RegistryHttp,
    Request,
    bounded,
    decoded,
    refuse,
)

API: Final = "/2015-12-19"
INITIAL: Final = "initial"
"""The version that nothing has: an answer comes at once."""

_MAX_VERSION: Final = 256


class Container(msgspec.Struct, frozen=True):
    """A container, as far as it tells where a service is."""

    state: str | None = None
    primary_ip: str | None = None
    stack_name: str | None = None
    service_name: str | None = None


class Rancher(RegistryHttp):
    """The metadata service at `host`:`port`, which may be asked to wait `max_wait` seconds for a change."""

    def __init__(self, host: str, port: int, max_wait: int) -> None:
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        super().__init__(f"rancher at {host}:{port}")
        self._base = f"http://{host}:{port}"
        self._max_wait = max_wait

    async def version(self, known: str | None) -> str:
        """Give the version as soon as it is another than `known`, or after `max_wait`; raises `RegistryError`."""
        query = {"wait": "true", "maxWait": str(self._max_wait), "value": known or INITIAL}
        seconds = self._max_wait + ANSWER_SECONDS
        answer = self._good(await self.ask(self._base, Request(f"{API}/version", query, seconds=seconds)))
        version = decoded(self.name, answer.body, str)
        return version[:_MAX_VERSION]

    async def containers(self) -> list[Container]:
        """Give all containers; raises `RegistryError`."""
        answer = self._good(await self.ask(self._base, Request(f"{API}/containers")))
        found = decoded(self.name, answer.body, list[Container])
        bounded(self.name, len(found))
        return found

    def _good(self, answer: Answer) -> Answer:
        if answer.status != 200:
            raise refuse(self.name, answer)
        return answer
