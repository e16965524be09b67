"""The members of nodes of ZooKeeper, one watch a node, whoever asks: what its three namers share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final
from weakref import WeakValueDictionary

from biandou.clients.zookeeper import Members, ZooKeeper, ZooKeeperError
from biandou.dtab import NEG, NameTree, Path
from biandou.dtab.bound import Bound, Origin
from biandou.live import Live, Source
from biandou.namers.followed import Followed, Memory, Registry
from biandou.namers.polled import Endpoints, Instances, shown_instances

Tree = NameTree[Path | Bound]
Read = Callable[[Members], Instances]

_NEGATIVE: Final[Live[Tree]] = Live.ok(NEG)


class Nodes:
    """What `read` makes of each node's members; none for one that is not there.

    Until something was known ZooKeeper's failing means "nothing is here" (reference/naming.md §1.13).
    """

    def __init__(self, zookeeper: ZooKeeper, registry: Registry) -> None:
        self._zookeeper = zookeeper
        self._registry = registry
        self._sources: WeakValueDictionary[str, Source[Instances]] = WeakValueDictionary()
        self._watches: dict[str, _NodeWatch] = {}

    def get(self, key: str, path: str, read: Read) -> Live[Instances]:
        """Give the members of the node `path`, as `read` gives them; `key` tells this question from others."""
        source = self._sources.get(key)
        if source is None:
            memory: Memory[Instances] = Memory(Instances)
            source = self._sources[key] = Source(follow=lambda source: self._follow(key, path, read, source, memory))
        return source

    def origin(self, key: str) -> Origin | None:
        """Give where what is known comes from, while it is followed."""
        watch = self._watches.get(key)
        return None if watch is None else watch.followed.origin

    def state(self) -> dict[str, Any]:
        """Give what is followed now, as JSON values."""
        return {key: watch.followed.state(shown_instances) for key, watch in list(self._watches.items())}

    def _follow(
        self, key: str, path: str, read: Read, source: Source[Instances], memory: Memory[Instances]
    ) -> Callable[[], None]:
        followed = Followed(self._registry, key, path, source, memory)
        watch = self._watches[key] = _NodeWatch(self._zookeeper, path, followed, read)
        unfollow = self._zookeeper.follow(path, watch)
        followed.reconcile(watch)

        def stop() -> None:
            unfollow()
            followed.close()
            if self._watches.get(key) is watch:
                del self._watches[key]

        return stop


class _NodeWatch:
    def __init__(self, zookeeper: ZooKeeper, path: str, followed: Followed[Instances], read: Read) -> None:
        self.followed = followed
        self._zookeeper = zookeeper
        self._path = path
        self._read = read

    @property
    def slack(self) -> float:
        """A watch tells at once."""
        return 0.0

    async def read(self) -> tuple[Instances, str | None]:
        """Give what is there now, whatever the watches tell; raises `ZooKeeperError`."""
        return self._made(await self._zookeeper.read(self._path))

    def anew(self) -> None:
        """Set the watches again."""
        self._zookeeper.anew(self._path)

    def told(self, members: Members | None) -> None:
        """Take in what is there."""
        self.followed.tell(*self._made(members))

    def _made(self, members: Members | None) -> tuple[Instances, str | None]:
        return ((), None) if members is None else (self._read(members), members.version)

    def confirmed(self) -> None:
        """Note that it still is."""
        self.followed.confirm()

    def failed(self, error: ZooKeeperError) -> None:
        """Stay with what is known."""
        if not self.followed.fail(error):
            self.followed.presume(())


class NodeNamer:
    """A namer whose names are paths of nodes; of a path that is too long the end is the residual."""

    def __init__(self, prefix: Path, zookeeper: ZooKeeper, registry: Registry) -> None:
        self.prefix = prefix
        self._zookeeper = zookeeper
        self._nodes = Nodes(zookeeper, registry)
        self._endpoints = Endpoints()

    def lookup(self, path: Path) -> Live[Tree]:
        """Give a leaf for the longest beginning of the path that has members, else a negative tree."""
        try:
            names = [part.decode() for part in path.segments]
        except UnicodeDecodeError:
            return _NEGATIVE
        if any("/" in name or name in (".", "..") for name in names):
            return _NEGATIVE
        return self._at(path, names, len(names))

    def state(self) -> dict[str, Any]:
        """Give what is followed now."""
        return self._nodes.state()

    def source(self, client: Path) -> str:
        """Give where a client name's endpoints are."""
        names = "/".join(part.decode(errors="replace") for part in client.drop(len(self.prefix)).segments)
        return f"{self._zookeeper.name}: /{names}"

    def question(self, names: Sequence[str]) -> tuple[str, str, Read]:
        """Give what tells the question about a path from others, the node's path, and how its members are read."""
        raise NotImplementedError

    def _at(self, path: Path, names: Sequence[str], length: int) -> Live[Tree]:
        if length == 0:
            return _NEGATIVE
        key, node, read = self.question(names[:length])
        tree = self._endpoints.tree(
            self._nodes.get(key, node, read),
            lambda: self._nodes.origin(key),
            self.prefix + path.take(length),
            path.drop(length),
        )
        return tree.flat_map(lambda found: self._at(path, names, length - 1) if found is NEG else Live.ok(found))
