"""From the configuration to what binds names: the namers, and each router's interpreter, transformers and policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec

from biandou.config.linker import LinkerConfig
from biandou.config.plan import ClientPolicy, ServicePolicy
from biandou.config.planning import client_policy, service_policy
from biandou.config.router import HttpRouter
from biandou.dtab import Dtab, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.dtab.evaluation import Evaluator
from biandou.linker.router import Router
from biandou.live import Live, Source
from biandou.namers.all import Namers
from biandou.namers.interface import Namer, NamerKind
from biandou.transformers.interface import Interpret, TransformedNamer, Transformer


@dataclass(frozen=True, slots=True)
class Assembled:
    """What binds names in one linker; `namers` are those that were configured, in their order, without transformers.

    The rest is for the next configuration, which keeps what it has in common with this one.
    """

    config: LinkerConfig
    routers: tuple[Router, ...]
    namers: tuple[Namer, ...]
    all_namers: Namers
    interpret: Interpret
    dtabs: dict[str, Source[Dtab]] = field(default_factory=dict)

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
        configured, namers, interpret = former.namers, former.all_namers, former.interpret
    else:
        configured = _namers(config.namers, former)
        namers, interpret = _with_all_transformers(config.namers, configured)
    same_namers = former is not None and former.all_namers is namers
    known = {router.name: router for router in former.config.routers} if former is not None and same_namers else {}
    made = {router.label: router for router in former.routers} if former is not None else {}
    routers: list[Router] = []
    dtabs: dict[str, Source[Dtab]] = {}
    for router in config.routers:
        same = router.name in known and known[router.name].interpreter == router.interpreter
        if former is not None and same:
            dtabs[router.name] = former.dtabs[router.name]
            routers.append(_renewed(made[router.name], known[router.name], router))
        else:
            dtab: Source[Dtab] = Source()
            dtab.set(router.dtab)
            dtabs[router.name] = dtab
            routers.append(_router(router, dtab, namers, interpret))
    return Assembled(config, tuple(routers), configured, namers, interpret, dtabs)


def _namers(kinds: Sequence[NamerKind], former: Assembled | None) -> tuple[Namer, ...]:
    """Make the namers, without transformers; one that is configured as before is the one from before."""
    known = list(zip(map(_bare, former.config.namers), former.namers, strict=True)) if former is not None else []
    namers: list[Namer] = []
    for kind in kinds:
        place = next((place for place, (other, _) in enumerate(known) if other == _bare(kind)), None)
        namers.append(kind.namer() if place is None else known.pop(place)[1])
    return tuple(namers)


def _bare(kind: NamerKind) -> NamerKind:
    return msgspec.structs.replace(kind, transformers=())


def _with_all_transformers(kinds: Sequence[NamerKind], configured: Sequence[Namer]) -> tuple[Namers, Interpret]:
    def lookup(path: Path) -> Live[NameTree[Path | Bound]]:
        return namers.lookup(path)

    # What `replace` and `const` name is bound by the namers alone.
    interpret: Interpret = Evaluator(Live.ok(Dtab()), lookup).bind
    namers = Namers(
        [
            _with_transformers(namer, [transformer.transformer(interpret) for transformer in kind.transformers])
            for namer, kind in zip(configured, kinds, strict=True)
        ]
    )
    return namers, interpret


def _with_transformers(namer: Namer, transformers: Sequence[Transformer]) -> Namer:
    return TransformedNamer(namer, tuple(transformers)) if transformers else namer


def _router(config: HttpRouter, dtab: Live[Dtab], namers: Namers, interpret: Interpret) -> Router:
    return Router(
        label=config.name,
        interpreter=config.interpreter.interpreter(dtab, namers),
        transformers=tuple(kind.transformer(interpret) for kind in config.interpreter.transformers),
        service_policy=partial(_service_policy, config),
        client_policy=partial(_client_policy, config),
    )


def _service_policy(router: HttpRouter, service: Path) -> ServicePolicy:
    return service_policy(router, str(service))


def _client_policy(router: HttpRouter, client: Path) -> ClientPolicy:
    return client_policy(router, str(client))


def _renewed(made: Router, former: HttpRouter, config: HttpRouter) -> Router:
    """Give a router with the same interpreter, which is the very same router if its policies are, too."""
    if former.service == config.service and former.client == config.client:
        return made
    return Router(
        label=config.name,
        interpreter=made.interpreter,
        transformers=made.transformers,
        service_policy=partial(_service_policy, config),
        client_policy=partial(_client_policy, config),
    )
