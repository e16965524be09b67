"""From the configuration to what binds names: the namers, and each router's interpreter, transformers and policies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from biandou.config.client import GlobalClient
from biandou.config.linker import LinkerConfig
from biandou.config.plan import ClientPolicy, ServicePolicy
from biandou.config.planning import client_policy, service_policy
from biandou.config.router import Router as WrittenRouter
from biandou.config.service import GlobalService
from biandou.dtab import Dtab, Path
from biandou.linker.router import Router
from biandou.live import Live, Source
from biandou.namers.interface import Namer
from biandou.transformers.assembly import AssembledNamers, assemble_namers
from biandou.transformers.interface import transformers_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Assembled:
    """What binds names in one linker, and what the next configuration needs to keep what it has in common with this."""

    config: LinkerConfig
    routers: tuple[Router, ...]
    names: AssembledNamers
    dtabs: dict[str, Source[Dtab]] = field(default_factory=dict)

    @property
    def namers(self) -> tuple[Namer, ...]:
        """Those that were configured, in their order, without transformers, and those of `/$` that decide something."""
        return *self.names.configured, *self.names.judging

    @property
    def minded(self) -> list[object]:
        """All namers and transformers: some want to hear what the engine finds out."""
        around = [transformer for namer in self.names.all.configured for transformer in transformers_of(namer)]
        return [*self.namers, *around, *(one for router in self.routers for one in router.transformers)]

    def enact(self) -> None:
        """Put the dtabs in force: until now the routers that are kept went by what they had."""
        for router in self.config.routers:
            self.dtabs[router.name].set(router.dtab)


def assemble(config: LinkerConfig, former: Assembled | None = None) -> Assembled:
    """Make everything that binds names, keeping what `former` has of it; opens and changes nothing.

    A namer or interpreter that is kept goes on with what it watches. Raises `ValueError` or `OSError` for what can't be
    made.
    """
    if former is not None and former.config.namers == config.namers:
        names = former.names
        known = {router.name: router for router in former.config.routers}
    else:
        names = assemble_namers(config.namers, former.names if former is not None else None)
        known = {}
    made = {router.label: router for router in former.routers} if former is not None else {}
    routers: list[Router] = []
    dtabs: dict[str, Source[Dtab]] = {}
    for router in config.routers:
        if former is not None and router.name in known and known[router.name].interpreter == router.interpreter:
            dtabs[router.name] = former.dtabs[router.name]
            routers.append(_renewed(made[router.name], known[router.name], router))
        else:
            dtab: Source[Dtab] = Source()
            dtab.set(router.dtab)
            dtabs[router.name] = dtab
            routers.append(_router(router, dtab, names))
    return Assembled(config, tuple(routers), names, dtabs)


def _router(config: WrittenRouter, dtab: Live[Dtab], names: AssembledNamers) -> Router:
    return Router(
        label=config.name,
        interpreter=config.interpreter.interpreter(dtab, names.all),
        transformers=tuple(kind.transformer(names.interpret) for kind in config.interpreter.transformers),
        service_policy=_Shared(partial(_service_policy, config), isinstance(config.service, GlobalService)),
        client_policy=_Shared(partial(_client_policy, config), isinstance(config.client, GlobalClient)),
    )


def _renewed(made: Router, former: WrittenRouter, config: WrittenRouter) -> Router:
    """Give a router with the same interpreter, which is the very same router if its policies are, too."""
    if former.service == config.service and former.client == config.client:
        return made
    return Router(
        label=config.name,
        interpreter=made.interpreter,
        transformers=made.transformers,
        service_policy=_Shared(partial(_service_policy, config), isinstance(config.service, GlobalService)),
        client_policy=_Shared(partial(_client_policy, config), isinstance(config.client, GlobalClient)),
    )


class _Shared(Generic[T]):
    """Gives policies that are equal to the last one as that one; with `one` there is but one for all names."""

    def __init__(self, policy: Callable[[Path], T], one: bool) -> None:
        self._policy = policy
        self._one = one
        self._last: T | None = None

    def __call__(self, path: Path) -> T:
        """Give what holds for a name."""
        if self._one and self._last is not None:
            return self._last
        policy = self._policy(path)
        if policy != self._last:
            self._last = policy
            return policy
        return self._last


def _service_policy(router: WrittenRouter, service: Path) -> ServicePolicy:
    return service_policy(router, str(service))


def _client_policy(router: WrittenRouter, client: Path) -> ClientPolicy:
    return client_policy(router, str(client))
