"""What a name means in Eureka: the instances of an application that are UP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from biandou.clients.eureka import Applications, Eureka, Registered
from biandou.clients.registry_access import RETRY, Beat, Instance
from biandou.dtab import NEG, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.live import Live
from biandou.namers.polled import Ask, Endpoints, Instances, Polled, Told, in_order, shown_instances, texts

if TYPE_CHECKING:
    from biandou.namers.eureka import EurekaNamerKind

Tree = NameTree[Path | Bound]
Known = Mapping[str, Instances]
"""What may be used, by application."""

UP: Final = "UP"
ZONE: Final = "zone"
"""The metadata key of an instance's zone, as Eureka's clients write it."""

_NEGATIVE: Final[Live[Tree]] = Live.ok(NEG)
_APPS: Final = "apps"


class EurekaNamer:
    """Names of the form `/<application>[/<residual>]`, in any case."""

    def __init__(self, kind: EurekaNamerKind, eureka: Eureka) -> None:
        self.prefix = kind.full_prefix
        self._kind = kind
        self._eureka = eureka
        beat = Beat(kind.ttl_ms / 1000, kind.jitter_ms / 1000, RETRY)
        self._apps: Polled[Known] = Polled(
            eureka, self._ask, beat, _shown, kind.registry(eureka.name), form=Known, size=_size, fails_at_first=True
        )
        self._endpoints = Endpoints()

    def lookup(self, path: Path) -> Live[Tree]:
        """Give a leaf while the application has instances that are UP, else a negative tree."""
        names = texts(path, 1)
        if names is None:
            return _NEGATIVE
        name = names[0].upper()
        return self._endpoints.tree(
            self._apps.get(_APPS).map(lambda known: known.get(name, ())),
            lambda: self._apps.origin(_APPS),
            self.prefix + path.take(1),
            path.drop(1),
        )

    def state(self) -> dict[str, Any]:
        """Give what is followed now."""
        return self._apps.state()

    def source(self, client: Path) -> str:
        """Give where a client name's endpoints are."""
        names = "/".join(part.decode(errors="replace").upper() for part in client.drop(len(self.prefix)).segments)
        return f"{self._eureka.name}: {names}"

    def _ask(self, _name: str) -> tuple[str, Ask[Known]]:
        reader = self._eureka.reader()

        async def ask() -> Told[Known] | None:
            news = await reader.read()
            return None if news is None else Told(self._usable(news.applications), news.hash_code, news.corrected)

        return "/apps/delta, /apps" if self._kind.delta else "/apps", ask

    def _usable(self, applications: Applications) -> Known:
        found = {
            name: in_order([one for one in map(self._instance, instances.values()) if one is not None])
            for name, instances in applications.items()
        }
        return {name: instances for name, instances in found.items() if instances}

    def _instance(self, one: Registered) -> Instance | None:
        kind = self._kind
        port = one.secure_port if kind.use_secure_port else one.port
        host = one.host_name or one.ip if kind.use_host_name else one.ip or one.host_name
        if one.status != UP or port is None or not host:
            return None
        meta = {key: value for key, value in one.metadata if kind.transfer_metadata or key == ZONE}
        return Instance(host, port, meta)


def _size(known: Known) -> int:
    return sum(map(len, known.values()))


def _shown(known: Known) -> dict[str, list[str]]:
    return {name: shown_instances(instances) for name, instances in sorted(known.items())}
