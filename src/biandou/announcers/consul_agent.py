"""Instances at a Consul agent: registered, their checks passed on time, registered again when the agent has lost them.

From Consul's documentation of its HTTP API: agent/service (register, deregister) and agent/check (pass).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import TYPE_CHECKING, Any, Final

from biandou.announcers.interface import AnnounceError
from biandou.clients.consul import Consul, ConsulError, segment
from biandou.clients.retry import Retry
from biandou.dtab import Path

if TYPE_CHECKING:
    from biandou.announcers.consul import ConsulAnnouncerKind

PASSES: Final = 3
"""So often a check is passed within the time that Consul waits for it."""

_DONE: Final = 200

_log = logging.getLogger(__name__)


class AgentAnnouncer:
    """All instances that one linker has at an agent."""

    scheme = "consul"

    def __init__(self, kind: ConsulAnnouncerKind, consul: Consul) -> None:
        self._kind = kind
        self._consul = consul
        self.name = f"consul at {consul.address}"

    def registration(self, name: Path, ip: str, port: int) -> Instance:
        """Give the instance of the service `name` that this address is."""
        return Instance(self._kind, self._consul, name.segments[0].decode(), ip, port)


class Instance:
    """An instance of a service; its id is made of service and address, so that it replaces itself after a restart."""

    retry = Retry(0.5, 10.0)

    def __init__(self, kind: ConsulAnnouncerKind, consul: Consul, service: str, ip: str, port: int) -> None:
        self._consul = consul
        self._pause = kind.ttl_seconds / PASSES
        self._id = f"biandou-{service}-{ip}-{port}"
        self._check = f"service:{self._id}"
        self._document = json.dumps(
            {
                "ID": self._id,
                "Name": service,
                "Address": ip,
                "Port": port,
                "Tags": list(kind.tags),
                "Check": {
                    "CheckID": self._check,
                    "Name": "the linker says so",
                    "TTL": f"{kind.ttl_seconds}s",
                    # So that nobody has to wait for the first pass.
                    "Status": "passing",
                    "DeregisterCriticalServiceAfter": f"{kind.forget_seconds}s",
                },
            }
        ).encode()
        self._open = contextlib.AsyncExitStack()
        self._begun = False

    async def register(self) -> str:
        """Register the instance in the place of one of the same id; gives the id."""
        if not self._begun:
            self._begun = True
            await self._open.enter_async_context(self._consul.opened())
        # Checks that somebody else has put there go.
        path = "/v1/agent/service/register"
        status = await self._put(path, {"replace-existing-checks": "true"}, self._document)
        if status != _DONE:
            # Another server than an agent, or none behind a proxy.
            raise AnnounceError(f"consul at {self._consul.address}: {path}: unexpected status {status}")
        return self._id

    async def hold(self) -> None:
        """Pass the check on time, until the agent does not know it any more."""
        while True:
            await asyncio.sleep(self._pause)
            if await self._put(f"/v1/agent/check/pass/{segment(self._check)}", {}, b"") != _DONE:
                _log.warning("consul at %s has lost %s: it is registered again", self._consul.address, self._id)
                return

    async def rest(self, seconds: float) -> None:
        """Wait so long."""
        await asyncio.sleep(seconds)

    async def withdraw(self) -> None:
        """Deregister the instance: it may be there even if no answer ever said so."""
        if not self._begun:
            return
        try:
            await self._put(f"/v1/agent/service/deregister/{segment(self._id)}", {}, b"")
        except AnnounceError as error:
            raise AnnounceError(f"{error}; its check becomes critical, and Consul forgets it") from error
        finally:
            self._begun = False
            await self._open.aclose()

    async def _put(self, path: str, query: dict[str, Any], document: bytes) -> int:
        """Ask, and give the status, 404 for what is not known; raises `AnnounceError` for any but 200, 404 and 409."""
        try:
            return (await self._consul.put(path, query, document)).status
        except ConsulError as error:
            raise AnnounceError(str(error)) from error
