"""One member of a server set for each address: made in our session, and found again after whatever happens to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from biandou.announcers.interface import AnnounceError
from biandou.clients.retry import Retry
from biandou.clients.zookeeper import MAX_MEMBERS, ZooKeeperError
from biandou.clients.zookeeper_session import NodeMissing, Session
from biandou.dtab import Path

if TYPE_CHECKING:
    from biandou.announcers.serversets import ServersetsAnnouncerKind

MEMBER: Final = "member_"
AT_ONCE: Final = 100
"""So many members are read at once."""
LOOK_SECONDS: Final = 60.0
"""A member is looked at so often even if no watch tells of it."""


class MembersAnnouncer:
    """All members that one linker has at some servers: they share a session."""

    scheme = "zk-serversets"

    def __init__(self, kind: ServersetsAnnouncerKind, session: Session) -> None:
        self._kind = kind
        self._session = session
        self.name = session.name

    def registration(self, name: Path, ip: str, port: int) -> Member:
        """Give the member of `<pathPrefix>/<name>` that this address is."""
        return Member(self._session, self._kind.node(name), ip, port)


class Member:
    """The member of the node `parent` at an address: one, whoever made it.

    A linker that starts takes the place of a member that has its address: a former linker's, which ended without
    saying so. Later it leaves such a member alone: two that have one address (each host's Docker bridge, say) would
    otherwise remove each other's for ever.
    """

    retry = Retry(1.0, 60.0)

    def __init__(self, session: Session, parent: str, ip: str, port: int) -> None:
        self._session = session
        self._parent = parent
        self._place = {"host": ip, "port": port}
        self._data = json.dumps(
            {"serviceEndpoint": self._place, "additionalEndpoints": {}, "status": "ALIVE", "shard": 0},
            separators=(",", ":"),
        ).encode()
        self._changed = asyncio.Event()
        self._wake = self._changed.set
        self._entered = False
        self._node: str | None = None
        # The session that our member lasts with; none if the member is somebody else's.
        self._made_in: int | None = None
        # Whether we have ever been announced, and whether there may be a member of ours that we do not know of.
        self._begun = False
        self._unsure = False

    async def register(self) -> str:
        """Find the member, or make it; gives its path."""
        if not self._entered:
            self._entered = True
            self._session.enter(self._wake)
        self._changed.clear()
        try:
            if self._node is not None and await self._session.owner(self._node, self._wake) is not None:
                return self._node
            node = await self._found_or_made()
            owner = await self._session.owner(node, self._wake)
            if owner is None:
                raise AnnounceError(f"{self._session.name}: {node} vanished at once")
            self._node, self._made_in = node, owner if owner == self._session.id else None
            self._unsure = False
        except ZooKeeperError as error:
            raise AnnounceError(str(error)) from error
        self._begun = True
        return node

    async def hold(self) -> None:
        """Wait until the member, the session or the connection has changed."""
        await self.rest(LOOK_SECONDS)

    async def rest(self, seconds: float) -> None:
        """Wait so long, or until the connection has changed."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    async def withdraw(self) -> None:
        """Remove the member, and end the session if it was the last."""
        if not self._entered:
            return
        try:
            for node in await self._ours():
                await self._session.delete(node)
        except ZooKeeperError as error:
            raise AnnounceError(f"{error}; it ends with its session") from error
        finally:
            self._entered = False
            await self._session.leave(self._wake)

    async def _ours(self) -> list[str]:
        """Give the members that we have made; not asked for is what can't be there."""
        if self._session.id is None:
            if self._node is None and not self._unsure:
                return []
            raise ZooKeeperError(f"{self._session.name}: not connected")
        if self._unsure:
            return [node for node, owner in await self._members() if owner == self._session.id]
        return [self._node] if self._node is not None and self._made_in == self._session.id else []

    async def _found_or_made(self) -> str:
        if self._made_in not in (None, self._session.id) and not self._unsure:
            # The session has taken our member with it: a thousand linkers need not read each other's when that happens.
            return await self._made(())
        found = await self._members()
        ours = sorted(node for node, owner in found if owner == self._session.id)
        others = sorted(node for node, owner in found if owner != self._session.id)
        for more in ours[1:]:
            await self._session.delete(more)
        if ours:
            return ours[0]
        if others and self._begun:
            return others[0]
        return await self._made(others)

    async def _made(self, instead_of: Sequence[str]) -> str:
        try:
            return await self._create(instead_of)
        except NodeMissing:
            if instead_of:
                raise
        await self._session.ensure(self._parent)
        return await self._create(())

    async def _create(self, instead_of: Sequence[str]) -> str:
        self._unsure = True
        try:
            return await self._session.create(f"{self._parent}/{MEMBER}", self._data, instead_of)
        except NodeMissing:
            # The servers have said it: nothing was made.
            self._unsure = False
            raise

    async def _members(self) -> list[tuple[str, int]]:
        """Give the members at our address that last with a session, each with its session's number."""
        # The server that we are at now may not have heard yet of what we did at another.
        await self._session.sync(self._parent)
        try:
            names = [name for name in await self._session.children(self._parent) if name.startswith(MEMBER)]
        except NodeMissing:
            return []
        names = sorted(names)[:MAX_MEMBERS]
        found = []
        for start in range(0, len(names), AT_ONCE):
            nodes = [f"{self._parent}/{name}" for name in names[start : start + AT_ONCE]]
            read = await asyncio.gather(*(self._session.read(node) for node in nodes), return_exceptions=True)
            for node, told in zip(nodes, read, strict=True):
                if isinstance(told, NodeMissing):
                    continue
                if isinstance(told, BaseException):
                    raise told
                data, owner = told
                if owner and self._is_here(data):
                    found.append((node, owner))
        return found

    def _is_here(self, data: bytes) -> bool:
        try:
            member = json.loads(data)
        except (ValueError, RecursionError):
            return False
        return isinstance(member, dict) and member.get("serviceEndpoint") == self._place
