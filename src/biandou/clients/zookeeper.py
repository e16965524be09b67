"""ZooKeeper, as namers need it: a node's children with their data, followed by watches that outlive sessions.

One session serves everything that is followed at the same servers. Kazoo's threads are not the event loop's: what they
hear is read in a thread of ours, one node after the other, and told on the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KazooState

from biandou.clients.zookeeper_log import KAZOO_LOG
from biandou.errors import reason

ANSWER_SECONDS: Final = 10.0
MAX_MEMBERS: Final = 20_000
MAX_DATA: Final = 64 * 1024
"""How much data a member may have."""
FIRST_SECONDS: Final = 2.0
"""How long a first connection may take before those who wait are told."""
IDLE_SECONDS: Final = 10.0
"""A session that nobody needs is closed after so long."""

_log = logging.getLogger(__name__)


class ZooKeeperError(Exception):
    """ZooKeeper did not say what it was asked."""


@dataclass(frozen=True, slots=True)
class Members:
    """A node's children with their data; `version` is the number of the last change among them."""

    data: Mapping[str, bytes]
    version: str


class Taker(Protocol):
    """Who follows a node."""

    def told(self, members: Members | None) -> None:
        """Take in its children; `None` if there is no such node."""

    def confirmed(self) -> None:
        """Hear that what is known still holds."""

    def failed(self, error: ZooKeeperError) -> None:
        """Hear that nobody says at present."""


@dataclass(eq=False, slots=True)
class _Node:
    path: str
    taker: Taker
    data: dict[str, bytes] = field(default_factory=dict)
    closed: bool = False


