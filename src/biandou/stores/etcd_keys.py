"""Dtabs as keys of etcd: one watch tells of all of them, and every change is compared and made by etcd itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import aiohttp

from biandou.clients.etcd import Beside, Etcd, EtcdAway, EtcdCompacted, EtcdError, EtcdForbidden, Value
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
from biandou.stores.chronicle import DEFAULT_SIZE, Pruning, decode, encode, keeps_history, with_present
from biandou.stores.interface import NO_REMARK, Remark, Revision, Version, Versioned, check_namespace, dtab_text
from biandou.stores.shelf import Shelf

T = TypeVar("T")

MAX_VALUE: Final = 1024 * 1024
"""How many bytes a dtab may have: etcd takes requests of 1.5 MiB."""

MAX_REQUEST: Final = 1400 * 1024
"""How many bytes a dtab and its entry in the history may have together."""

FIRST_SECONDS: Final = 2.0
"""How long a start waits to learn what is there."""

REFUSE_SECONDS: Final = 1.0
"""For so long after a change that failed others are refused at once, if the watch has failed too."""

RETRY: Final = Retry(0.5, 5.0)

_log = logging.getLogger(__name__)


class EtcdStore:
    """A store in the keys below `prefix`."""

    def __init__(self, etcd: Etcd, prefix: str, retry: Retry = RETRY, *, history_size: int = DEFAULT_SIZE) -> None:
        self.trouble: str | None = None
        self._etcd = etcd
        self._below = f"{prefix}/"
        # Not below the prefix, where a namerd of Linkerd 1.x would take it for a namespace.
        self._past = f"{prefix}-history/"
        self._pruning = Pruning(history_size)
        self._retry = retry
        self._shelf = Shelf()
        # The revision of what is shown; of a namespace that is gone, until the watch has told so.
        self._revisions: dict[str, int] = {}
        self._following: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()
        self._refused_until = 0.0

    # ── Life ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Begin to follow the keys; etcd need not be there yet."""
        await self._etcd.open()
        self._following = asyncio.get_running_loop().create_task(self._follow(), name="etcd")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                await self._asked.wait()

    async def stop(self) -> None:
        """Stop following."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        await self._etcd.close()

    async def _follow(self) -> None:
        """Keep the shelf true for ever: list, then watch from there, and again when the watch ends."""
        failures = 0
        while True:
            try:
                values, revision = await self._etcd.below(self._below)
                self._fill(values, revision)
                if self.trouble is not None:
                    _log.info("etcd answers again")
                self.trouble = None
                self._asked.set()
                failures = 0
                async with self._etcd.watch(self._below, revision + 1) as changes:
                    async for change in changes:
                        for value in change:
                            self._take(value)
                problem = "etcd has ended the watch"
            except EtcdCompacted:
                continue
            except (EtcdError, aiohttp.ClientError, OSError, TimeoutError) as error:
                problem = str(error) or "no answer in time"
                failures += 1
            _log.log(logging.WARNING if self.trouble != problem else logging.DEBUG, "%s", problem)
            self.trouble = problem
            self._asked.set()
            await asyncio.sleep(self._retry.wait(failures))

    # ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def namespaces(self) -> Live[frozenset[str]]:
        """Give the names of all namespaces."""
        return self._shelf.names()

    def watch(self, namespace: str) -> Live[Versioned | None]:
        """Give a namespace's dtab."""
        return self._shelf.watch(namespace)

    def _fill(self, values: list[Value], revision: int) -> None:
        """Take in a list; what a change of ours has made since stays."""
        named = {name: value for value in values if (name := self._name(value.key)) is not None}
        for value in named.values():
            self._take(value)
        for name in [*self._revisions]:
            if name not in named and self._revisions[name] <= revision:
                del self._revisions[name]
                self._shelf.set(name, None)
        self._shelf.settle()

    def _take(self, value: Value) -> None:
        """Take in what etcd says of one key, unless something newer is known."""
        name = self._name(value.key)
        if name is None or value.revision < self._revisions.get(name, 0):
            return
        if value.value is None:
            self._revisions.pop(name, None)
        else:
            self._revisions[name] = value.revision
        self._shelf.set(name, _state(name, value))

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
        outcome = await self._done(self._etcd.put_if(self._below + namespace, value, 0, beside))
        if not outcome.done:
            raise NamespaceExists(namespace)
        return await self._made(namespace, dtab, outcome.revision)

    async def update(self, namespace: str, dtab: Dtab, version: Version, remark: Remark = NO_REMARK) -> Version:
        """Change a namespace that still has `version`; raises `StaleVersion` if not, `NamespaceMissing`."""
        # A version that is none of ours matches nothing, and etcd still says whether the namespace is there.
        known = int(version) if version.isdigit() and 0 < len(version) < 19 else 0
        value, beside = self._encoded(namespace, dtab, remark)
        outcome = await self._done(self._etcd.put_if(self._below + namespace, value, known or 2**62, beside))
        if outcome.done:
            return await self._made(namespace, dtab, outcome.revision)
        raise NamespaceMissing(namespace) if outcome.present is None else StaleVersion(namespace)

    async def put(self, namespace: str, dtab: Dtab, remark: Remark = NO_REMARK) -> Version:
        """Add or change a namespace."""
        check_namespace(namespace)
        value, beside = self._encoded(namespace, dtab, remark)
        revision = await self._done(self._etcd.put(self._below + namespace, value, beside))
        return await self._made(namespace, dtab, revision)

    async def delete(self, namespace: str, remark: Remark = NO_REMARK) -> None:
        """Remove a namespace; raises `NamespaceMissing`."""
        beside = self._entry(namespace, encode(None, remark))
        outcome = await self._done(self._etcd.delete(self._below + namespace, beside))
        if not outcome.done:
            raise NamespaceMissing(namespace)
        if outcome.revision > self._revisions.get(namespace, 0):
            self._revisions[namespace] = outcome.revision
            self._shelf.set(namespace, None)

    async def history(self, namespace: str, limit: int = 100) -> list[Revision]:
        """Give the last states of a namespace, the newest first; raises `StoreDown`."""
        # Before its past, so that what is newer than that was made by somebody else.
        now = await self._done(self._etcd.get(self._below + namespace))
        size = min(limit, self._pruning.size)
        kept = await self._done(self._etcd.newest(f"{self._past}{namespace}/", size)) if size else []
        told = [decode(value.value or b"", str(value.revision).encode()) for value in kept]
        revisions = [revision for revision in told if revision is not None]
        elsewhere = now is not None and now.revision > (kept[0].revision if kept else 0)
        present = _state(namespace, now) if now is not None and elsewhere else None
        return with_present(revisions, present if isinstance(present, Versioned) else None, limit)

    def _encoded(self, namespace: str, dtab: Dtab, remark: Remark) -> tuple[bytes, Beside]:
        """Give a dtab as it is stored, and its entry in the history; raises `TooLarge`."""
        value = dtab_text(dtab, MAX_VALUE).encode()
        entry = self._entry(namespace, encode(dtab, remark))
        if entry is not None and len(value) + len(entry[1]) > MAX_REQUEST:
            raise TooLarge(f"a dtab and its history entry have at most {MAX_REQUEST} bytes here")
        return value, entry

    def _entry(self, namespace: str, entry: bytes) -> Beside:
        if not self._pruning.size or not keeps_history(namespace):
            return None
        return f"{self._past}{namespace}/{time.time_ns():020}-{secrets.token_hex(4)}", entry

    async def _made(self, namespace: str, dtab: Dtab, revision: int) -> Version:
        """Show a change of ours before the watch tells of it."""
        version = str(revision).encode()
        if revision > self._revisions.get(namespace, 0):
            self._revisions[namespace] = revision
            self._shelf.set(namespace, Versioned(dtab, version))
        if self._pruning.size and keeps_history(namespace) and self._pruning.is_due(namespace):
            # The change is made: what is too old may go another time.
            with contextlib.suppress(EtcdError):
                await self._etcd.remove_oldest(f"{self._past}{namespace}/", self._pruning.size)
        return version

    async def _done(self, change: Coroutine[Any, Any, T]) -> T:
        if self.trouble is not None and time.monotonic() < self._refused_until:
            # It was asked a moment ago: nobody need wait to be told the same.
            change.close()
            raise StoreDown(self.trouble)
        try:
            return await change
        except EtcdForbidden as error:
            raise StoreForbidden(str(error)) from error
        except EtcdAway as error:
            self._refused_until = time.monotonic() + REFUSE_SECONDS
            raise StoreDown(str(error)) from error
        except EtcdError as error:
            raise StoreError(str(error)) from error


def _state(name: str, value: Value) -> Versioned | Failed | None:
    if value.value is None:
        return None
    try:
        return Versioned(Dtab.read(value.value.decode()), str(value.revision).encode())
    except (UnicodeDecodeError, DtabSyntaxError) as error:
        _log.error("the dtab of %s in etcd can't be read: %s", name, error)
        return Failed(StoreError(f"the dtab of {name} can't be read: {error}"))
