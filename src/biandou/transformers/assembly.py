"""From the configured namers to all of them as one, each with its transformers around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from biandou.dtab import Dtab, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.dtab.evaluation import Evaluator
from biandou.live import Live
from biandou.namers.all import Namers
from biandou.namers.interface import Namer, NamerKind
from biandou.transformers.interface import Interpret, TransformedNamer, Transformer


@dataclass(frozen=True, slots=True)
class AssembledNamers:
    """The namers of one process.

    `configured` are those of the configuration, in its order and without transformers; `interpret` binds a path by the
    namers alone.
    """

    configured: tuple[Namer, ...]
    all: Namers
    interpret: Interpret


def assemble_namers(kinds: Sequence[NamerKind]) -> AssembledNamers:
    """Make the namers; opens nothing. Raises `ValueError` or `OSError` for what can't be made."""
    configured = tuple(kind.namer() for kind in kinds)

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
    return AssembledNamers(configured, namers, interpret)


def _with_transformers(namer: Namer, transformers: Sequence[Transformer]) -> Namer:
    return TransformedNamer(namer, tuple(transformers)) if transformers else namer
