"""`/$/inet` and its kin: a host and a port written into the name (reference/naming.md §1.2)."""

from __future__ import annotations

from biandou.clients.dns import Resolver
from biandou.dtab import NEG, Leaf, NameTree, Path
from biandou.dtab.bound import Address, Addresses, AddressSet, Bound, Negative
from biandou.errors import BindingError, ResolutionError
from biandou.live import Live

LOOPBACK = "127.0.0.1"
"""The host of `/$/inet/<port>`."""


class InetNamer:
    """`/$/inet/<host>/<port>` and `/$/inet/<port>`; with a resolver that keeps for ever, `/$/fixedinet`."""

    def __init__(self, name: str, resolver: Resolver) -> None:
        self.prefix = Path.of("$", name)
        self._resolver = resolver

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        """Give a leaf; the host counts as known even when it is not, so no alternative is tried."""
        match path.segments:
            case (host, port, *_) if (number := _integer(port)) is not None:
                return _leaf(self._resolver, self.prefix + Path((host, b"%d" % number)), host, number, path.drop(2))
            case (port, *_) if (number := _integer(port)) is not None:
                whole = self.prefix + Path((b"%d" % number,))
                return _leaf(self._resolver, whole, LOOPBACK.encode(), number, path.drop(1))
        # Linkerd takes the name for that of a class then.
        return Live.failed(unknown_namer(self.prefix + path))


class RinetNamer:
    """`/$/io.buoyant.rinet/<port>/<host>`: the order in which HTTP proxies need it."""

    def __init__(self, resolver: Resolver) -> None:
        self.prefix = Path.of("$", "io.buoyant.rinet")
        self._resolver = resolver

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        """Give a leaf, failed if the port is no number; `*` is port 0."""
        if len(path) < 2:
            return Live.ok(NEG)
        port, host = path.segments[:2]
        whole = self.prefix + path.take(2)
        number = 0 if port == b"*" else _integer(port)
        if number is None:
            text = port.decode(errors="backslashreplace")
            failed: Live[Addresses] = Live.failed(ResolutionError(f"invalid port: {text}"))
            return Live.ok(Leaf(Bound(whole, failed, path.drop(2))))
        return _leaf(self._resolver, whole, host, number, path.drop(2))


def unknown_namer(path: Path) -> BindingError:
    """Give the error of a `/$/…` name that no namer answers for; `path` is the whole of it."""
    name = path.segments[1].decode(errors="backslashreplace")
    return BindingError(f"Unknown namer: {name} for path: {path}")


def _leaf(resolver: Resolver, whole: Path, host: bytes, port: int, residual: Path) -> Live[NameTree[Path | Bound]]:
    if not 0 <= port <= 65535:
        return Live.failed(BindingError(f"port out of range: {port}"))

    def reached(hosts: tuple[str, ...] | None) -> Addresses:
        return Negative() if hosts is None else AddressSet(tuple(Address(literal, port) for literal in hosts))

    name = host.decode(errors="backslashreplace")
    return Live.ok(Leaf(Bound(whole, resolver.addresses(name).map(reached), residual)))


def _integer(segment: bytes) -> int | None:
    digits = segment[1:] if segment[:1] in (b"+", b"-") else segment
    # Longer ones are not an integer to Linkerd either.
    return int(segment) if digits.isdigit() and len(digits) <= 10 and abs(int(segment)) < 2**31 else None
