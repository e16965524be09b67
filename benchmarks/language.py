"""Micro-benchmarks of the naming language: `python benchmarks/language.py [--json FILE]`.

Parse, show, look up and delegate per second, and how long it takes until a changed dtab is in force for the names it
touches. Plain wall time of one process, the best of several rounds; no network, no engine.
"""

from __future__ import annotations

import argparse
import gc
import json
import pathlib
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from biandou.dtab import Dtab, Leaf, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.dtab.delegate import Answer, evaluate
from biandou.dtab.evaluation import Evaluator
from biandou.dtab.explain import explain
from biandou.live import Live, Ok, Source, State

ROUNDS = 5
NAMES = 10_000
TOUCHED = 1_000


@dataclass(frozen=True)
class Figure:
    """One line of the table; `per_second` is left out where one go is the measure."""

    name: str
    microseconds: float
    per_second: float | None


def repeated(name: str, function: Callable[[], object], *, seconds: float = 0.1) -> Figure:
    """Measure one call of `function`, often enough for `seconds` in each round."""
    start = time.perf_counter()
    function()
    count = max(1, round(seconds / max(time.perf_counter() - start, 1e-7)))
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(count):
            function()
        best = min(best, (time.perf_counter() - start) / count)
    return Figure(name, best * 1e6, 1 / best)


def hundred_dentries() -> str:
    """Give a dtab as they are in use: a few general entries and many for single services."""
    entries = ["/fs => /#/io.l5d.fs", "/srv => /fs", "/host => /srv", "/svc => /host"]
    entries += [f"/host/app{number} => 0.9*/srv/app{number} & 0.1*/srv/app{number}-v2" for number in range(48)]
    entries += [f"/host/web{number} => /srv/web{number} | /srv/web" for number in range(48)]
    return " ;\n".join(entries)


def bound(path: Path) -> NameTree[Path | Bound]:
    """Give the bound name of a path that a namer knows."""
    return Leaf(Bound(path, Live()))


def known(path: Path) -> Answer:
    """Answer as a warm namer that knows every name."""
    return Ok(bound(path))


def pieces() -> list[Figure]:
    """Measure the parts: parse, show, look up, delegate, explain."""
    text = hundred_dentries()
    dtab = Dtab.read(text)
    plain, alternative, shared = (Path.read(f"/svc/{name}") for name in ("api", "web40", "app40"))
    host = Path.read("/host/app40")
    local = Dtab.read("/host/api => /srv/api-canary")
    return [
        repeated("parse a path", lambda: Path.read("/svc/web.example.com")),
        repeated("parse a dtab of 100 entries", lambda: Dtab.read(text)),
        repeated("show a dtab of 100 entries", lambda: str(dtab)),
        repeated("look a name up in 100 entries", lambda: dtab.lookup(host)),
        repeated("delegate a name through 100 entries", lambda: evaluate(dtab, plain, known)),
        repeated("delegate one with alternatives", lambda: evaluate(dtab, alternative, known)),
        repeated("delegate one with a union", lambda: evaluate(dtab, shared, known)),
        repeated("delegate one with a dtab of its request", lambda: evaluate(dtab, plain, known, local=local)),
        repeated("explain a name with a union", lambda: explain(dtab, shared, known)),
    ]


class Mesh:
    """Live names over a dtab of 100 entries, all of them observed."""

    def __init__(self, names: int) -> None:
        self.told = 0
        self.groups = names // TOUCHED
        self.base: Source[Dtab] = Source(Ok(self.dtab(0)))
        self.evaluator = Evaluator(self.base, lambda path: Live.ok(bound(path)))
        self.watches = [
            self.evaluator.bind(Path.of("svc", f"group{number % self.groups}", f"name{number}")).observe(self.tell)
            for number in range(names)
        ]

    def dtab(self, turn: int) -> Dtab:
        """Give the dtab of one turn: the entry of group 3 is another each time."""
        entries = ["/fs => /#/io.l5d.fs", "/srv => /fs", "/svc => /srv"]
        entries += [f"/svc/group{number} => /srv/group{number}" for number in range(self.groups)]
        entries += [f"/svc/unused{number} => /srv/unused{number}" for number in range(96 - self.groups)]
        entries += [f"/svc/group3 => /srv/group3-{turn}"]
        return Dtab.read(";".join(entries))

    def tell(self, state: State[NameTree[Bound]]) -> None:
        """Count what the observers hear."""
        self.told += 1


def best_of(name: str, function: Callable[[int], object]) -> Figure:
    """Measure one go of `function`, which gets the number of the round."""
    best = float("inf")
    for turn in range(1, ROUNDS + 1):
        gc.collect()
        start = time.perf_counter()
        function(turn)
        best = min(best, time.perf_counter() - start)
    return Figure(name, best * 1e6, None)


def mesh() -> list[Figure]:
    """Measure many live names: bind them, change the dtab under them, bind one more."""
    start = time.perf_counter()
    world = Mesh(NAMES)
    bind = Figure(f"bind {NAMES:,} names", (time.perf_counter() - start) * 1e6, None)
    tables = [world.dtab(turn) for turn in range(ROUNDS + 1)]
    world.told = 0
    rebind = best_of(f"rebind {NAMES:,} names, {TOUCHED:,} touched", lambda turn: world.base.set(tables[turn]))
    if world.told != ROUNDS * TOUCHED:
        raise AssertionError(f"{world.told} names were told, not {ROUNDS * TOUCHED}")
    missed = []
    for number in range(2_000):
        path = Path.of("svc", "group5", f"new{number}")
        start = time.perf_counter()
        world.watches.append(world.evaluator.bind(path).observe(world.tell))
        missed.append(time.perf_counter() - start)
    missed.sort()
    p99 = missed[len(missed) * 99 // 100]
    return [bind, rebind, Figure(f"bind one more name beside {NAMES:,}, p99", p99 * 1e6, None)]


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description="Micro-benchmarks of the naming language.")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="also write the figures to FILE")
    options = parser.parse_args()
    figures = pieces() + mesh()
    print(f"{'':<45}{'µs':>12}{'a second':>14}")
    for figure in figures:
        rate = "" if figure.per_second is None else f"{figure.per_second:,.0f}"
        print(f"{figure.name:<45}{figure.microseconds:>12,.2f}{rate:>14}")
    if options.json:
        report = {"python": platform.python_version(), "figures": [asdict(figure) for figure in figures]}
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
