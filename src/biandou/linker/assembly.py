"""From the configuration to what binds names: the namers, and each router's interpreter, transformers and policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from biandou.config.linker import LinkerConfig
from biandou.config.plan import ClientPolicy, ServicePolicy
from biandou.config.planning import client_policy, service_policy
from biandou.config.router import HttpRouter
from biandou.dtab import Dtab, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.dtab.evaluation import Evaluator
from biandou.linker.router import Router
from biandou.live import Live
from biandou.namers.all import Namers
from biandou.namers.interface import Namer
from biandou.transformers.interface import Interpret, TransformedNamer, Transformer


@dataclass(frozen=True, slots=True)
class Assembled:
    """What binds names in one linker; `namers` are those that were configured, in their order, without transformers."""

    routers: tuple[Router, ...]
    namers: tuple[Namer, ...]


def assemble(config: LinkerConfig) -> Assembled:
    """Make everything that binds names; opens nothing. Raises `ValueError` or `OSError` for what can't be made."""
    configured = tuple(kind.namer() for kind in config.namers)

    def lookup(path: Path) -> Live[NameTree[Path | Bound]]:
        return namers.lookup(path)

    # What `replace` and `const` name is bound by the namers alone.
    interpret: Interpret = Evaluator(Live.ok(Dtab()), lookup).bind
    namers = Namers(
        [
            _with_transformers(namer, [transformer.transformer(interpret) for transformer in kind.transformers])
            for namer, kind in zip(configured, config.namers, strict=True)
        ]
    )
    routers = tuple(
        Router(
            label=router.name,
            interpreter=router.interpreter.interpreter(Live.ok(router.dtab), namers),
            transformers=tuple(kind.transformer(interpret) for kind in router.interpreter.transformers),
            service_policy=partial(_service_policy, router),
            client_policy=partial(_client_policy, router),
        )
        for router in config.routers
    )
    return Assembled(routers, configured)


def _service_policy(router: HttpRouter, service: Path) -> ServicePolicy:
    return service_policy(router, str(service))


def _client_policy(router: HttpRouter, client: Path) -> ClientPolicy:
    return client_policy(router, str(client))


def _with_transformers(namer: Namer, transformers: Sequence[Transformer]) -> Namer:
    return TransformedNamer(namer, tuple(transformers)) if transformers else namer
