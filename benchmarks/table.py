"""The rendered results: one Markdown table with each number's ratio to the others, and the same as JSON."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.rounds import Measured, Outcome, Pace

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Column:
    """A number of the table; `reading` is its name in the raw results."""

    reading: str
    title: str
    digits: int


COLUMNS = (
    Column("cpu_us", "CPU µs/request", 1),
    Column("user_us", "of it user mode", 1),
    Column("rate", "requests/s", 0),
    Column("added_p50_us", "p50 added µs", 0),
    Column("added_p99_us", "p99 added µs", 0),
    Column("rss_idle_mib", "RSS idle MiB", 1),
    Column("rss_loaded_mib", "RSS loaded MiB", 1),
    Column("start_ms", "start ms", 0),
    Column("syscalls", "syscalls/request", 2),
)
COMPARED = ("nginx", "haproxy", "envoy")


def medians(outcome: Outcome) -> dict[str, dict[str, float]]:
    """Give each proxy's medians, added latency included."""
    direct = {name: statistics.median(values) for name, values in outcome.direct.items()}
    found: dict[str, dict[str, float]] = {}
    for one in outcome.measured:
        numbers = {name: value for name in one.readings if (value := one.median(name)) is not None}
        for quantile in ("p50", "p99"):
            if f"{quantile}_us" in numbers and quantile in direct:
                numbers[f"added_{quantile}_us"] = numbers[f"{quantile}_us"] - direct[quantile]
        found[one.proxy.name] = numbers
    return found


def render(outcome: Outcome, pace: Pace) -> str:
    """Give the results as Markdown."""
    numbers = medians(outcome)
    lines = ["# HTTP/1.1 through a proxy", "", _setting(pace), "", *_absolute(outcome.measured, numbers)]
    for base in COMPARED:
        if base in numbers:
            lines += ["", *_ratios(outcome.measured, numbers, base)]
    lines += ["", *_threads(outcome.measured)]
    if outcome.skipped:
        lines += [
            "",
            "Not measured:",
            "",
            *(f"- {name}: {why.splitlines()[-1]}" for name, why in outcome.skipped.items()),
        ]
    versions = [f"- {one.proxy.title}: {_version(one)}" for one in outcome.measured]
    return "\n".join([*lines, "", "Versions:", "", *versions, ""])


def write(outcome: Outcome, pace: Pace, name: str) -> Path:
    """Write the rendered table, its numbers and the raw readings; gives the path of the table."""
    (RESULTS / "raw").mkdir(parents=True, exist_ok=True)
    raw = {
        "pace": asdict(pace),
        "direct_us": outcome.direct,
        "skipped": outcome.skipped,
        "proxies": {one.proxy.name: {"readings": one.readings, "threads": one.threads} for one in outcome.measured},
    }
    _write_json(RESULTS / "raw" / f"{name}.json", raw)
    rounded = {
        proxy: {reading: round(value, 3) for reading, value in sorted(values.items())}
        for proxy, values in medians(outcome).items()
    }
    _write_json(RESULTS / f"{name}.json", rounded)
    table = RESULTS / f"{name}.md"
    table.write_text(render(outcome, pace))
    return table


def write_readings(name: str, title: str, unit: str, readings: dict[str, dict[str, float]]) -> Path:
    """Write a small table of one row a measurement; gives its path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(column for row in readings.values() for column in row))
    rows = [
        [what, *(_shown(row.get(column), _digits(row.get(column))) for column in columns)]
        for what, row in readings.items()
    ]
    written = RESULTS / f"{name}.md"
    written.write_text("\n".join([f"# {title}", "", *_table([unit, *columns], rows), ""]))
    _write_json(RESULTS / f"{name}.json", readings)
    return written


def _digits(value: float | None) -> int:
    """Give the decimals that mean something: none of a count or a large number."""
    return 0 if value is not None and (value >= 1000 or value == int(value)) else 2


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _setting(pace: Pace) -> str:
    return (
        f"Medians of {pace.rounds} alternating rounds of {pace.seconds:g} s: keep-alive, {pace.connections} "
        "connections, 1 KiB bodies. Each proxy has one worker on core 0 and adds the same three headers to the "
        "request; wrk and the service (nginx) share core 1. Latency is what a proxy adds to the service's own at "
        f"{pace.probe_rate:g} requests/s. "
        "RSS counts all of a proxy's processes; start is the time to the first answered request. "
        f"{os.cpu_count()} cores, Linux {platform.release()}. "
        "The machine is noisy: the ratios count, the times do not. "
        "wrk and the service limit requests/s where a proxy is faster than they are."
    )


def _absolute(measured: Sequence[Measured], numbers: dict[str, dict[str, float]]) -> list[str]:
    rows = [
        [one.proxy.title, *(_shown(numbers[one.proxy.name].get(column.reading), column.digits) for column in COLUMNS)]
        for one in measured
    ]
    return _table(["", *(column.title for column in COLUMNS)], rows)


def _ratios(measured: Sequence[Measured], numbers: dict[str, dict[str, float]], base: str) -> list[str]:
    title = next(one.proxy.title for one in measured if one.proxy.name == base)
    rows = []
    for one in measured:
        row = [one.proxy.title]
        for column in COLUMNS:
            value, reference = numbers[one.proxy.name].get(column.reading), numbers[base].get(column.reading)
            row.append(_shown(value / reference, 2) if value is not None and reference and reference > 0 else "-")
        rows.append(row)
    return _table([f"÷ {title}", *(column.title for column in COLUMNS)], rows)


def _threads(measured: Sequence[Measured]) -> list[str]:
    rows = []
    for one in measured:
        names = sorted({name for threads in one.threads for name in threads})
        parts = {name: statistics.median(threads.get(name, 0.0) for threads in one.threads) for name in names}
        shown = ", ".join(
            f"{name} {value:.2f}" for name, value in sorted(parts.items(), key=lambda item: -item[1]) if value >= 0.01
        )
        rows.append([one.proxy.title, shown])
    return _table(["CPU µs/request by thread", ""], rows)


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    rule = "| --- |" + " ---: |" * (len(head) - 1)
    return [f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)]


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _version(one: Measured) -> str:
    done = subprocess.run(one.proxy.version(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+[^\s/]*", done.stdout + done.stderr)
    return found[0] if found else "unknown"
