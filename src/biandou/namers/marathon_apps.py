"""What a name means in Marathon: the shortest beginning of it that is an app, and that app's tasks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from biandou.clients.marathon import Marathon
from biandou.clients.registry_access import Beat
from biandou.clients.registry_http import ANSWER_SECONDS, RegistryAway
from biandou.dtab import NEG, Dtab, NameTree, Path
from biandou.dtab.bound import Addresses, AddressSet, Bound
from biandou.dtab.evaluation import Evaluator
from biandou.live import PENDING, Failed, Live, Ok, Pending, State, Watch
from biandou.namers.all import Namers
from biandou.namers.polled import Ask, Endpoints, Instances, Polled, Told, in_order, shown_instances
from biandou.namers.system import SystemNamer

if TYPE_CHECKING:
    from biandou.namers.marathon import MarathonNamerKind

Tree = NameTree[Path | Bound]
Ids = frozenset[str]

_NEGATIVE: Final[Live[Tree]] = Live.ok(NEG)
_APPS: Final = "apps"


class MarathonNamer:
    """Names of the form `/<segments of an app's id>[/<residual>]`, in any case."""

    def __init__(self, kind: MarathonNamerKind, marathon: Marathon, system: SystemNamer | None = None) -> None:
        self.prefix = kind.full_prefix
        self._marathon = marathon
        self._healthy = kind.use_health_check
        dst = Path.of("$", "inet", kind.host, str(kind.port)) if kind.dst is None else Path.read(kind.dst)
        self._place = Place(dst, marathon, system or SystemNamer())
        beat = Beat(kind.ttl_ms / 1000, kind.jitter_ms / 1000)
        registry = kind.registry(marathon.name)
        self._apps: Polled[Ids] = Polled(
            self._place, self._ask_apps, beat, sorted, registry, form=Ids, size=_no_size, fails_at_first=True
        )
        self._tasks: Polled[Instances] = Polled(
            self._place, self._ask_tasks, beat, shown_instances, registry, fails_at_first=True
        )
        self._endpoints = Endpoints()

    def lookup(self, path: Path) -> Live[Tree]:
        """Give a leaf while a beginning of the path is an app that has tasks, else a negative tree."""
        names: list[str] = []
        for segment in path.segments:
            try:
                text = segment.decode().lower()
            except UnicodeDecodeError:
                break
            if "/" in text:
                break
            names.append(text)
        if not names:
            return _NEGATIVE

        def shortest(apps: Ids) -> int:
            found = (count for count in range(1, len(names) + 1) if "/" + "/".join(names[:count]) in apps)
            return next(found, 0)

        return self._apps.get(_APPS).map(shortest).flat_map(lambda count: self._app(path, names[:count]))

    def state(self) -> dict[str, Any]:
        """Give what is asked for now."""
        return {"apps": self._apps.state(), "tasks": self._tasks.state()}

    def source(self, client: Path) -> str:
        """Give where a client name's endpoints are."""
        names = "/".join(part.decode(errors="replace").lower() for part in client.drop(len(self.prefix)).segments)
        return f"{self._marathon.name}: /{names}"

    def _app(self, path: Path, names: list[str]) -> Live[Tree]:
        if not names:
            return _NEGATIVE
        app, count = "/" + "/".join(names), len(names)
        return self._endpoints.tree(
            self._tasks.get(app), lambda: self._tasks.origin(app), self.prefix + path.take(count), path.drop(count)
        )

    def _ask_apps(self, _name: str) -> tuple[str, Ask[Ids]]:
        async def ask() -> Told[Ids]:
            return Told(await self._marathon.apps(await self._place.servers()))

        return "/v2/apps", ask

    def _ask_tasks(self, app: str) -> tuple[str, Ask[Instances]]:
        async def ask() -> Told[Instances]:
            servers = await self._place.servers()
            return Told(in_order(await self._marathon.tasks(servers, app, healthy=self._healthy)))

        return f"/v2/apps{app}?embed=app.tasks", ask


class Place:
    """Where Marathon is, which a path says that no configured namer knows; followed while anybody asks Marathon."""

    def __init__(self, dst: Path, marathon: Marathon, system: SystemNamer) -> None:
        self.name = marathon.name
        self._marathon = marathon
        self._found: Live[tuple[str, ...]] = _bound(dst, system).flat_map(self._bases)
        self._state: State[tuple[str, ...]] = PENDING
        self._changed = asyncio.Event()
        self._watch: Watch | None = None
        self._users = 0

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Follow where Marathon is, and keep connections, while the context is open."""
        self._users += 1
        if self._watch is None:
            self._watch = self._found.observe(self._take)
        try:
            async with self._marathon.opened():
                yield
        finally:
            self._users -= 1
            if self._users == 0 and self._watch is not None:
                self._watch.close()
                self._watch, self._state = None, PENDING

    async def servers(self) -> tuple[str, ...]:
        """Give where to ask now; raises `RegistryAway` if that is not known in time."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while isinstance(self._state, Pending):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise RegistryAway(f"{self.name}: its address is not known yet") from None
        if isinstance(self._state, Failed):
            raise RegistryAway(f"{self.name}: {self._state.error}")
        if not self._state.value:
            raise RegistryAway(f"{self.name}: its address is not known")
        return self._state.value

    def _take(self, state: State[tuple[str, ...]]) -> None:
        self._state = state
        self._changed.set()

    def _bases(self, tree: NameTree[Bound]) -> Live[tuple[str, ...]]:
        leaves = [leaf.addresses for leaf in tree.leaves()]

        def merge(states: tuple[State[Addresses], ...]) -> Live[tuple[str, ...]]:
            known = [state.value for state in states if isinstance(state, Ok)]
            if not known and any(isinstance(state, Pending) for state in states):
                return Live()
            sets = [found.addresses for found in known if isinstance(found, AddressSet)]
            return Live.ok(tuple(f"{self._marathon.scheme}://{one}" for found in sets for one in found))

        return Live.join(leaves).flat_map(merge)


def _bound(dst: Path, system: SystemNamer) -> Live[NameTree[Bound]]:
    return Evaluator(Live.ok(Dtab()), Namers((), system).lookup).bind(dst)


def _no_size(_ids: Ids) -> None:
    """Apps are no endpoints: a list of them is never held."""
