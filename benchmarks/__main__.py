"""`python -m benchmarks`: the proxies side by side, then the linker's memory and cache misses, then the language."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import (
    allocations,
    cache_miss,
    discovery,
    language,
    latency,
    memory,
    plugins,
    propagation,
    rounds,
    soak,
    speed,
    table,
)
from benchmarks.children import MissingProgramError
from benchmarks.proxies import PROXIES
from benchmarks.rounds import Pace

PARTS = ("proxies", "memory", "cache-miss", "language")
MORE_PARTS = ("soak", "allocations", "latency", "plugins", "propagation", "discovery", *speed.PARTS)
"""Parts that are measured when they are asked for: they take long."""


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def read_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    default = Pace()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        choices=[*PARTS, *MORE_PARTS, *(proxy.name for proxy in PROXIES)],
        help="measure only this part or this proxy; may be given several times",
    )
    parser.add_argument("--rounds", type=int, help=f"alternating rounds ({default.rounds})")
    parser.add_argument("--seconds", type=float, help=f"length of a round ({default.seconds:g})")
    parser.add_argument("--connections", type=int, default=default.connections, help="kept connections (%(default)s)")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the soak (%(default)g)")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 1 s, 2 starts: a first look, not a result")
    parser.add_argument("--name", default="proxies", help="name of the results' files (%(default)s)")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Measure and write `benchmarks/results/`; gives the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = read_arguments(words)
    base = Pace(rounds=3, seconds=1.0, starts=2) if arguments.quick else Pace()
    pace = Pace(
        arguments.rounds or base.rounds,
        arguments.seconds or base.seconds,
        arguments.connections,
        base.starts,
        base.probe_rate,
    )
    if (os.cpu_count() or 1) < 2:
        say("two cores are needed: one for the proxy, one for the load and the service")
        return 1
    wanted = set(arguments.only or PARTS)
    chosen = [proxy for proxy in PROXIES if proxy.name in wanted] or (list(PROXIES) if "proxies" in wanted else [])
    directory = Path(tempfile.mkdtemp(prefix="biandou-bench-"))
    allowed = os.sched_getaffinity(0)
    try:
        if chosen:
            outcome = rounds.run(chosen, pace, directory, say)
            written = table.write(outcome, pace, arguments.name)
            say("\n" + written.read_text())
        os.sched_setaffinity(0, allowed)
        parts: list[tuple[str, Callable[[Path], Path]]] = [
            ("memory", memory.run),
            ("cache-miss", cache_miss.run),
            ("soak", lambda at: soak.run(at, minutes=arguments.minutes)),
            ("propagation", propagation.run),
            ("discovery", discovery.run),
            ("allocations", _at_pace(allocations.run, pace)),
            ("latency", _at_pace(latency.run, pace)),
            ("plugins", _at_pace(plugins.run, pace)),
            *((name, _at_pace(run, pace)) for name, run in speed.PARTS.items()),
        ]
        for name, part in parts:
            if name in wanted:
                try:
                    say("\n" + part(directory / name).read_text())
                except (MissingProgramError, RuntimeError) as error:
                    say(f"{name}: not measured: {error}")
        if "language" in wanted:
            say("\n" + _language().read_text())
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


def _at_pace(part: speed.Part, pace: Pace) -> Callable[[Path], Path]:
    return lambda directory: part(directory, pace)


def _language() -> Path:
    """Run the micro-benchmarks of the dtab language and write their table."""
    rows = {
        figure.name: {"µs": figure.microseconds} | ({"a second": figure.per_second} if figure.per_second else {})
        for figure in [*language.pieces(), *language.mesh()]
    }
    return table.write_readings("language", "The dtab language", "one process, no network", rows)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
