"""What plugins in Python cost a request: none, a plain function, an `async` one, and a classifier of responses."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks import table
from benchmarks.backend import start_backend
from benchmarks.children import Children
from benchmarks.contest import contest
from benchmarks.rounds import Pace
from benchmarks.speed import Linker

SOURCE = """
from biandou.classifiers.interface import PythonClassifierKind, ResponseClass
from biandou.filters.interface import FilterKind, Pass


class Plain(FilterKind, frozen=True, kw_only=True, tag="bench.plain"):
    def make(self):
        return lambda request: Pass(set=(("X-User", "ann"),))


class Async(FilterKind, frozen=True, kw_only=True, tag="bench.async"):
    def make(self):
        async def run(request):
            return Pass(set=(("X-User", "ann"),))
        return run


class Classifier(PythonClassifierKind, frozen=True, kw_only=True, tag="bench.classifier"):
    def make(self):
        async def run(request, response):
            return ResponseClass.SUCCESS
        return run
"""
ENTRIES = """\
[biandou.filters]
bench.plain = bench_plugins:Plain
bench.async = bench_plugins:Async
[biandou.classifiers]
bench.classifier = bench_plugins:Classifier
"""


def run(directory: Path, pace: Pace) -> Path:
    """Measure each against a linker without plugins."""
    _install(directory / "site")
    with Children() as children:
        there = f"127.0.0.1 {start_backend(children, directory / 'backend')}\n"
        linkers = [
            Linker("none", there),
            Linker("a plain filter", there, "  filters: [{kind: bench.plain}]\n"),
            Linker("an async filter", there, "  filters: [{kind: bench.async}]\n"),
            Linker("an async classifier", there, "  service: {responseClassifier: {kind: bench.classifier}}\n"),
        ]
        rows = contest(children, [linker.contender(directory) for linker in linkers], pace)
    return table.write_readings("plugins", "Plugins in Python", "plugin", rows)


def _install(site: Path) -> None:
    """Put the plugins where the linkers, which inherit our environment, find them."""
    metadata = site / "bench_plugins-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-plugins\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRIES)
    (site / "bench_plugins.py").write_text(SOURCE)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
