"""How often a linker's worker asks for memory, for each request on connections that are kept, once all is warm."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from benchmarks import table
from benchmarks.backend import start_backend, wait_until_served
from benchmarks.children import Children
from benchmarks.load import saturate
from benchmarks.memory import get
from benchmarks.proxies.base import program
from benchmarks.rounds import Pace
from benchmarks.speed import EVERY_POLICY, Linker

SHIM = Path(__file__).with_suffix(".c")


def run(directory: Path, pace: Pace) -> Path:
    """Measure a bare linker and one with every policy; raises `MissingProgramError` without a C compiler."""
    directory.mkdir(parents=True, exist_ok=True)
    library = directory / "allocations.so"
    compiler = program("cc", "gcc")
    subprocess.run([compiler, "-O2", "-fPIC", "-shared", "-o", str(library), str(SHIM)], check=True)
    rows: dict[str, dict[str, float]] = {}
    with Children() as children:
        there = f"127.0.0.1 {start_backend(children, directory / 'backend')}\n"
        for linker in (Linker("bare", there), Linker("every policy", there, EVERY_POLICY)):
            contender = linker.contender(directory)
            counter = contender.directory / "count"
            counter.write_bytes(bytes(8))
            environment = ["env", f"LD_PRELOAD={library}", f"BIANDOU_ALLOCATIONS={counter}"]
            log = contender.directory / "output.log"
            child = children.start([*environment, *contender.command], core=contender.cores, log=log)
            wait_until_served(child, contender.port, log)
            saturate(contender.port, seconds=1, connections=pace.connections)
            before = read(counter)
            if before == 0:
                raise RuntimeError("the workers' allocations are not counted")
            load = saturate(contender.port, seconds=pace.seconds, connections=pace.connections)
            after = read(counter)
            # wrk opens its connections anew, and they are not what is measured.
            opened = _of_connections(contender.port, counter, pace.connections)
            rows[linker.name] = {
                "allocations": after - before,
                "of them to open connections": opened,
                "requests": load.requests,
                "a request": max(0, after - before - opened) / load.requests,
            }
            children.stop(child)
    return table.write_readings("allocations", "Allocations of a worker after warm-up", "linker", rows)


def read(counter: Path) -> int:
    """Read the count."""
    (count,) = struct.unpack("=Q", counter.read_bytes())
    return int(count)


def _of_connections(port: int, counter: Path, connections: int) -> int:
    """Count what so many connections cost that are opened, ask for one thing, and are closed."""
    before = read(counter)
    for _ in range(connections):
        get(port, "web", "/")
    return read(counter) - before
