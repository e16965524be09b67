"""A client of Eureka's REST operations: all instances, and what has changed since (Netflix's wiki, same title).

A delta is what happened in the last three minutes, with the hash code of all instances as they are now: how many there
are of each status. What the changes come to must have the same hash code; if not, all is asked for anew, as Eureka's
own client does (`DiscoveryClient.getAndUpdateDelta`, `Applications.getReconcileHashCode`). A hash code does not tell
everything, so all is asked for now and then in any case.
"""

from __future__ import annotations

import base64
import math
import ssl
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from biandou.clients.registry_http import (
    Answer,
    RegistryError,
    RegistryHttp,
    Request,
    Servers,
    bounded,
    decoded,
    refuse,
)

_GONE: Final = "DELETED"


@dataclass(frozen=True, slots=True)
class Registered:
    """An instance; a port is `None` if it is not enabled."""

    id: str
    status: str
    host_name: str
    ip: str
    port: int | None
    secure_port: int | None
    metadata: tuple[tuple[str, str], ...]


Applications = Mapping[str, Mapping[str, Registered]]
"""Instances by application, in upper case, and id."""


@dataclass(frozen=True, slots=True)
class News:
    """What Eureka knows now; `corrected` says that a delta should have told of it before."""

    applications: Applications
    hash_code: str
    corrected: bool


class Eureka(RegistryHttp):
    """Servers that know the same; `user` is `name:password`.

    All is asked for about every `full_seconds`, whatever the deltas say.
    """

    def __init__(
        self,
        servers: Sequence[str],
        user: str | None = None,
        tls: ssl.SSLContext | None = None,
        tls_name: str | None = None,
        *,
        delta: bool = True,
        full_seconds: float = math.inf,
    ) -> None:
        super().__init__(f"eureka at {', '.join(servers)}", tls, tls_name)
        self._servers = Servers([server.rstrip("/") for server in servers])
        self._headers: dict[str, str] = {}
        if user is not None:
            self._headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
        self._deltas = delta
        self.full_seconds = full_seconds

    def reader(self) -> Reader:
        """Make what asks again and again."""
        return Reader(self, deltas=self._deltas)

    async def apps(self, base: str, path: str, tag: str | None = None) -> Answer:
        """Ask one server; any answer is given. Raises `RegistryError`."""
        headers = self._headers if tag is None else {**self._headers, "If-None-Match": tag}
        return await self.ask(base, Request(path, headers=headers))

    @property
    def servers(self) -> Servers:
        """Whom to ask."""
        return self._servers


class Reader:
    """Keeps what Eureka said last, so that the next answer may be short."""

    def __init__(self, eureka: Eureka, *, deltas: bool) -> None:
        self._eureka = eureka
        self._deltas = deltas
        self._known: Applications | None = None
        self._from = ""
        self._tag: str | None = None
        self._full_at = 0.0

    async def read(self) -> News | None:
        """Give what is known now, `None` if all is as it was; raises `RegistryError`."""
        return await self._eureka.servers.any(self._read)

    async def _read(self, base: str) -> News | None:
        before, own = self._known, base == self._from
        due = time.monotonic() - self._full_at >= self._eureka.full_seconds
        followed = False
        if self._deltas and before is not None and own:
            answer = await self._eureka.apps(base, "/apps/delta")
            if answer.status == 200:
                told = self._decoded(answer)
                changed = _applied(before, told)
                followed = told.apps__hashcode == hash_code(changed)
                if followed and changed != before:
                    self._known, self._tag = changed, None
                if followed and not due:
                    return None if changed == before else News(changed, hash_code(changed), corrected=False)
            elif answer.status not in (403, 404):
                raise refuse(self._eureka.name, answer)
            # Otherwise deltas are turned off there, or some were missed.
        answer = await self._eureka.apps(base, "/apps", self._tag if own else None)
        if answer.status == 304 and own and self._tag is not None:
            self._full_at = time.monotonic()
            return None
        if answer.status != 200:
            raise refuse(self._eureka.name, answer)
        told = self._decoded(answer)
        found = _applied({}, told)
        # What another server says may be older or newer, and deltas that did not come out even told of a change.
        missed = own and followed and found != self._known
        self._known, self._from, self._tag, self._full_at = found, base, answer.tag, time.monotonic()
        return None if found == before else News(found, told.apps__hashcode or hash_code(found), missed)

    def _decoded(self, answer: Answer) -> _Applications:
        told = decoded(self._eureka.name, answer.body, _Told).applications
        if told.application is None and told.apps__hashcode is None:
            # Without any instance there is still a hash code, an empty one.
            raise RegistryError(f"{self._eureka.name}: an answer without applications")
        applications = told.applications
        bounded(self._eureka.name, sum(len(one.instances) for one in applications))
        return told


def hash_code(applications: Applications) -> str:
    """Give how many instances there are of each status, as Eureka writes it (`DOWN_1_UP_4_`)."""
    counts = Counter(one.status for instances in applications.values() for one in instances.values())
    return "".join(f"{status}_{counts[status]}_" for status in sorted(counts))


def _applied(known: Applications, told: _Applications) -> Applications:
    """Give what is known after changes, of which all instances are those that begin with nothing."""
    after = dict(known)
    for application in told.applications:
        name = application.name.upper()
        instances = dict(after.get(name, {}))
        for one in application.instances:
            registered = one.registered()
            if one.action == _GONE:
                instances.pop(registered.id, None)
            else:
                instances[registered.id] = registered
        if instances:
            after[name] = instances
        else:
            after.pop(name, None)
    return after


# ── What Eureka says ─────────────────────────────────────────────────────────────────────────────────────────────────


class _Port(msgspec.Struct):
    number: int = msgspec.field(name="$", default=0)
    enabled: bool = msgspec.field(name="@enabled", default=False)

    @property
    def open(self) -> int | None:
        return self.number if self.enabled and 1 <= self.number <= 65535 else None


class _Instance(msgspec.Struct):
    status: str
    id: str | None = msgspec.field(name="instanceId", default=None)
    host_name: str = msgspec.field(name="hostName", default="")
    ip: str | None = msgspec.field(name="ipAddr", default=None)
    port: _Port = msgspec.field(default_factory=_Port)
    secure_port: _Port = msgspec.field(name="securePort", default_factory=_Port)
    action: str | None = msgspec.field(name="actionType", default=None)
    metadata: dict[str, Any] | None = None

    def registered(self) -> Registered:
        # Before version 1.1.143 the host was the id.
        id_ = self.id or self.host_name
        if not id_:
            raise RegistryError("eureka: an instance without an id")
        metadata = {key: value for key, value in (self.metadata or {}).items() if isinstance(value, str)}
        # An empty map comes with its Java class.
        metadata.pop("@class", None)
        ports = self.port.open, self.secure_port.open
        return Registered(id_, self.status, self.host_name, self.ip or "", *ports, tuple(sorted(metadata.items())))


class _Application(msgspec.Struct):
    name: str
    # A list of one is that one alone with some of Eureka's JSON writers.
    instance: list[_Instance] | _Instance | None = None

    @property
    def instances(self) -> list[_Instance]:
        found = self.instance
        return [found] if isinstance(found, _Instance) else found or []


class _Applications(msgspec.Struct):
    application: list[_Application] | _Application | None = None
    apps__hashcode: str | None = None

    @property
    def applications(self) -> list[_Application]:
        found = self.application
        return [found] if isinstance(found, _Application) else found or []


class _Told(msgspec.Struct):
    applications: _Applications
