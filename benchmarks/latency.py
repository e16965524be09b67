"""What a proxy adds to latency at half of the rate that nginx reaches as one: paced requests, each of them timed."""

from __future__ import annotations

import statistics
import subprocess
from pathlib import Path

from benchmarks import table
from benchmarks.backend import free_port, start_backend, wait_until_served
from benchmarks.children import LOAD_CORE, PROXY_CORE, Children, pinned
from benchmarks.contest import Contender
from benchmarks.load import quantiles, saturate
from benchmarks.proxies import PROXIES
from benchmarks.proxies.base import program
from benchmarks.rounds import Pace
from benchmarks.speed import Linker

OTHERS = ("nginx", "haproxy", "relay")


def run(directory: Path, pace: Pace) -> Path:
    """Measure nginx, HAProxy, a relay and a linker in alternating rounds; raises `RuntimeError` if a request fails."""
    with Children() as children:
        upstream = start_backend(children, directory / "backend")
        contenders = [_contender(name, directory / name, upstream) for name in OTHERS]
        contenders.append(Linker("Biandou", f"127.0.0.1 {upstream}\n").contender(directory))
        for contender in contenders:
            log = contender.directory / "output.log"
            child = children.start(contender.command, core=PROXY_CORE, log=log)
            wait_until_served(child, contender.port, log)
            saturate(contender.port, seconds=1, connections=pace.connections)
        rate = saturate(contenders[0].port, seconds=pace.seconds, connections=pace.connections).rate / 2
        ports = {"none": upstream} | {contender.name: contender.port for contender in contenders}
        readings: dict[str, dict[str, list[float]]] = {name: {"p50": [], "p99": []} for name in ports}
        for _ in range(pace.rounds):
            for name, port in ports.items():
                for quantile, value in _paced(port, rate, pace, directory / "requests.log").items():
                    readings[name][quantile].append(value)
    medians = {
        name: {quantile: statistics.median(values) for quantile, values in row.items()}
        for name, row in readings.items()
    }
    direct = medians["none"]
    rows = {
        name: {f"{quantile} µs": value for quantile, value in row.items()}
        | {f"{quantile} added µs": value - direct[quantile] for quantile, value in row.items()}
        for name, row in medians.items()
    }
    return table.write_readings("latency", f"Latency at {rate:,.0f} requests/s, half of nginx's rate", "proxy", rows)


def _contender(name: str, directory: Path, upstream: int) -> Contender:
    proxy = next(proxy for proxy in PROXIES if proxy.name == name)
    directory.mkdir(parents=True)
    port = free_port()
    return Contender(proxy.title, port, proxy.prepare(directory, port, upstream), directory)


def _paced(port: int, rate: float, pace: Pace, log: Path) -> dict[str, float]:
    """Send at this rate over all connections, and give p50 and p99 in µs; a late answer delays the next."""
    log.unlink(missing_ok=True)
    each = max(1, round(rate / pace.connections))
    count = round(each * pace.connections * pace.seconds)
    command = [program("h2load", "nghttp2-client"), "--h1", "--threads=1", f"--clients={pace.connections}"]
    command += [f"--requests={count}", f"--rps={each}", f"--log-file={log}", f"http://127.0.0.1:{port}/"]
    subprocess.run(
        pinned(command, LOAD_CORE),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=10 * pace.seconds + 10,
    )
    seconds = []
    for line in log.read_text().splitlines():
        _, status, took_us = line.split("\t")
        if status != "200":
            raise RuntimeError(f"port {port}: an answer with status {status}")
        seconds.append(int(took_us) / 1e6)
    if len(seconds) < count:
        raise RuntimeError(f"port {port}: {count - len(seconds)} of {count} requests were not answered")
    return quantiles(seconds)
