"""A client of Nacos's open API, versions 1 and 2: the instances of a service, and logging in.

From "Open API Guide" of nacos.io (1.x: `/v1/ns/instance/list`; 2.x: `/v2/ns/instance/list`, whose answers are in
`{code, message, data}`) and "Authorization" there (`/v1/auth/login`, `accessToken`, `tokenTtl`).
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlencode

import msgspec

from biandou.clients.registry_http import (
    Answer,
    RegistryError,
    RegistryForbidden,
    RegistryHttp,
    Request,
    Servers,
    bounded,
    decoded,
    refuse,
)

Version = Literal["v1", "v2"]

RENEW_SHARE: Final = 0.9
"""A token is renewed when so much of its time is over, as Nacos's own client does."""

TOKEN_SECONDS: Final = 18_000.0
"""How long a token lasts whose answer does not say, which is Nacos's default."""

_FORBIDDEN: Final = 10001
_UNKNOWN: Final = frozenset({20004, 21008})
"""Codes of version 2 for a service that is not there."""


class Host(msgspec.Struct, frozen=True, rename="camel"):
    """An instance."""

    ip: str
    port: int
    weight: float = 1.0
    healthy: bool = True
    enabled: bool = True
    cluster_name: str = ""
    metadata: dict[str, Any] | None = None


class _Service(msgspec.Struct, rename="camel"):
    hosts: list[Host] | None = None
    cache_millis: float | None = None
    checksum: str | None = None
    last_ref_time: int | None = None


class _Wrapped(msgspec.Struct):
    code: int
    message: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Entered(msgspec.Struct, rename="camel"):
    access_token: str
    token_ttl: float | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """The instances of a service; `cache_millis` is how long the server wants them to be good for."""

    hosts: tuple[Host, ...]
    cache_millis: float | None = None
    version: str | None = None


class Nacos(RegistryHttp):
    """Servers that know the same, `…/nacos` each; `user` is a name and a password."""

    def __init__(
        self,
        servers: Sequence[str],
        version: Version,
        user: tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        tls_name: str | None = None,
    ) -> None:
        super().__init__(f"nacos at {', '.join(servers)}", tls, tls_name)
        self._servers = Servers([server.rstrip("/") for server in servers])
        self._version = version
        self._user = user
        self._token: str | None = None
        self._renew_at = 0.0
        self._entering = asyncio.Lock()

    async def instances(self, query: Mapping[str, str]) -> Listed:
        """Give a service's instances, none if it is not known; raises `RegistryError`."""
        return await self._servers.any(lambda base: self._instances(base, query))

    async def _instances(self, base: str, query: Mapping[str, str]) -> Listed:
        used = await self._entered(base, None) if self._user is not None else None
        answer = await self._list(base, query, used)
        if self._user is not None and self._denied(answer):
            # A server that was started anew may know of no token that it gave.
            answer = await self._list(base, query, await self._entered(base, used))
        if answer.status == 404 and self._version == "v2" and _says_unknown(answer):
            return Listed(())
        if answer.status != 200 or self._denied(answer):
            raise (
                RegistryForbidden(f"{self.name}: access denied") if self._denied(answer) else refuse(self.name, answer)
            )
        return self._listed(answer)

    async def _list(self, base: str, query: Mapping[str, str], token: str | None) -> Answer:
        whole = dict(query) if token is None else {**query, "accessToken": token}
        return await self.ask(base, Request(f"/{self._version}/ns/instance/list", whole))

    def _denied(self, answer: Answer) -> bool:
        if answer.status in (401, 403):
            return True
        # Of version 2 the code counts as well.
        wrapped = self._version == "v2" and answer.status == 200
        return wrapped and decoded(self.name, answer.body, _Wrapped).code == _FORBIDDEN

    def _listed(self, answer: Answer) -> Listed:
        body = answer.body
        if self._version == "v2":
            wrapped = decoded(self.name, body, _Wrapped)
            if wrapped.code in _UNKNOWN:
                return Listed(())
            if wrapped.code != 0:
                raise RegistryError(f"{self.name}: {wrapped.code} {(wrapped.message or '')[:512]}")
            body = bytes(wrapped.data)
        service = decoded(self.name, body, _Service)
        if service.hosts is None:
            # An answer without the list is none, and not an empty list.
            raise RegistryError(f"{self.name}: an answer without hosts")
        bounded(self.name, len(service.hosts))
        told = service.checksum or service.last_ref_time
        return Listed(tuple(service.hosts), service.cache_millis, None if told is None else str(told)[:256])

    async def _entered(self, base: str, refused: str | None) -> str:
        """Give a token that is still good and is not the one that was refused; log in if there is none."""
        async with self._entering:
            token = self._token
            if token is None or token == refused or time.monotonic() >= self._renew_at:
                token = self._token = await self._enter(base)
            return token

    async def _enter(self, base: str) -> str:
        assert self._user is not None  # noqa: S101 - only asked with one
        form = urlencode({"username": self._user[0], "password": self._user[1]}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await self.ask(base, Request("/v1/auth/login", headers=headers, body=form))
        if answer.status != 200:
            raise refuse(f"{self.name}: login", answer)
        entered = decoded(f"{self.name}: login", answer.body, _Entered)
        if not entered.access_token:
            raise RegistryForbidden(f"{self.name}: login: no token")
        seconds = entered.token_ttl if entered.token_ttl and entered.token_ttl > 0 else TOKEN_SECONDS
        self._renew_at = time.monotonic() + seconds * RENEW_SHARE
        return entered.access_token


def _says_unknown(answer: Answer) -> bool:
    """Whether Nacos itself says that there is no such service: who is in front of it, or in its place, has no code."""
    try:
        return msgspec.json.decode(answer.body, type=_Wrapped).code in _UNKNOWN
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
