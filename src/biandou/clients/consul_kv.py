"""Keys and values in Consul: read below a prefix, changed by transactions, since these alone tell the new index."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import msgspec

from biandou.clients.consul import Answer, Consul, ConsulError, ConsulForbidden, Query
from biandou.clients.consul_catalog import decoded

MAX_VALUE: Final = 383 * 1024
"""How many bytes a value may have: Consul takes transactions of 512 KiB, and a value in one is Base64."""


MAX_TOGETHER: Final = MAX_VALUE
"""How many bytes the values of one transaction may have together."""

MAX_OPERATIONS: Final = 60
"""How much one transaction does; Consul takes 64."""

Beside: TypeAlias = tuple[str, bytes] | None
"""Another key that is set by the same transaction, with its value."""


class KvConflict(ConsulError):
    """The key is not what the change was meant for."""


@dataclass(frozen=True, slots=True)
class Value:
    """A key's value, and the index of the change that made it so."""

    key: str
    value: bytes
    index: int


class _Entry(msgspec.Struct):
    key: str = msgspec.field(name="Key")
    modified: int = msgspec.field(name="ModifyIndex")
    value: str | None = msgspec.field(default=None, name="Value")


class _Result(msgspec.Struct):
    entry: _Entry | None = msgspec.field(default=None, name="KV")


class _Wrong(msgspec.Struct):
    what: str = msgspec.field(default="", name="What")


class _Transaction(msgspec.Struct, rename="pascal"):
    results: list[_Result] | None = None
    errors: list[_Wrong] | None = None


class Kv:
    """The keys in a datacentre, by default the agent's own; `checking` are the parameters of a read for a change."""

    def __init__(self, consul: Consul, checking: Query, dc: str | None = None) -> None:
        self._consul = consul
        self._checking = checking
        self._query = {} if dc is None else {"dc": dc}

    async def set(self, key: str, value: bytes, beside: Beside = None) -> int:
        """Set a key, and `beside` it another, and give the index of the change."""
        return _made(await self._transact(_set(key, value), *_sets(beside)))

    async def set_if(self, key: str, value: bytes, index: int, beside: Beside = None) -> int:
        """As `set`, if the key was last changed at `index`, 0 for one that is not there; raises `KvConflict`."""
        return _made(await self._transact({**_set(key, value), "Verb": "cas", "Index": index}, *_sets(beside)))

    async def delete(self, key: str, beside: Beside = None) -> int:
        """Remove a key, and set `beside` it another; gives the index of its last change before.

        Raises `KvConflict` if there is none.
        """
        remove = {"Verb": "get", "Key": key}, {"Verb": "delete", "Key": key}
        return _made(await self._transact(*remove, *_sets(beside)))

    async def below(self, prefix: str) -> list[Value]:
        """Give every key that begins with `prefix`, in the order of their names."""
        return read_values(await self._consul.get(kv_path(prefix), {**self._checking, "recurse": "true"}))

    async def get(self, key: str) -> Value | None:
        """Give one key, if it is there."""
        found = read_values(await self._consul.get(kv_path(key), self._checking))
        return found[0] if found else None

    async def remove(self, keys: Sequence[str]) -> None:
        """Remove keys, there or not."""
        for start in range(0, len(keys), MAX_OPERATIONS):
            await self._transact(*({"Verb": "delete", "Key": key} for key in keys[start : start + MAX_OPERATIONS]))

    async def has(self, key: str) -> bool:
        """Whether a key is there."""
        return (await self._consul.get(kv_path(key), self._checking)).status == 200

    async def _transact(self, *operations: dict[str, Any]) -> _Transaction:
        document = json.dumps([{"KV": operation} for operation in operations]).encode()
        answer = await self._consul.put("/v1/txn", self._query, document)
        if answer.status != 409:
            return decoded(answer, _Transaction)
        said = "; ".join(wrong.what for wrong in decoded(Answer(200, answer.body), _Transaction).errors or ())
        message = f"consul at {self._consul.address}: {said}"
        if "ermission denied" in said:
            raise ConsulForbidden(message)
        if "index is stale" in said or "doesn't exist" in said:
            raise KvConflict(message)
        raise ConsulError(message)


def kv_path(key: str) -> str:
    """Give the path of a key's request."""
    return f"/v1/kv/{quote(key, safe='/')}"


def read_values(answer: Answer) -> list[Value]:
    """Read what a recursive read gives; none for a 404. Raises `ConsulError`."""
    if answer.status == 404:
        return []
    return [_value(entry) for entry in decoded(answer, list[_Entry])]


def _set(key: str, value: bytes) -> dict[str, Any]:
    return {"Verb": "set", "Key": key, "Value": _text(value)}


def _sets(beside: Beside) -> list[dict[str, Any]]:
    return [] if beside is None else [_set(*beside)]


def _made(transaction: _Transaction) -> int:
    for result in transaction.results or ():
        if result.entry is not None:
            return result.entry.modified
    raise ConsulError("consul: a transaction without a result")


def _value(entry: _Entry) -> Value:
    try:
        return Value(entry.key, base64.b64decode(entry.value or "", validate=True), entry.modified)
    except (binascii.Error, ValueError) as error:
        raise ConsulError(f"consul: the value of {entry.key} is no Base64") from error


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
