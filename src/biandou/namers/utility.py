"""The namers that only give a path another form, `/$/io.buoyant.…` (reference/naming.md §1.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from biandou.dtab import NEG, Leaf, NameTree, Path
from biandou.dtab.bound import Bound, LocalStatus
from biandou.live import Live

Rewrite = Callable[[Path], Path | None]
"""Gives the new path of what follows the namer's name, or `None` if it has not the namer's form."""

_METHOD: Final = re.compile(rb"[A-Z]+")
_HOST: Final = re.compile(rb"[A-Za-z0-9.:_-]+")
_HOST_PORT: Final = re.compile(rb"([^:]+):([a-z0-9][-a-z0-9]{0,62})")
_STATUS: Final = re.compile(rb"[1-5][0-9][0-9]")


class RewritingNamer:
    """A utility namer: its paths go back through the dtab, and what has not its form is negative."""

    def __init__(self, name: str, rewrite: Rewrite) -> None:
        self.prefix = Path.of("$", name)
        self._rewrite = rewrite

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        """Give the rewritten path."""
        rewritten = self._rewrite(path)
        return Live.ok(NEG if rewritten is None else Leaf(rewritten))


class StatusNamer:
    """`/$/io.buoyant.http.status/<code>`: the engine answers with that status itself."""

    def __init__(self) -> None:
        self.prefix = Path.of("$", "io.buoyant.http.status")

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        """Give a leaf for 100 ≤ code < 600."""
        if len(path) == 0 or not _STATUS.fullmatch(path.segments[0]):
            return Live.ok(NEG)
        code = int(path.segments[0])
        return Live.ok(Leaf(Bound(self.prefix + path.take(1), Live.ok(LocalStatus(code)), path.drop(1))))


def _any_method(path: Path) -> Path | None:
    match path.segments:
        case (method, *_) if _METHOD.fullmatch(method):
            return path.drop(1)
    return None


def _any_host(path: Path) -> Path | None:
    match path.segments:
        case (host, *_) if _HOST.fullmatch(host):
            return path.drop(1)
    return None


def _subdomain_of(path: Path) -> Path | None:
    match path.segments:
        case (domain, host, *rest) if _HOST.fullmatch(host):
            name, colon, _ = host.partition(b":")
            name = name if colon and name else host
            if name.endswith(b"." + domain) and len(name) > len(domain) + 1:
                return Path((name[: -len(domain) - 1], *rest))
    return None


def _domain_to_path(path: Path) -> Path | None:
    match path.segments:
        case (host, *rest) if _HOST.fullmatch(host):
            labels = [label for label in host.split(b".") if label]
            return Path((*reversed(labels), *rest)) if labels else None
    return None


def _host_port(path: Path, *, port_first: bool) -> Path | None:
    match path.segments:
        case (prefix, address, *rest):
            found = _HOST_PORT.fullmatch(address)
            if found:
                pair = (found[2], found[1]) if port_first else (found[1], found[2])
                return Path((prefix, *pair, *rest))
    return None


def _below_prefix(rewrite: Rewrite) -> Rewrite:
    """Do the same behind a first segment that stays: `/<pfx>/<host>/…`."""

    def below(path: Path) -> Path | None:
        rewritten = rewrite(path.drop(1)) if len(path) > 0 else None
        return None if rewritten is None else path.take(1) + rewritten

    return below


def _subdomain_of_prefix(path: Path) -> Path | None:
    # Here the domain stands in front of the prefix: `/<domain>/<pfx>/<host>/…`.
    match path.segments:
        case (domain, prefix, *rest):
            rewritten = _subdomain_of(Path((domain, *rest)))
            return None if rewritten is None else Path((prefix,)) + rewritten
    return None


REWRITES: Final[Mapping[str, Rewrite]] = {
    "io.buoyant.hostportPfx": lambda path: _host_port(path, port_first=False),
    "io.buoyant.porthostPfx": lambda path: _host_port(path, port_first=True),
    "io.buoyant.http.anyMethod": _any_method,
    "io.buoyant.http.anyMethodPfx": _below_prefix(_any_method),
    "io.buoyant.http.anyHost": _any_host,
    "io.buoyant.http.anyHostPfx": _below_prefix(_any_host),
    "io.buoyant.http.subdomainOf": _subdomain_of,
    "io.buoyant.http.subdomainOfPfx": _subdomain_of_prefix,
    "io.buoyant.http.domainToPath": _domain_to_path,
    "io.buoyant.http.domainToPathPfx": _below_prefix(_domain_to_path),
}
"""The rewriting namers by name."""
