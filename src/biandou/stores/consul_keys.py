"""Dtabs as keys of Consul: one blocking query tells of all of them, and every change is a transaction.

A dtab's version is the index of its key's last change, in decimal, as a namerd of Linkerd 1.x has it. A transaction
tells the new index; a plain `PUT` would not, and whatever is read afterwards may be somebody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from biandou.clients.consul import Answer, Consul, ConsulAway, ConsulError, ConsulForbidden, target_of
from biandou.clients.consul_access import reading
from biandou.clients.consul_kv import MAX_TOGETHER, MAX_VALUE, Beside, Kv, KvConflict, Value, kv_path, read_values
from biandou.clients.consul_watch import Pace, follow
from biandou.clients.retry import Retry
from biandou.dtab import Dtab, DtabSyntaxError
from biandou.errors import (
    NamespaceExists,
    NamespaceMissing,
    NamespaceRefused,
    StaleVersion,
    StoreDown,
    StoreError,
    StoreForbidden,
    TooLarge,
)
from biandou.live import Failed, Live
from biandou.stores.chronicle import Pruning, decode, encode, keeps_history, with_present
from biandou.stores.interface import NO_REMARK, Remark, Revision, Version, Versioned, check_namespace, dtab_text
from biandou.stores.shelf import Shelf

if TYPE_CHECKING:
    from biandou.stores.consul import ConsulStoreKind

T = TypeVar("T")

FIRST_SECONDS: Final = 2.0
"""How long a start waits to learn what is there."""

REFUSE_SECONDS: Final = 1.0
"""For so long after a change that failed others are refused at once, if the query has failed too."""

OWN_SECONDS: Final = 10.0
"""For so long a change of ours outweighs an answer that is older, as that of a server which is behind may be."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Own:
    """A change of ours: the index that it made, or for a deletion the last one before; `at` on the monotonic clock."""

    index: int
    gone: bool
    at: float


