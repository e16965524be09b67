"""The members of nodes of ZooKeeper, one watch a node, whoever asks: what its three namers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from biandou.clients.zookeeper import Members, ZooKeeper, ZooKeeperError
from biandou.dtab import NEG, NameTree, Path
from biandou.dtab.bound import Bound, Origin
from biandou.live import Live, Source
from biandou.namers.followed import Followed, Memory, Registry
from biandou.namers.polled import Endpoints, Instances, shown_instances

Tree = NameTree[Path | Bound]
Read = Callable[[Members], Instances]


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
            memory: Memory[Instances] = Memory()
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
        watch = self._watches[key] = _NodeWatch(followed, read)
        unfollow = self._zookeeper.follow(path, watch)

        def stop() -> None:
            unfollow()
            followed.close()
            if self._watches.get(key) is watch:
                del self._watches[key]

        return stop


class _NodeWatch:
    def __init__(self, followed: Followed[Instances], read: Read) -> None:
        self.followed = followed
        self._read = read

    def told(self, members: Members | None) -> None:
        """Take in what is there."""
        self.followed.tell(*((), None) if members is None else (self._read(members), members.version))

    def confirmed(self) -> None:
        """Note that it still is."""
        self.followed.confirm()

    def failed(self, error: ZooKeeperError) -> None:
        """Stay with what is known."""
        if not self.followed.fail(error):
            self.followed.presume(())


def longest(
    nodes: Nodes, endpoints: Endpoints, prefix: Path, path: Path, question: Callable[[Path], tuple[str, str, Read]]
) -> Live[Tree]:
    """Give the tree of the longest beginning of `path` that has members; what is left over is the residual.

    `question` gives, for a beginning, the key, the node's path and how its members are read.
    """
    if not len(path):
        return Live.ok(NEG)

    def at(length: int) -> Live[Tree]:
        if length == 0:
            return Live.ok(NEG)
        key, node, read = question(path.take(length))
        tree = endpoints.tree(
            nodes.get(key, node, read), lambda: nodes.origin(key), prefix + path.take(length), path.drop(length)
        )
        return tree.flat_map(lambda found: at(length - 1) if found is NEG else Live.ok(found))

    return at(len(path))