class ZooKeeper:
    """The servers at `hosts`, each `host:port`."""

    def __init__(self, hosts: Sequence[str], session_ms: int) -> None:
        self._hosts = ",".join(hosts)
        self._session_ms = session_ms
        self.name = f"zookeeper at {self._hosts}"
        self._nodes: dict[str, set[_Node]] = {}
        self._client: Any = None
        self._reader: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.TimerHandle | None = None

    def follow(self, path: str, taker: Taker) -> Callable[[], None]:
        """Follow a node's children and their data; gives what ends that. Nothing is told before this has returned."""
        node = _Node(path, taker)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # A session belongs to the loop that it was opened on.
            self._nodes.clear()
            self._shut()
            self._loop = loop
        self._nodes.setdefault(path, set()).add(node)
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if self._client is None:
            self._open()
        elif self._client.connected:
            self._read(lambda: self._read_node(node))
        else:
            asyncio.get_running_loop().call_soon(self._fail, node, f"{self.name}: not connected")

        def stop() -> None:
            node.closed = True
            nodes = self._nodes.get(path, set())
            nodes.discard(node)
            if not nodes:
                self._nodes.pop(path, None)
            if not self._nodes and self._closing is None:
                self._closing = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._shut)

        return stop

    async def read(self, path: str) -> Members | None:
        """Give a node's children with their data as they are now, whatever is followed; raises `ZooKeeperError`."""
        client, reader = self._client, self._reader
        if client is None or reader is None or not client.connected:
            raise ZooKeeperError(f"{self.name}: not connected")
        try:
            return await asyncio.get_running_loop().run_in_executor(reader, _members_now, client, path)
        except (KazooException, KazooTimeoutError, RuntimeError) as error:
            raise ZooKeeperError(f"{self.name}: {path}: {reason(error)}") from error

    def anew(self, path: str) -> None:
        """Read again what is followed of a node, with its watches."""
        for node in list(self._nodes.get(path, ())):
            node.data.clear()
            self._read(lambda node=node: self._read_node(node))  # type: ignore[misc]

    # ── The session ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _open(self) -> None:
        loop = asyncio.get_running_loop()
        self._reader = ThreadPoolExecutor(1, "zookeeper")
        self._client = KazooClient(
            hosts=self._hosts,
            timeout=self._session_ms / 1000,
            connection_retry={"max_tries": -1, "delay": 0.1, "max_delay": 5.0},
            logger=KAZOO_LOG,
        )
        client = self._client
        client.add_listener(lambda state: self._state_changed(client, state))
        client.start_async()
        loop.call_later(FIRST_SECONDS, self._complain, client)

    def _complain(self, client: Any) -> None:
        """Tell who waits that nobody answers; the client itself goes on trying and says nothing."""
        if client is self._client and not client.connected:
            self._fail_all(f"{self.name}: nobody answers")

    async def close(self) -> None:
        """End the session, whoever follows what; waits until it is ended."""
        self._nodes.clear()
        if self._closing is not None:
            self._closing.cancel()
        closing = self._shut()
        if closing is not None:
            await closing

    def _shut(self) -> asyncio.Future[None] | None:
        client, self._client = self._client, None
        reader, self._reader = self._reader, None
        self._closing = None
        if reader is not None:
            reader.shutdown(wait=False, cancel_futures=True)
        if client is None:
            return None

        def close() -> None:
            client.stop()
            client.close()

        # It waits for its threads.
        return asyncio.get_running_loop().run_in_executor(None, close)

    def _state_changed(self, client: Any, state: str) -> None:
        """Note how the connection is; the client's own thread calls this, and must not wait."""
        if client is not self._client:
            return
        if state == KazooState.CONNECTED:
            # What happened meanwhile was told to nobody, and a new session has none of our watches.
            self._read(self._read_all)
        else:
            self._say(lambda: self._fail_all(f"{self.name}: the connection is {state.lower()}"))

    # ── Reading, in the reader's thread ──────────────────────────────────────────────────────────────────────────────

    def _read(self, job: Callable[[], None]) -> None:
        reader = self._reader
        if reader is not None:
            with contextlib.suppress(RuntimeError):  # shut in between
                reader.submit(job)

    def _read_all(self) -> None:
        for nodes in list(self._nodes.values()):
            for node in list(nodes):
                node.data.clear()
                self._read_node(node)

    def _changed(self, event: Any) -> None:
        """Read what a watch tells of; one method for all, so that a node has one watch however often it is read."""
        path = event.path
        if path is None:
            return
        parent, _, child = path.rpartition("/")
        for node in list(self._nodes.get(path, ())):
            self._read(lambda node=node: self._read_node(node))  # type: ignore[misc]
        for node in list(self._nodes.get(parent, ())):
            self._read(lambda node=node: self._read_node(node, child))  # type: ignore[misc]

    def _read_node(self, node: _Node, stale: str | None = None) -> None:
        """Read the list, and the data of what is new in it or `stale`."""
        client = self._client
        if client is None or node.closed:
            return
        try:
            members = self._members(client, node, stale)
        except (KazooException, KazooTimeoutError) as error:
            # A new connection reads all again.
            text = f"{self.name}: {node.path}: {reason(error)}"
            self._say(lambda: self._fail(node, text))
        else:
            self._say(lambda: None if node.closed else node.taker.told(members))

    def _members(self, client: Any, node: _Node, stale: str | None) -> Members | None:
        while True:
            try:
                names, stat = _get(client.get_children_async(node.path, watch=self._changed, include_data=True))
                break
            except NoNodeError:
                node.data.clear()
                if _get(client.exists_async(node.path, watch=self._changed)) is None:
                    return None
        names = sorted(names)[:MAX_MEMBERS]
        for gone in node.data.keys() - set(names):
            del node.data[gone]
        fresh = [name for name in names if name not in node.data or name == stale]
        asked = [(name, client.get_async(f"{node.path}/{name}", watch=self._changed)) for name in fresh]
        for name, result in asked:
            try:
                data, _ = _get(result)
            except NoNodeError:
                # The list will tell.
                node.data.pop(name, None)
            else:
                node.data[name] = data if len(data) <= MAX_DATA else b""
        return Members(dict(node.data), str(stat.pzxid))

    # ── Telling, on the loop ─────────────────────────────────────────────────────────────────────────────────────────

    def _say(self, tell: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(tell)

    def _fail(self, node: _Node, text: str) -> None:
        if not node.closed:
            node.taker.failed(ZooKeeperError(text))

    def _fail_all(self, text: str) -> None:
        for nodes in list(self._nodes.values()):
            for node in list(nodes):
                self._fail(node, text)


def _members_now(client: Any, path: str) -> Members | None:
    """Read without watches; in the reader's thread."""
    try:
        names, stat = _get(client.get_children_async(path, include_data=True))
    except NoNodeError:
        return None
    found: dict[str, bytes] = {}
    asked = [(name, client.get_async(f"{path}/{name}")) for name in sorted(names)[:MAX_MEMBERS]]
    for name, result in asked:
        # One that has gone meanwhile makes what is read another state than any: whoever compares asks again.
        with contextlib.suppress(NoNodeError):
            data, _ = _get(result)
            found[name] = data if len(data) <= MAX_DATA else b""
    return Members(found, str(stat.pzxid))


def _get(result: Any) -> Any:
    return result.get(timeout=ANSWER_SECONDS)


_known: Final[dict[tuple[tuple[str, ...], int], ZooKeeper]] = {}


async def close_sessions() -> None:
    """End every session of this process."""
    for zookeeper in _known.values():
        await zookeeper.close()


def zookeeper_at(hosts: Sequence[str], session_ms: int) -> ZooKeeper:
    """Give the client of some servers; all namers of a process share one, and so one session."""
    key = tuple(hosts), session_ms
    if key not in _known:
        _known[key] = ZooKeeper(*key)
    return _known[key]
