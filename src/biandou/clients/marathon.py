"""A client of Marathon's API, version 2: which apps there are, and the tasks of each (reference/naming.md §1.7)."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from biandou.clients.marathon_login import Basic, Login, ServiceAccount
from biandou.clients.registry_access import Instance
from biandou.clients.registry_http import (
    Answer,
    RegistryError,
    RegistryForbidden,
    RegistryHttp,
    Request,
    bounded,
    decoded,
    refuse,
)


class Marathon(RegistryHttp):
    """The Marathon whose `Host` is `host`; where that is, each question says."""

    def __init__(
        self,
        name: str,
        host: str,
        *,
        prefix: str = "",
        login: Login | None = None,
        tls: ssl.SSLContext | None = None,
        tls_name: str | None = None,
    ) -> None:
        super().__init__(name, tls, tls_name)
        self._host = host
        self._prefix = prefix
        self._login = login
        self._token: str | None = None
        self._entering = asyncio.Lock()

    async def apps(self, servers: Sequence[str]) -> frozenset[str]:
        """Give the ids of all apps, lower case, as `/group/app`; raises `RegistryError`."""
        answer = await self._authorized(servers, Request(f"{self._prefix}/v2/apps"))
        if answer.status != 200:
            raise refuse(self.name, answer)
        found = decoded(self.name, answer.body, _Apps).apps
        bounded(self.name, len(found))
        return frozenset(app.id.lower() for app in found)

    async def tasks(self, servers: Sequence[str], app: str, *, healthy: bool) -> list[Instance]:
        """Give where an app is, none if it is not known; `healthy` leaves out tasks that do not run or are ill."""
        path = "/".join(quote(part, safe="") for part in app.split("/"))
        answer = await self._authorized(servers, Request(f"{self._prefix}/v2/apps{path}", {"embed": "app.tasks"}))
        if answer.status == 404 and _says_why(answer):
            return []
        if answer.status != 200:
            raise refuse(self.name, answer)
        known = decoded(self.name, answer.body, _Told).app
        bounded(self.name, len(known.tasks or ()))
        found = (_where(known, task) for task in known.tasks or () if not healthy or _well(known, task))
        return [instance for instance in found if instance is not None]

    async def _authorized(self, servers: Sequence[str], request: Request) -> Answer:
        """Ask; log in if need be, again if the token is not taken any more."""
        if not servers:
            raise RegistryError(f"{self.name}: no address is known")
        server = random.choice(servers)  # noqa: S311 - spreads load, no secret
        token = self._token
        answer = await self.ask(server, self._with(request))
        if answer.status == 401 and isinstance(self._login, ServiceAccount):
            async with self._entering:
                # Another question may have logged in while this one waited.
                if self._token == token:
                    self._token = None
                    self._token = await self._enter(server, self._login)
            answer = await self.ask(server, self._with(request))
        return answer

    def _with(self, request: Request) -> Request:
        headers = {"Host": self._host}
        if isinstance(self._login, Basic):
            headers["Authorization"] = self._login.header
        elif self._token is not None:
            headers["Authorization"] = f"token={self._token}"
        return Request(request.path, request.query, headers)

    async def _enter(self, server: str, account: ServiceAccount) -> str:
        headers = {"Host": self._host, "Content-Type": "application/json"}
        answer = await self.ask(server, Request(account.path, headers=headers, body=account.question()))
        if answer.status != 200:
            raise refuse(f"{self.name}: login", answer)
        token = decoded(f"{self.name}: login", answer.body, _Entered).token
        if not token or not token.isascii() or not token.isprintable():
            raise RegistryForbidden(f"{self.name}: login: no token")
        return token


# ── What Marathon says ───────────────────────────────────────────────────────────────────────────────────────────────


class _Id(msgspec.Struct):
    id: str


class _Apps(msgspec.Struct):
    apps: list[_Id]


class _Ip(msgspec.Struct, rename="camel"):
    ip_address: str = ""


class _Result(msgspec.Struct):
    alive: bool | None = None


class _Task(msgspec.Struct, rename="camel"):
    host: str | None = None
    ports: list[int] | None = None
    state: str | None = None
    ip_addresses: list[_Ip] | None = None
    health_check_results: list[_Result | None] | None = None


class _DiscoveryPort(msgspec.Struct):
    number: int | None = None


class _Discovery(msgspec.Struct):
    ports: list[_DiscoveryPort] | None = None


class _AppIp(msgspec.Struct):
    discovery: _Discovery | None = None


class _App(msgspec.Struct, rename="camel"):
    tasks: list[_Task] | None = None
    health_checks: list[Any] | None = None
    ip_address: _AppIp | None = None


class _Told(msgspec.Struct):
    app: _App


class _Entered(msgspec.Struct):
    token: str


class _Refused(msgspec.Struct):
    message: str


def _says_why(answer: Answer) -> bool:
    """Whether Marathon itself says that there is no such app, and not somebody on the way to it."""
    try:
        msgspec.json.decode(answer.body, type=_Refused)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _where(app: _App, task: _Task) -> Instance | None:
    discovery = app.ip_address.discovery if app.ip_address is not None else None
    first = discovery.ports[0].number if discovery is not None and discovery.ports else None
    if first is not None:
        host, port = task.ip_addresses[0].ip_address if task.ip_addresses else "", first
    else:
        host, port = task.host or "", task.ports[0] if task.ports else 0
    return Instance(host, port) if host and 1 <= port <= 65535 else None


def _well(app: _App, task: _Task) -> bool:
    """Whether a task runs, and as many checks as its app has say that it lives."""
    alive = sum(result is not None and result.alive is True for result in task.health_check_results or ())
    return task.state == "TASK_RUNNING" and alive >= len(app.health_checks or ())
