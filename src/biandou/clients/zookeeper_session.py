"""A session at ZooKeeper for nodes that last as long as it: asked from the event loop, made again when it has expired.

Kazoo's own threads do the work. It answers requests in their order, so that what was asked before a silence has
happened, or never will, when something that was asked after it is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.protocol.states import KazooState

from biandou.clients.zookeeper import ANSWER_SECONDS, ZooKeeperError
from biandou.clients.zookeeper_log import KAZOO_LOG
from biandou.errors import reason

FIRST_SECONDS: Final = 2.0
"""How long a request waits for a connection."""

Changed = Callable[[], None]


class NodeMissing(ZooKeeperError):
    """There is no such node."""


class Session:
    """A session at the servers `hosts`, each `host:port`, while somebody uses it; what asks raises `ZooKeeperError`."""

    def __init__(self, hosts: Sequence[str], session_ms: int) -> None:
        self._hosts = ",".join(hosts)
        self._session_ms = session_ms
        self.name = f"zookeeper at {self._hosts}"
        self._users: set[Changed] = set()
        self._client: Any = None
        self._connected = asyncio.Event()

    @property
    def id(self) -> int | None:
        """The session's number, which is another after it has expired; `None` without a connection."""
        client = self._client
        known = client.client_id if client is not None and client.connected else None
        return None if known is None else int(known[0])

    def enter(self, changed: Changed) -> None:
        """Use it from now on; `changed` is called on the loop whenever the connection or the session has changed."""
        self._users.add(changed)
        if self._client is None:
            self._open()

    async def leave(self, changed: Changed) -> None:
        """Use it no more: the last who does so ends it, and what was made in it is gone. May be cancelled."""
        self._users.discard(changed)
        client = self._client
        if self._users or client is None:
            return
        self._client = None
        self._connected.clear()
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()

        def end() -> None:
            client.stop()
            client.close()
            with contextlib.suppress(RuntimeError):  # nobody waits any more
                loop.call_soon_threadsafe(ended.set)

        # It waits for the servers; nothing waits for a daemon at the end of the process.
        threading.Thread(target=end, name="zookeeper-end", daemon=True).start()
        await ended.wait()

    # ── Nodes ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def sync(self, path: str) -> None:
        """Have the server that we ask know all that the others did until now."""
        await self._ask(lambda client: client.sync_async(path))

    async def children(self, path: str) -> list[str]:
        """Give the names of a node's children; raises `NodeMissing`."""
        return list(await self._ask(lambda client: client.get_children_async(path)))

    async def read(self, path: str) -> tuple[bytes, int]:
        """Give a node's data, and the number of the session that it lasts with, 0 if none; raises `NodeMissing`."""
        data, stat = await self._ask(lambda client: client.get_async(path))
        return data, int(stat.ephemeralOwner)

    async def owner(self, path: str, gone: Changed) -> int | None:
        """Give the number of the session that a node lasts with, 0 if with none, `None` if there is no node.

        `gone` is called on the loop when that, or the node's data, has changed since.
        """
        loop = asyncio.get_running_loop()
        stat = await self._ask(lambda client: client.exists_async(path, watch=_Watch(loop, gone)))
        return None if stat is None else int(stat.ephemeralOwner)

    async def ensure(self, path: str) -> None:
        """Make a node that stays, and those above it, where there are none."""
        await self._ask(lambda client: client.ensure_path_async(path))

    async def create(self, path: str, data: bytes, instead_of: Sequence[str] = ()) -> str:
        """Make a node whose name is completed by a number, and which ends with the session; gives its path.

        The nodes `instead_of` are removed in the same moment, or nothing is done: then one of them was missing, too.
        """

        def ask(client: Any) -> Any:
            transaction = client.transaction()
            for other in instead_of:
                transaction.delete(other)
            transaction.create(path, data, ephemeral=True, sequence=True)
            return transaction.commit_async()

        results = await self._ask(ask)
        for result in results:
            if isinstance(result, NoNodeError):
                raise NodeMissing(f"{self.name}: {path}: {reason(result)}")
        made = results[-1]
        if not isinstance(made, str):
            raise ZooKeeperError(f"{self.name}: {path}: {_said(made)}")
        return made

    async def delete(self, path: str) -> None:
        """Remove a node; that there is none is no mistake."""
        with contextlib.suppress(NodeMissing):
            await self._ask(lambda client: client.delete_async(path))

    # ── Kazoo ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _open(self) -> None:
        loop = asyncio.get_running_loop()
        client = self._client = KazooClient(
            hosts=self._hosts,
            timeout=self._session_ms / 1000,
            connection_retry={"max_tries": -1, "delay": 0.1, "max_delay": 5.0},
            logger=KAZOO_LOG,
        )

        def listen(state: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._state_changed, client, state)

        client.add_listener(listen)
        client.start_async()

    def _state_changed(self, client: Any, state: str) -> None:
        if client is not self._client:
            return
        if state == KazooState.CONNECTED:
            self._connected.set()
        else:
            self._connected.clear()
        for changed in list(self._users):
            changed()

    async def _ask(self, ask: Callable[[Any], Any]) -> Any:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                await self._connected.wait()
        except TimeoutError:
            raise ZooKeeperError(f"{self.name}: not connected") from None
        client = self._client
        if client is None:
            raise ZooKeeperError(f"{self.name}: not open")
        answered: asyncio.Future[Any] = loop.create_future()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                ask(client).rawlink(lambda result: _tell(loop, answered, result))
                return await answered
        except NoNodeError as error:
            raise NodeMissing(f"{self.name}: {reason(error)}") from error
        except KazooException as error:
            raise ZooKeeperError(f"{self.name}: {_said(error)}") from error
        except TimeoutError:
            raise ZooKeeperError(f"{self.name}: no answer in time") from None


class _Watch:
    """Kazoo keeps a watch once however often it is set: two for the same callback are equal."""

    def __init__(self, loop: asyncio.AbstractEventLoop, gone: Changed) -> None:
        self._loop = loop
        self._gone = gone

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Watch) and self._gone == other._gone

    def __hash__(self) -> int:
        return hash(self._gone)

    def __call__(self, _event: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._gone)


def _tell(loop: asyncio.AbstractEventLoop, answered: asyncio.Future[Any], result: Any) -> None:
    """Hand an answer over from kazoo's thread to the loop."""

    def settle() -> None:
        if answered.done():
            return
        if result.exception is None:
            answered.set_result(result.value)
        else:
            answered.set_exception(result.exception)

    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(settle)


def _said(error: Any) -> str:
    """Give kazoo's class where it gives no message."""
    return reason(error) if isinstance(error, Exception) else repr(error)
