"""Names of a sound configuration that no namer answers for, and keys of namers that do nothing as they are written.

None of it is a mistake for sure: a namer that is not there is an unknown name, as in Linkerd. Nobody writes it on
purpose, though, and the requests that it fails say nothing of the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from biandou.config.linker import LinkerConfig
from biandou.config.router import Router
from biandou.dtab import Path
from biandou.interpreters.consul import ConsulInterpreterKind
from biandou.interpreters.fs import FsInterpreterKind
from biandou.interpreters.interface import InterpreterKind
from biandou.interpreters.k8s_config_map import ConfigMapInterpreterKind
from biandou.interpreters.local import DefaultInterpreterKind
from biandou.kinds import kind_name
from biandou.namers.at_least import AT_LEAST
from biandou.namers.consul import ConsulNamerKind
from biandou.namers.eureka import EurekaNamerKind
from biandou.namers.failover import FailoverNamerKind
from biandou.namers.interface import NamerKind
from biandou.namers.nacos import NacosNamerKind
from biandou.namers.rewrite import RewriteNamerKind
from biandou.transformers.const import ConstTransformerKind
from biandou.transformers.replace import ReplaceTransformerKind

_HERE: Final = (DefaultInterpreterKind, FsInterpreterKind, ConfigMapInterpreterKind, ConsulInterpreterKind)
"""Those that ask the namers of this configuration."""


def naming_remarks(config: LinkerConfig) -> Iterator[str]:
    """Give a line for each name that leads nowhere and each key that does nothing."""
    yield from namer_remarks(config.namers)
    namers = [namer.full_prefix for namer in config.namers]
    for router in config.routers:
        where = f"router {router.name}"
        yield from _nowhere(where, _fixed(router.interpreter), namers)
        if isinstance(router.interpreter, _HERE):
            yield from _nowhere(where, _in_dtab(router), namers)
        match router.interpreter:
            case ConsulInterpreterKind(write_consistency_mode=mode) if mode != "default":
                yield f"{where}: interpreter: writeConsistencyMode: nothing is written"


def namer_remarks(kinds: Sequence[NamerKind]) -> Iterator[str]:
    """Give these lines for the namers of a configuration, a linker's or a namerd's."""
    namers = [namer.full_prefix for namer in kinds]
    for namer in kinds:
        where = f"namer {namer.full_prefix}"
        yield from (f"{where}: {line}" for line in _of_namer(namer))
        yield from _nowhere(where, _led_to(namer), namers)
        yield from _nowhere(where, _fixed(namer), namers)


def _nowhere(where: str, paths: Iterable[Path], namers: list[Path]) -> Iterator[str]:
    for path in dict.fromkeys(map(_asked_for, paths)):
        if path.segments[:1] == (b"$",):
            continue
        if path.segments[:1] != (b"#",):
            yield f"{where}: {path} is bound without a dtab, so that only /#/… and /$/… mean something"
        # A shorter one may become a namer's by what is appended to it.
        elif not any(path.starts_with(namer) or namer.starts_with(path) for namer in namers):
            known = f"; namers: {', '.join(map(str, namers))}" if namers else ": there are none"
            yield f"{where}: no namer answers for {path}{known}"


def _asked_for(path: Path) -> Path:
    """Give what stands behind `/$/io.biandou.atLeast/<amount>`."""
    return path.drop(3) if path.starts_with(AT_LEAST) and len(path) > 3 else path


def _in_dtab(router: Router) -> Iterator[Path]:
    for dentry in router.dtab:
        for path in dentry.dst.leaves():
            # Others are looked up in the dtab again.
            if path.segments[:1] == (b"#",) or path.starts_with(AT_LEAST):
                yield path


def _led_to(namer: NamerKind) -> Iterator[Path]:
    if isinstance(namer, FailoverNamerKind):
        yield from (Path.read(tier.dst) for tier in namer.tiers)


def _fixed(carrier: NamerKind | InterpreterKind) -> Iterator[Path]:
    for transformer in carrier.transformers:
        if isinstance(transformer, ConstTransformerKind | ReplaceTransformerKind):
            yield Path.read(transformer.path)


def _of_namer(namer: NamerKind) -> Iterator[str]:
    match namer:
        case ConsulNamerKind(use_health_check=False, health_statuses=statuses) if statuses != ("passing",):
            yield "healthStatuses: without `useHealthCheck: true` all instances are used"
        case RewriteNamerKind(transformers=carried) if carried:
            yield f"transformers: what {kind_name(type(namer))} gives is not bound yet; write them at the interpreter"
        case EurekaNamerKind(tls=tls) | NacosNamerKind(tls=tls) if tls is not None:
            if not any(server.startswith("https:") for server in namer.servers):
                yield "tls: none of the servers is https://…"
