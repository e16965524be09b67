"""Dtabs as nodes of ZooKeeper: one thread reads what watches tell of, and changes are compared by ZooKeeper itself.

A version is the number of the transaction that wrote the node (`mzxid`): unlike a node's own version, as the reference
has it, it is not used again by a node that is deleted and made anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import (
    AuthFailedError,
    BadVersionError,
    KazooException,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    RolledBackError,
    RuntimeInconsistency,
)
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KazooState
from kazoo.security import ACL, Id

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
    reason,
)
from biandou.live import Failed, Live
from biandou.stores.chronicle import Pruning, decode, encode, keeps_history, with_present
from biandou.stores.interface import NO_REMARK, Remark, Revision, Version, Versioned, check_namespace, dtab_text
from biandou.stores.shelf import Shelf

if TYPE_CHECKING:
    from biandou.stores.zk import ZkAcl, ZkStoreKind

T = TypeVar("T")

MAX_VALUE: Final = 1_000_000
"""How many bytes a dtab may have: ZooKeeper takes packets of 1 MiB."""

MAX_TOGETHER: Final = 1_040_000
"""How many bytes a dtab and its entry in the history may have."""

ANSWER_SECONDS: Final = 4.0
FIRST_SECONDS: Final = 3.0
"""How long a start waits to learn what is there."""
WRITERS: Final = 8
PUT_TRIES: Final = 10
_PERMISSIONS: Final = {"r": 1, "w": 2, "c": 4, "d": 8, "a": 16}

UNASKED: Final = "ZooKeeper has not answered yet"

_log = logging.getLogger(__name__)


class ZkStore:
    """A store in the nodes below a kind's `pathPrefix`."""

    def __init__(self, kind: ZkStoreKind) -> None:
        self.trouble: str | None = UNASKED
        self._kind = kind
        self._prefix = kind.path_prefix
        # Not below the prefix, where a namerd of Linkerd 1.x would take it for a namespace.
        self._past = f"{kind.path_prefix}-history"
        self._pruning = Pruning(kind.history_size)
        # What is known to be there of the nodes above dtabs and entries.
        self._ensured: set[str] = set()
        self._shelf = Shelf()
        self._client: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reader = ThreadPoolExecutor(1, "zk-read")
        self._writers = ThreadPoolExecutor(WRITERS, "zk-write")
        self._known: set[str] = set()
        self._asked = asyncio.Event()
        self._stopped = threading.Event()

    # ── Life ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Begin to follow the nodes; ZooKeeper need not be there yet."""
        self._loop = asyncio.get_running_loop()
        kind = self._kind
        self._client = KazooClient(
            hosts=",".join(map(str, kind.zk_addrs)),
            timeout=kind.session_timeout_ms / 1000,
            auth_data=[(kind.auth_info.scheme, kind.auth_info.auth)] if kind.auth_info is not None else None,
            default_acl=[_acl(acl) for acl in kind.acls],
            connection_retry={"max_tries": -1, "delay": 0.1, "max_delay": 10.0},
        )
        self._client.add_listener(self._state_changed)
        self._client.start_async()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                await self._asked.wait()

    async def stop(self) -> None:
        """Let running changes end, and close the session."""
        self._stopped.set()
        if self._client is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._shut)

    def _shut(self) -> None:
        self._writers.shutdown()
        self._reader.shutdown(cancel_futures=True)
        self._client.stop()
        self._client.close()

    # ── Reading, in the reader's thread ──────────────────────────────────────────────────────────────────────────────

    def namespaces(self) -> Live[frozenset[str]]:
        """Give the names of all namespaces."""
        return self._shelf.names()

    def watch(self, namespace: str) -> Live[Versioned | None]:
        """Give a namespace's dtab."""
        return self._shelf.watch(namespace)

    def _state_changed(self, state: str) -> None:
        """Note how the connection is; the client's own thread calls this, and must not wait."""
        if state == KazooState.CONNECTED:
            # What happened meanwhile was told to nobody.
            self._read(lambda: self._read_all(everything=True))
        else:
            self._say(lambda: self._in_trouble(f"ZooKeeper: the connection is {state.lower()}"))

    def _changed(self, event: Any) -> None:
        """Read what a watch tells of; one method for all, so that a node has one watch however often it is read."""
        if event.path == self._prefix:
            self._read(self._read_all)
        elif event.path is not None:
            self._read(lambda: self._read_node(event.path[len(self._prefix) + 1 :]))

    def _read(self, job: Callable[[], None]) -> None:
        if not self._stopped.is_set():
            with contextlib.suppress(RuntimeError):  # stopped in between
                self._reader.submit(self._reading, job)

    def _reading(self, job: Callable[[], None]) -> None:
        try:
            job()
        except (NoAuthError, AuthFailedError) as error:
            text = f"ZooKeeper does not let us read: {reason(error)}"
            self._say(lambda: self._in_trouble(text, StoreForbidden(text)))
        except (KazooException, KazooTimeoutError) as error:
            text = f"ZooKeeper: {reason(error)}"
            # A new connection reads all again.
            self._say(lambda: self._in_trouble(text))

    def _read_all(self, *, everything: bool = False) -> None:
        """Read the list, and every node that is new in it, or every node."""
        self._get(self._client.ensure_path_async(self._prefix))
        names = set(self._get(self._client.get_children_async(self._prefix, watch=self._changed)))
        for name in self._known - names:
            self._show(name, None)
        fresh = names if everything else names - self._known
        self._known = names
        for name in sorted(fresh):
            self._read_node(name)
        self._say(self._settled)

    def _read_node(self, name: str) -> None:
        try:
            check_namespace(name)
            data, stat = self._get(self._client.get_async(f"{self._prefix}/{name}", watch=self._changed))
        except NamespaceRefused:
            # Somebody else's node.
            return
        except NoNodeError:
            # If it comes again, the list tells: it is new then.
            self._known.discard(name)
            self._show(name, None)
            return
        try:
            self._show(name, Versioned(Dtab.read(data.decode()), _version(stat)))
        except (UnicodeDecodeError, DtabSyntaxError) as error:
            _log.error("the dtab of %s in ZooKeeper can't be read: %s", name, error)
            self._show(name, Failed(StoreError(f"the dtab of {name} can't be read: {error}")))

    def _get(self, result: Any) -> Any:
        return result.get(timeout=ANSWER_SECONDS)

    def _show(self, name: str, state: Versioned | Failed | None) -> None:
        self._say(lambda: self._shelf.set(name, state))

    def _say(self, tell: Callable[[], None]) -> None:
        """Do something on the event loop, in the order of the calls."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(tell)

    def _settled(self) -> None:
        if self.trouble not in (None, UNASKED):
            _log.info("ZooKeeper answers again")
        self.trouble = None
        self._asked.set()
        self._shelf.settle()

    def _in_trouble(self, text: str, error: Exception | None = None) -> None:
        if self.trouble != text:
            _log.warning("%s", text)
        self.trouble = text
        self._asked.set()
        if error is not None:
            self._shelf.fail(error)

    # ── Changing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def create(self, namespace: str, dtab: Dtab, remark: Remark = NO_REMARK) -> Version:
        """Add a namespace; raises `NamespaceExists`."""
        check_namespace(namespace)
        data, entry = self._encoded(namespace, dtab, remark)

        def change(path: str) -> Version:
            return self._write(path, namespace, entry, lambda todo: todo.create(path, data))

        return await self._done(namespace, change)

    async def update(self, namespace: str, dtab: Dtab, version: Version, remark: Remark = NO_REMARK) -> Version:
        """Change a namespace that still has `version`; raises `StaleVersion` if not, `NamespaceMissing`."""
        data, entry = self._encoded(namespace, dtab, remark)

        def change(path: str) -> Version:
            stat = self._get(self._client.exists_async(path))
            if stat is None:
                raise NoNodeError
            if _version(stat) != version:
                raise BadVersionError
            return self._write(path, namespace, entry, lambda todo: todo.set_data(path, data, version=stat.version))

        return await self._done(namespace, change)

    async def put(self, namespace: str, dtab: Dtab, remark: Remark = NO_REMARK) -> Version:
        """Add or change a namespace."""
        check_namespace(namespace)
        data, entry = self._encoded(namespace, dtab, remark)

        def change(path: str) -> Version:
            for _ in range(PUT_TRIES):
                try:
                    return self._write(path, namespace, entry, lambda todo: todo.set_data(path, data))
                except NoNodeError:
                    with contextlib.suppress(NodeExistsError):
                        return self._write(path, namespace, entry, lambda todo: todo.create(path, data))
            raise BadVersionError

        return await self._done(namespace, change)

    async def delete(self, namespace: str, remark: Remark = NO_REMARK) -> None:
        """Remove a namespace; raises `NamespaceMissing`."""
        entry = encode(None, remark) if self._keeps(namespace) else None

        def change(path: str) -> None:
            self._write(path, namespace, entry, lambda todo: todo.delete(path))

        await self._done(namespace, change)

    def _write(self, path: str, namespace: str, entry: bytes | None, change: Callable[[Any], None]) -> Version:
        """Make a change and its entry in the history in one transaction, and give the version that is made by it."""
        places = [self._prefix] if entry is None else [self._prefix, f"{self._past}/{namespace}"]
        for place in places:
            if place not in self._ensured:
                self._get(self._client.ensure_path_async(place))
                self._ensured.add(place)
        try:
            return self._commit(path, namespace, entry, change)
        except NoNodeError:
            # If not the dtab's own node, somebody has removed those that lead to it.
            self._ensured.difference_update(places)
            raise

    def _commit(self, path: str, namespace: str, entry: bytes | None, change: Callable[[Any], None]) -> Version:
        todo = self._client.transaction()
        change(todo)
        if entry is not None:
            todo.create(f"{self._past}/{namespace}/v", entry, sequence=True)
        done = self._get(todo.commit_async())
        for result in done:
            # Of a transaction that is refused one part says why, the others that it was rolled back.
            if isinstance(result, Exception) and not isinstance(result, RolledBackError | RuntimeInconsistency):
                raise result
        if entry is not None and self._pruning.is_due(namespace):
            # The change is made: what is too old may go later, or another time.
            with contextlib.suppress(RuntimeError):  # stopped in between
                self._writers.submit(self._prune, namespace)
        if hasattr(done[0], "mzxid"):
            return _version(done[0])
        if entry is not None:
            # Nobody changes an entry: its number is the transaction's.
            stat = self._get(self._client.exists_async(done[1]))
            return struct.pack(">q", stat.czxid) if stat is not None else b""
        stat = self._get(self._client.exists_async(path))
        return b"" if stat is None else _version(stat)

    def _prune(self, namespace: str) -> None:
        with contextlib.suppress(KazooException, KazooTimeoutError):
            names = sorted(self._get(self._client.get_children_async(f"{self._past}/{namespace}")))
            for name in names[: -self._pruning.size]:
                with contextlib.suppress(NoNodeError):
                    self._get(self._client.delete_async(f"{self._past}/{namespace}/{name}"))

    async def history(self, namespace: str, limit: int = 100) -> list[Revision]:
        """Give the last states of a namespace, the newest first; raises `StoreDown`."""

        def read(path: str) -> list[Revision]:
            # Before its past, so that what is newer than that was made by somebody else.
            now = None
            with contextlib.suppress(NoNodeError):
                now = self._get(self._client.get_async(path))
            names: list[str] = []
            with contextlib.suppress(NoNodeError):
                names = self._get(self._client.get_children_async(f"{self._past}/{namespace}"))
            revisions: list[Revision] = []
            latest = 0
            # The numbers of ZooKeeper have ten digits, so that names are in their order.
            for name in sorted(names, reverse=True)[: min(limit, self._pruning.size)]:
                with contextlib.suppress(NoNodeError):
                    data, stat = self._get(self._client.get_async(f"{self._past}/{namespace}/{name}"))
                    latest = max(latest, stat.czxid)
                    revision = decode(data, struct.pack(">q", stat.czxid))
                    if revision is not None:
                        revisions.append(revision)
            present = None
            if now is not None and now[1].mzxid > latest:
                with contextlib.suppress(UnicodeDecodeError, DtabSyntaxError):
                    present = Versioned(Dtab.read(now[0].decode()), _version(now[1]))
            return with_present(revisions, present, limit)

        return await self._done(namespace, read)

    def _encoded(self, namespace: str, dtab: Dtab, remark: Remark) -> tuple[bytes, bytes | None]:
        """Give a dtab as it is stored, and its entry in the history; raises `TooLarge`."""
        data = dtab_text(dtab, MAX_VALUE).encode()
        entry = encode(dtab, remark) if self._keeps(namespace) else None
        if entry is not None and len(data) + len(entry) > MAX_TOGETHER:
            raise TooLarge(f"a dtab and its history entry have at most {MAX_TOGETHER} bytes here")
        return data, entry

    def _keeps(self, namespace: str) -> bool:
        return self._pruning.size > 0 and keeps_history(namespace)

    async def _done(self, namespace: str, change: Callable[[str], T]) -> T:
        """Make a change in a writer's thread, and read what became of it before it is acknowledged."""
        if self._client is None or not self._client.connected:
            raise StoreDown(self.trouble or "ZooKeeper is not connected")
        loop = asyncio.get_running_loop()

        def work() -> T:
            done = change(f"{self._prefix}/{namespace}")
            # The reader asks after the change, in the same session.
            self._reader.submit(self._reading, lambda: self._read_node(namespace)).result(ANSWER_SECONDS)
            return done

        try:
            return await asyncio.shield(loop.run_in_executor(self._writers, work))
        except NodeExistsError:
            raise NamespaceExists(namespace) from None
        except NoNodeError:
            raise NamespaceMissing(namespace) from None
        except BadVersionError:
            raise StaleVersion(namespace) from None
        except (NoAuthError, AuthFailedError) as error:
            raise StoreForbidden(f"ZooKeeper does not let us change this: {reason(error)}") from error
        except (KazooException, KazooTimeoutError, TimeoutError) as error:
            raise StoreDown(f"ZooKeeper: {reason(error)}") from error


def _version(stat: Any) -> Version:
    return struct.pack(">q", stat.mzxid)


def _acl(acl: ZkAcl) -> ACL:
    return ACL(sum(_PERMISSIONS[permission] for permission in acl.perms), Id(acl.scheme, acl.id))
