"""A client of etcd's version 3, over the JSON that every member speaks beside gRPC.

Keys, values and revisions only; no leases, no locks. Several members are one store: whichever answers is asked.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import aiohttp

from biandou.clients.http_trouble import trouble
from biandou.clients.sockets import lasting_socket

CONNECT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 4.0
MAX_LINE: Final = 256 * 1024 * 1024
"""How long an answer may be: a list holds every value below a prefix."""

MAX_OPERATIONS: Final = 100
"""How much one transaction does; etcd takes 128."""

Beside: TypeAlias = tuple[str, bytes] | None
"""Another key that is set by the same transaction, with its value."""

_LEADER: Final = {"Grpc-Metadata-hasleader": "true"}
"""A member that has lost its leader ends a watch instead of keeping it open and silent."""


class EtcdError(Exception):
    """etcd did not do what it was asked for."""


class EtcdAway(EtcdError):
    """No member answers, or they have no leader; whether a change was made may be unknown."""


class EtcdForbidden(EtcdError):
    """etcd wants to know who we are, or does not let us."""


class EtcdCompacted(EtcdError):
    """What is asked for is too long ago."""


@dataclass(frozen=True, slots=True)
class Value:
    """A key's value (`None`: it was deleted), and the revision that made it so."""

    key: str
    value: bytes | None
    revision: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a conditional change: the revision after it, or what is there instead."""

    done: bool
    revision: int
    present: Value | None = None


class Etcd:
    """The members at `endpoints`, each `host:port`."""

    def __init__(self, endpoints: Sequence[str], tls: ssl.SSLContext | None = None, name: str | None = None) -> None:
        self._endpoints = list(endpoints)
        self._tls = tls
        self._name = name
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make ready to ask; asks nothing."""
        connector = aiohttp.TCPConnector(
            ssl=True if self._tls is None else self._tls, keepalive_timeout=30, socket_factory=lasting_socket
        )
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, read_bufsize=2**20
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    # ── Keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def below(self, prefix: str) -> tuple[list[Value], int]:
        """Give everything whose key begins with `prefix`, and the revision that this was at."""
        told = await self._ask("kv/range", _range(prefix))
        return [_value(entry) for entry in told.get("kvs", ())], _revision(told)

    async def get(self, key: str) -> Value | None:
        """Give one key, if it is there."""
        found = (await self._ask("kv/range", {"key": _text(key)})).get("kvs", ())
        return _value(found[0]) if found else None

    async def newest(self, prefix: str, limit: int) -> list[Value]:
        """Give the keys that begin with `prefix` and were changed last, the latest first."""
        wanted = {**_range(prefix), "limit": str(limit), "sort_order": "DESCEND", "sort_target": "MOD"}
        return [_value(entry) for entry in (await self._ask("kv/range", wanted)).get("kvs", ())]

    async def remove_oldest(self, prefix: str, keep: int) -> None:
        """Remove those keys that begin with `prefix` but for the `keep` that were changed last."""
        wanted = {**_range(prefix), "keys_only": True, "sort_order": "DESCEND", "sort_target": "MOD"}
        old = (await self._ask("kv/range", wanted)).get("kvs", [])[keep:]
        for start in range(0, len(old), MAX_OPERATIONS):
            some = [{"request_delete_range": {"key": entry["key"]}} for entry in old[start : start + MAX_OPERATIONS]]
            await self._ask("kv/txn", {"success": some})

    async def put(self, key: str, value: bytes, beside: Beside = None) -> int:
        """Set a key, and `beside` it another, and give the revision of both."""
        return _revision(await self._ask("kv/txn", {"success": _puts((key, value), beside)}))

    async def delete(self, key: str, beside: Beside = None) -> Outcome:
        """Remove a key, and set `beside` it another; not done if there is none."""
        compare = {"key": _text(key), "target": "VERSION", "result": "GREATER", "version": "0"}
        remove = {"request_delete_range": {"key": _text(key)}}
        told = await self._ask("kv/txn", {"compare": [compare], "success": [remove, *_puts(beside)]})
        return Outcome(bool(told.get("succeeded")), _revision(told))

    async def put_if(self, key: str, value: bytes, revision: int, beside: Beside = None) -> Outcome:
        """As `put`, if the key was last changed by `revision`; 0 stands for one that is not there."""
        compare = {"key": _text(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}
        look = {"request_range": {"key": _text(key)}}
        success = _puts((key, value), beside)
        told = await self._ask("kv/txn", {"compare": [compare], "success": success, "failure": [look]})
        if told.get("succeeded"):
            return Outcome(True, _revision(told))
        responses = told.get("responses") or [{}]
        found = responses[0].get("response_range", {}).get("kvs", ())
        return Outcome(False, _revision(told), _value(found[0]) if found else None)

    @contextlib.asynccontextmanager
    async def watch(self, prefix: str, revision: int) -> AsyncIterator[AsyncIterator[list[Value]]]:
        """Give the changes below `prefix` from `revision` on, those of one revision together."""
        create = {**_range(prefix), "start_revision": str(revision), "progress_notify": True}
        async with self._sent("watch", {"create_request": create}) as response:
            yield _changes(response)

    # ── One question ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _ask(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._sent(method, body) as response:
                told: dict[str, Any] = json.loads(await response.read())
                return told
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise EtcdAway(f"etcd: {trouble(error)}") from error

    @contextlib.asynccontextmanager
    async def _sent(self, method: str, body: dict[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send to the first member that can be connected to, which is asked first from then on."""
        if self._session is None:
            raise EtcdAway("etcd: not open")
        failure: Exception | None = None
        for endpoint in tuple(self._endpoints):
            url = f"{'http' if self._tls is None else 'https'}://{endpoint}/v3/{method}"
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    response = await self._session.post(
                        url, json=body, headers=_LEADER, server_hostname=self._name, allow_redirects=False
                    )
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                # Nothing was sent: another member may be asked without doing anything twice.
                failure = error
                self._last(endpoint)
                continue
            except (aiohttp.ClientError, OSError) as error:
                self._last(endpoint)
                raise EtcdAway(f"etcd at {endpoint}: {trouble(error)}") from error
            async with response:
                if response.status != 200:
                    await self._refuse(endpoint, response)
                yield response
            return
        raise EtcdAway(f"etcd: {trouble(failure) if failure is not None else 'no member is known'}") from failure

    def _last(self, endpoint: str) -> None:
        """Ask a member after all others from now on."""
        if endpoint in self._endpoints:
            self._endpoints.remove(endpoint)
        self._endpoints.append(endpoint)

    async def _refuse(self, endpoint: str, response: aiohttp.ClientResponse) -> None:
        said = (await response.content.read(4096)).decode(errors="replace").strip()
        if response.status in (401, 403) or "etcdserver: user name is empty" in said:
            raise EtcdForbidden(f"etcd at {endpoint}: {said}")
        if response.status >= 500 or "no leader" in said:
            self._last(endpoint)
            raise EtcdAway(f"etcd at {endpoint}: {said}")
        raise EtcdError(f"etcd at {endpoint}: {response.status} {said}")


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _changes(response: aiohttp.ClientResponse) -> AsyncIterator[list[Value]]:
    """Read a watch's lines."""
    rest = bytearray()
    async for chunk in response.content.iter_any():
        rest += chunk
        while (end := rest.find(b"\n")) >= 0:
            line = bytes(rest[:end])
            del rest[: end + 1]
            changes = _change(line)
            if changes:
                yield changes
        if len(rest) > MAX_LINE:
            raise EtcdAway(f"etcd: a change of more than {MAX_LINE} bytes")


def _change(line: bytes) -> list[Value]:
    try:
        told = json.loads(line)
        if "error" in told:
            raise EtcdAway(f"etcd: {told['error']}")
        result = told["result"]
        if int(result.get("compact_revision", 0)):
            raise EtcdCompacted("etcd: what happened meanwhile is forgotten")
        if result.get("canceled"):
            raise EtcdAway(f"etcd has ended the watch: {result.get('cancel_reason', '')}")
        return [_value(event["kv"], deleted=event.get("type") == "DELETE") for event in result.get("events", ())]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EtcdAway(f"etcd: a watch's line can't be read: {error}") from error


def _value(entry: dict[str, Any], *, deleted: bool = False) -> Value:
    key = base64.b64decode(entry["key"]).decode(errors="replace")
    value = None if deleted else base64.b64decode(entry.get("value", ""))
    return Value(key, value, int(entry["mod_revision"]))


def _revision(told: dict[str, Any]) -> int:
    return int(told["header"]["revision"])


def _range(prefix: str) -> dict[str, Any]:
    first = prefix.encode()
    # The first key that does not begin with it any more.
    return {"key": _bytes(first), "range_end": _bytes(first[:-1] + bytes([first[-1] + 1]))}


def _puts(*wanted: Beside) -> list[dict[str, Any]]:
    return [{"request_put": {"key": _text(key), "value": _bytes(value)}} for key, value in filter(None, wanted)]


def _text(text: str) -> str:
    return _bytes(text.encode())


def _bytes(data: bytes) -> str:
    return base64.b64encode(data).decode()
