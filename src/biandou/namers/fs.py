"""`io.l5d.fs`: a file a name, a line an endpoint; changes are noticed by inotify (reference/naming.md §1.1)."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from msgspec import Meta

from biandou.clients.dns import Resolver, ip_literal
from biandou.clients.files import Directory, File
from biandou.clients.inotify import Inotify
from biandou.dtab import NEG, Leaf, NameTree, Path
from biandou.dtab.bound import WEIGHT, Address, Addresses, AddressSet, Bound, Origin
from biandou.errors import ResolutionError
from biandou.live import Failed, Live, Ok, State
from biandou.namers.fs_check import DirectoryCheck
from biandou.namers.interface import NamerKind
from biandou.namers.reconciling import Reconciler

_NEGATIVE: Final[Live[NameTree[Path | Bound]]] = Live.ok(NEG)


class FsNamerKind(NamerKind, frozen=True, kw_only=True, tag="io.l5d.fs"):
    """Endpoints in the files below `rootDir`, which must exist; relative to the working directory.

    The files are read again about every `reconcileSeconds` (0: never), whatever inotify tells.
    """

    root_dir: str
    reconcile_seconds: Annotated[int, Meta(ge=0, le=86_400)] = 300

    def __post_init__(self) -> None:
        """Raise `ValueError` unless `rootDir` is a directory."""
        super().__post_init__()
        if not os.path.isdir(self.root_dir):
            raise ValueError(f"{self.root_dir} is not a directory")

    def namer(self) -> FsNamer:
        """Make the namer."""
        return FsNamer(self.full_prefix, self.root_dir, self.reconcile_seconds)


class FsNamer:
    """Names below a directory; sub-directories are walked a segment at a time."""

    def __init__(self, prefix: Path, root: str, reconcile_seconds: float = 0.0) -> None:
        self.prefix = prefix
        self._root = Directory(root, Inotify(), self._attend)
        self._check = DirectoryCheck(self._root)
        self._reconciler = Reconciler(reconcile_seconds)
        self._resolver = Resolver()

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        """Give a leaf for a file, a negative tree for what is missing or a directory."""
        return self._walk(self._root, path, 0)

    def names(self) -> list[Path]:
        """Give the top-level names (reference/naming.md §1.1, enumerable)."""
        return [self.prefix + Path((os.fsencode(name),)) for name in self._root.listing()]

    def state(self) -> dict[str, Any]:
        """Give what is followed now."""
        return self._root.state()

    def source(self, client: Path) -> str:
        """Give the file that a client name's endpoints are in."""
        names = client.drop(len(self.prefix)).segments
        return os.path.join(self._root.path, *map(os.fsdecode, names))

    def _attend(self, followed: bool) -> None:
        if followed:
            self._reconciler.add(self._check)
        else:
            self._reconciler.remove(self._check)

    def _walk(self, directory: Directory, path: Path, depth: int) -> Live[NameTree[Path | Bound]]:
        if depth == len(path):
            return _NEGATIVE
        try:
            entry = directory.entry(os.fsdecode(path.segments[depth]))
        except ValueError:
            return _NEGATIVE

        def found(what: File | Directory | None) -> Live[NameTree[Path | Bound]]:
            match what:
                case File():
                    taken = depth + 1
                    return Live.ok(Leaf(Bound(self.prefix + path.take(taken), self._addresses(what), path.drop(taken))))
                case Directory():
                    return self._walk(what, path, depth + 1)
            return _NEGATIVE

        return entry.flat_map(found)

    def _addresses(self, file: File) -> Live[Addresses]:
        origin = file.origin

        def resolve(contents: bytes) -> Live[Addresses]:
            try:
                return self._resolve(read_endpoints(contents), origin)
            except ResolutionError as error:
                file.refuse(error)
                raise

        return file.flat_map(resolve)

    def _resolve(self, lines: Sequence[Endpoint], origin: Origin) -> Live[Addresses]:
        literals = [ip_literal(line.host) for line in lines]
        if all(literals):
            found = [line.at(literal) for line, literal in zip(lines, literals, strict=True) if literal]
            return Live.ok(AddressSet(tuple(dict.fromkeys(found)), origin=origin))
        hosts = [self._resolver.addresses(line.host) for line in lines]
        return Live.join(hosts).flat_map(lambda states: _merge(lines, states, origin))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A line: a host, which may be a name, its port and its weight if one is given."""

    host: str
    port: int
    weight: float | None = None

    def at(self, literal: str) -> Address:
        """Give the address that the host stands for."""
        return Address(literal, self.port, {} if self.weight is None else {WEIGHT: self.weight})


def read_endpoints(contents: bytes) -> list[Endpoint]:
    """Read a file's lines, `host port` or `host port * weight`; `#` begins a comment.

    Raises `ResolutionError` (`malformed address: <line>`) if one line is none of that: half a list is not a list.
    """
    endpoints = []
    for line in contents.decode(errors="replace").splitlines():
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        weight = None
        match fields:
            case [host, port]:
                pass
            case [host, port, "*", text]:
                weight = _weight(text)
                if weight is None:
                    raise ResolutionError(f"malformed address: {line.strip()}")
            case _:
                raise ResolutionError(f"malformed address: {line.strip()}")
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
            raise ResolutionError(f"malformed address: {line.strip()}")
        endpoints.append(Endpoint(host, int(port), weight))
    return endpoints


def _weight(text: str) -> float | None:
    try:
        weight = float(text)
    except ValueError:
        return None
    return weight if math.isfinite(weight) and weight >= 0 else None


def _merge(
    lines: Sequence[Endpoint], states: Sequence[State[tuple[str, ...] | None]], origin: Origin
) -> Live[Addresses]:
    """Join resolved lines: a host that is unknown or fails is left out while another is known."""
    addresses: dict[Address, None] = {}
    known = 0
    failure: Failed | None = None
    for line, state in zip(lines, states, strict=True):
        match state:
            case Ok(literals):
                known += 1
                addresses.update((line.at(literal), None) for literal in literals or ())
            case Failed():
                failure = failure or state
    if known + (failure is not None) == 0:
        return Live()
    if known == 0 and failure is not None:
        return Live.failed(failure.error)
    return Live.ok(AddressSet(tuple(addresses), origin=origin))
