"""From the configured namers to all of them as one, each with its transformers around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from biandou.dtab import Dtab, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.dtab.evaluation import Evaluator
from biandou.live import Live
from biandou.namers.all import Namers
from biandou.namers.interface import Interpret, Namer, NamerKind, ReferringNamerKind
from biandou.namers.system import SystemNamer
from biandou.transformers.interface import TransformedNamer, Transformer


@dataclass(frozen=True, slots=True)
class AssembledNamers:
    """The namers of one process.

    `kinds` is what was configured; `configured` are those namers, in their order and without transformers;
    `interpret` binds a path by the namers alone; `judging` are those of `/$` that decide something.
    """

    kinds: tuple[NamerKind, ...]
    configured: tuple[Namer, ...]
    all: Namers
    interpret: Interpret
    judging: tuple[Namer, ...]


def assemble_namers(kinds: Sequence[NamerKind], former: AssembledNamers | None = None) -> AssembledNamers:
    """Make the namers; one that `former` has of the same keys is kept, with what it watches.

    Opens nothing. Raises `ValueError` or `OSError` for what can't be made.
    """

    def lookup(path: Path) -> Live[NameTree[Path | Bound]]:
        return namers.lookup(path)

    # What `replace`, `const` and the tiers of a failover name is bound by the namers alone.
    interpret: Interpret = Evaluator(Live.ok(Dtab()), lookup).bind
    configured = _namers(kinds, interpret, former)
    namers = Namers(
        [
            _with_transformers(namer, [transformer.transformer(interpret) for transformer in kind.transformers])
            for namer, kind in zip(configured, kinds, strict=True)
        ],
        system := SystemNamer(interpret=interpret),
    )
    return AssembledNamers(tuple(kinds), configured, namers, interpret, (system.at_least,))


def _namers(kinds: Sequence[NamerKind], interpret: Interpret, former: AssembledNamers | None) -> tuple[Namer, ...]:
    known = list(zip(map(_bare, former.kinds), former.configured, strict=True)) if former is not None else []
    namers: list[Namer] = []
    for kind in kinds:
        if isinstance(kind, ReferringNamerKind):
            # Never kept: one of former times goes on asking the others of those times.
            namers.append(kind.namer_over(interpret))
            continue
        place = next((place for place, (other, _) in enumerate(known) if other == _bare(kind)), None)
        namers.append(kind.namer() if place is None else known.pop(place)[1])
    return tuple(namers)


def _bare(kind: NamerKind) -> NamerKind:
    return msgspec.structs.replace(kind, transformers=())


def _with_transformers(namer: Namer, transformers: Sequence[Transformer]) -> Namer:
    return TransformedNamer(namer, tuple(transformers)) if transformers else namer
