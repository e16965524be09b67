"""From the configuration to what binds names: the namers, and each router's interpreter, transformers and policies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from biandou.config.linker import LinkerConfig
from biandou.config.plan import ClientPolicy, ServicePolicy
from biandou.config.planning import client_policy, service_policy
from biandou.config.router import HttpRouter
from biandou.dtab import Path
from biandou.linker.router import Router
from biandou.live import Live
from biandou.namers.interface import Namer
from biandou.transformers.assembly import assemble_namers


@dataclass(frozen=True, slots=True)
class Assembled:
    """What binds names in one linker; `namers` are those that were configured, in their order, without transformers."""

    routers: tuple[Router, ...]
    namers: tuple[Namer, ...]


def assemble(config: LinkerConfig) -> Assembled:
    """Make everything that binds names; opens nothing. Raises `ValueError` or `OSError` for what can't be made."""
    namers = assemble_namers(config.namers)
    routers = tuple(
        Router(
            label=router.name,
            interpreter=router.interpreter.interpreter(Live.ok(router.dtab), namers.all),
            transformers=tuple(kind.transformer(namers.interpret) for kind in router.interpreter.transformers),
            service_policy=partial(_service_policy, router),
            client_policy=partial(_client_policy, router),
        )
        for router in config.routers
    )
    return Assembled(routers, namers.configured)


def _service_policy(router: HttpRouter, service: Path) -> ServicePolicy:
    return service_policy(router, str(service))


def _client_policy(router: HttpRouter, client: Path) -> ClientPolicy:
    return client_policy(router, str(client))
