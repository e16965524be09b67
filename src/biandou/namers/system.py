"""`/$/…`: the namers that every process has without configuration (reference/naming.md §1.2)."""

from __future__ import annotations

from collections.abc import Iterable

from biandou.clients.dns import Resolver
from biandou.dtab import EMPTY, FAIL, NEG, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.errors import BindingError
from biandou.live import Live
from biandou.namers.at_least import AtLeastNamer
from biandou.namers.inet import InetNamer, RinetNamer, unknown_namer
from biandou.namers.interface import Interpret, Namer
from biandou.namers.serversets import ServersetsNamerKind
from biandou.namers.utility import REWRITES, RewritingNamer, StatusNamer
from biandou.namers.zk_leader import ZkLeaderNamerKind
from biandou.namers.zk_system import ZkPathNamer


class ConstantNamer:
    """`/$/nil` and `/$/fail`: one answer whatever follows."""

    def __init__(self, name: str, tree: NameTree[Path | Bound]) -> None:
        self.prefix = Path.of("$", name)
        self._answer = Live.ok(tree)

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        """Give the answer."""
        return self._answer


class SystemNamer:
    """Hands `/$/<name>/…` to the namer of that name; `interpret` binds by all namers of the process."""

    def __init__(
        self,
        resolver: Resolver | None = None,
        extra: Iterable[Namer] = (),
        interpret: Interpret | None = None,
    ) -> None:
        self.prefix = Path.of("$")
        resolver = resolver or Resolver()
        self.at_least = AtLeastNamer(interpret or _alone)
        namers: list[Namer] = [
            InetNamer("inet", resolver),
            InetNamer("fixedinet", Resolver(forever=True)),
            RinetNamer(resolver),
            ConstantNamer("nil", EMPTY),
            ConstantNamer("fail", FAIL),
            StatusNamer(),
            self.at_least,
            ZkPathNamer("io.buoyant.namer.zk.leader", ZkLeaderNamerKind),
            ZkPathNamer("com.twitter.serverset", ServersetsNamerKind),
            *(RewritingNamer(name, rewrite) for name, rewrite in REWRITES.items()),
            *extra,
        ]
        self._namers = {namer.prefix.segments[1]: namer for namer in namers}

    @property
    def names(self) -> frozenset[bytes]:
        """What may follow `/$`."""
        return frozenset(self._namers)

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        """Give what the path means, `path` being what follows `/$`; an unknown name fails, as a class not found."""
        if len(path) == 0:
            return Live.ok(NEG)
        namer = self._namers.get(path.segments[0])
        if namer is not None:
            return namer.lookup(path.drop(1))
        return Live.failed(unknown_namer(self.prefix + path))


def _alone(path: Path) -> Live[NameTree[Bound]]:
    return Live.failed(BindingError(f"there are no other namers here: {path}"))