class ConsulStore:
    """A store in the keys below a prefix; follows the one query that tells of them."""

    def __init__(self, kind: ConsulStoreKind, consul: Consul, retry: Retry) -> None:
        self.trouble: str | None = None
        self._consul = consul
        self._retry = retry
        self._below = f"{kind.path_prefix.removeprefix('/')}/"
        # Not below the prefix, where a namerd of Linkerd 1.x would take it for a namespace.
        self._past = f"{self._below[:-1]}-history/"
        self._pruning = Pruning(kind.history_size)
        self._query = {**reading(kind.read_consistency_mode, kind.datacenter), "recurse": "true"}
        self._kv = Kv(consul, reading(kind.write_consistency_mode, kind.datacenter), kind.datacenter)
        self._shelf = Shelf()
        # The index of what is shown, and what the text was that Consul told with it.
        self._indexes: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._own: dict[str, Own] = {}
        self._stack = contextlib.AsyncExitStack()
        self._following: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()
        self._refused_until = 0.0

    # ── Life ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Begin to follow the keys; Consul need not be there yet."""
        await self._stack.enter_async_context(self._consul.opened())
        # One query of the whole process: changes of dtabs may come fast, and must not wait.
        following = follow(
            self._consul,
            target_of(kv_path(self._below), self._query),
            self,
            retry=self._retry,
            pace=Pace(20, 10.0),
        )
        self._following = asyncio.get_running_loop().create_task(following, name="consul")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                await self._asked.wait()

    async def stop(self) -> None:
        """Stop following."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        await self._stack.aclose()

    # ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def namespaces(self) -> Live[frozenset[str]]:
        """Give the names of all namespaces."""
        return self._shelf.names()

    def watch(self, namespace: str) -> Live[Versioned | None]:
        """Give a namespace's dtab."""
        return self._shelf.watch(namespace)

    @property
    def useful(self) -> bool:
        """Always: there is no other query."""
        return True

    def changed(self, answer: Answer) -> None:
        """Take in all keys; raises `ConsulError` if they can't be read."""
        values = read_values(answer)
        if answer.filtered and not values:
            raise ConsulForbidden(f"consul at {self._consul.address}: the token does not let us see the dtabs")
        self._fill(values, answer.index or 0, whole=not answer.filtered)
        self._well()

    def confirmed(self) -> None:
        """Hear that nothing has changed."""
        self._well()

    def failed(self, error: ConsulError) -> None:
        """Hear that what is shown may be out of date."""
        _log.log(logging.WARNING if self.trouble is None else logging.DEBUG, "%s", error)
        self.trouble = str(error)
        self._asked.set()

    def _well(self) -> None:
        if self.trouble is not None:
            _log.info("consul at %s answers again", self._consul.address)
        self.trouble = None
        self._asked.set()

    def _fill(self, values: list[Value], index: int, *, whole: bool) -> None:
        """Take in what Consul says; `whole` means that what it does not say is not there."""
        now = time.monotonic()
        self._own = {name: own for name, own in self._own.items() if now - own.at < OWN_SECONDS}
        named = {name: value for value in values if (name := self._name(value.key)) is not None}
        for name, value in named.items():
            own = self._own.get(name)
            if own is not None and value.index < own.index + own.gone:
                continue
            told = hash(value.value)
            if self._indexes.get(name) != value.index or self._told.get(name, told) != told:
                self._indexes[name] = value.index
                self._show(name, _state(name, value))
            self._told[name] = told
        for name in [*self._indexes] if whole else ():
            own = self._own.get(name)
            if name not in named and (own is None or own.gone or own.index <= index):
                del self._indexes[name]
                self._told.pop(name, None)
                self._show(name, None)
        if not self._shelf.filled:
            self._shelf.settle()

    def _show(self, name: str, state: Versioned | Failed | None) -> None:
        try:
            self._shelf.set(name, state)
        except Exception:
            # The mistake of one observer must not end the watch of the others.
            _log.exception("an observer of %s failed", name)

    def _name(self, key: str) -> str | None:
        name = key.removeprefix(self._below)
        try:
            check_namespace(name)
        except NamespaceRefused:
            # Somebody else's key.
            return None
        return name

    # ── Changing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def create(self, namespace: str, dtab: Dtab, remark: Remark = NO_REMARK) -> Version:
        """Add a namespace; raises `NamespaceExists`."""
        check_namespace(namespace)
        value, beside = self._encoded(namespace, dtab, remark)
        try:
            index = await self._done(lambda: self._kv.set_if(self._below + namespace, value, 0, beside))
        except KvConflict:
            raise NamespaceExists(namespace) from None
        return await self._made(namespace, dtab, index)

    async def update(self, namespace: str, dtab: Dtab, version: Version, remark: Remark = NO_REMARK) -> Version:
        """Change a namespace that still has `version`; raises `StaleVersion` if not, `NamespaceMissing`."""
        check_namespace(namespace)
        key = self._below + namespace
        value, beside = self._encoded(namespace, dtab, remark)
        # A version that is none of ours matches nothing, and Consul still says whether the namespace is there.
        known = int(version) if version.isdigit() and len(version) < 19 else 0
        if known:
            with contextlib.suppress(KvConflict):
                index = await self._done(lambda: self._kv.set_if(key, value, known, beside))
                return await self._made(namespace, dtab, index)
        if await self._done(lambda: self._kv.has(key)):
            raise StaleVersion(namespace)
        raise NamespaceMissing(namespace)

    async def put(self, namespace: str, dtab: Dtab, remark: Remark = NO_REMARK) -> Version:
        """Add or change a namespace."""
        check_namespace(namespace)
        value, beside = self._encoded(namespace, dtab, remark)
        index = await self._done(lambda: self._kv.set(self._below + namespace, value, beside))
        return await self._made(namespace, dtab, index)

    async def delete(self, namespace: str, remark: Remark = NO_REMARK) -> None:
        """Remove a namespace; raises `NamespaceMissing`."""
        check_namespace(namespace)
        beside = self._entry(namespace, encode(None, remark))
        try:
            index = await self._done(lambda: self._kv.delete(self._below + namespace, beside))
        except KvConflict:
            raise NamespaceMissing(namespace) from None
        if index >= self._indexes.get(namespace, 0):
            self._own[namespace] = Own(index, True, time.monotonic())
            self._indexes.pop(namespace, None)
            self._told.pop(namespace, None)
            self._shelf.set(namespace, None)

    async def history(self, namespace: str, limit: int = 100) -> list[Revision]:
        """Give the last states of a namespace, the newest first; raises `StoreDown`."""
        # Before its past, so that what is newer than that was made by somebody else.
        now = await self._done(lambda: self._kv.get(self._below + namespace))
        kept = await self._done(lambda: self._kv.below(f"{self._past}{namespace}/")) if self._pruning.size else []
        kept = sorted(kept, key=lambda value: value.index, reverse=True)[: min(limit, self._pruning.size)]
        told = [decode(value.value, str(value.index).encode()) for value in kept]
        revisions = [revision for revision in told if revision is not None]
        elsewhere = now is not None and now.index > (kept[0].index if kept else 0)
        present = _state(namespace, now) if now is not None and elsewhere else None
        return with_present(revisions, present if isinstance(present, Versioned) else None, limit)

    def _encoded(self, namespace: str, dtab: Dtab, remark: Remark) -> tuple[bytes, Beside]:
        """Give a dtab as it is stored, and its entry in the history; raises `TooLarge`."""
        value = dtab_text(dtab, MAX_VALUE).encode()
        entry = self._entry(namespace, encode(dtab, remark))
        if entry is not None and len(value) + len(entry[1]) > MAX_TOGETHER:
            raise TooLarge(f"a dtab and its history entry have at most {MAX_TOGETHER} bytes here")
        return value, entry

    def _entry(self, namespace: str, entry: bytes) -> Beside:
        if not self._pruning.size or not keeps_history(namespace):
            return None
        return f"{self._past}{namespace}/{time.time_ns():020}-{secrets.token_hex(4)}", entry

    async def _prune(self, namespace: str) -> None:
        if self._pruning.size and keeps_history(namespace) and self._pruning.is_due(namespace):
            # The change is made: what is too old may go another time.
            with contextlib.suppress(ConsulError):
                kept = await self._kv.below(f"{self._past}{namespace}/")
                kept.sort(key=lambda value: value.index, reverse=True)
                await self._kv.remove([value.key for value in kept[self._pruning.size :]])

    async def _made(self, namespace: str, dtab: Dtab, index: int) -> Version:
        """Show a change of ours before the query tells of it."""
        version = str(index).encode()
        if index > self._indexes.get(namespace, 0):
            self._own[namespace] = Own(index, False, time.monotonic())
            self._indexes[namespace] = index
            self._told.pop(namespace, None)
            self._shelf.set(namespace, Versioned(dtab, version))
        await self._prune(namespace)
        return version

    async def _done(self, change: Callable[[], Awaitable[T]]) -> T:
        """Make a change; raises `KvConflict` if Consul compared and did not, else the errors of a store."""
        if self.trouble is not None and time.monotonic() < self._refused_until:
            # It was asked a moment ago: nobody need wait to be told the same.
            raise StoreDown(self.trouble)
        try:
            return await change()
        except KvConflict:
            raise
        except ConsulForbidden as error:
            raise StoreForbidden(str(error)) from error
        except ConsulAway as error:
            self._refused_until = time.monotonic() + REFUSE_SECONDS
            raise StoreDown(str(error)) from error
        except ConsulError as error:
            raise StoreError(str(error)) from error


def _state(name: str, value: Value) -> Versioned | Failed:
    try:
        return Versioned(Dtab.read(value.value.decode()), str(value.index).encode())
    except (UnicodeDecodeError, DtabSyntaxError) as error:
        _log.error("the dtab of %s in Consul can't be read: %s", name, error)
        return Failed(StoreError(f"the dtab of {name} can't be read: {error}"))
