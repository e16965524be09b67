"""What Python counts itself, and what it knows of its process."""

from __future__ import annotations

import asyncio
import gc
import os
import time

from biandou.boundary import Scope
from biandou.telemeters.json_export import flat_json
from biandou.telemeters.metrics import ProcessTelemetry
from biandou.telemeters.process import ProcessMetrics
from biandou.telemeters.registry import Registry
from biandou.telemeters.window import Summary, summarize


def shown(telemetry: ProcessTelemetry) -> str:
    """Give the flat document."""
    return (flat_json(telemetry.read()) or b"").decode()


def test_a_metric_that_is_asked_for_again_is_the_same() -> None:
    registry = Registry()
    registry.scope("namer", "#/io.l5d.fs").counter("lookups").add()
    registry.scope("namer", "#/io.l5d.fs").counter("lookups").add(2)
    (counted,) = registry
    assert (tuple(counted.scope), counted.counters) == (("namer", "#/io.l5d.fs"), {"lookups": 3})


def test_a_gauge_is_read_when_somebody_looks() -> None:
    registry = Registry()
    level = [1.0]
    registry.scope("a").gauge("level", lambda: level[0])
    level[0] = 5.0
    (counted,) = registry
    assert counted.gauges == {"level": 5.0}


def test_what_is_gone_is_no_longer_shown() -> None:
    registry = Registry()
    registry.scope("a").counter("b")
    registry.remove("a")
    assert list(registry) == []


def test_measurements_are_exact_when_small_and_within_one_percent_when_large() -> None:
    recorder = Registry().scope("a").stat("ms")
    for value in [0, 1, 127, 128, 1_000, 123_456, 2**40]:
        recorder.record(value)
        recorder.end_window()
        assert recorder.last is not None
        assert abs(recorder.last.most - value) <= value * 0.01


def test_a_measurement_that_makes_no_sense_counts_as_nothing() -> None:
    recorder = Registry().scope("a").stat("ms")
    for value in (-5.0, float("nan"), float("inf")):
        recorder.record(value)
    recorder.end_window()
    assert recorder.last is not None
    assert (recorder.last.count, recorder.last.most) == (3, 0)


def test_the_process_is_shown_under_the_names_that_dashboards_ask_for() -> None:
    process = ProcessMetrics()
    try:
        gc.collect()
        gauges = process.counted().gauges
    finally:
        process.close()
    assert {"uptime", "start_time", "thread/count", "mem/current/used", "gc/msec", "gc/cycles", "num_cpus"} <= set(
        gauges
    )
    assert gauges["gc/cycles"] >= 1
    assert 1 <= gauges["num_cpus"] <= (os.cpu_count() or 1)
    assert gauges["mem/current/used"] > 5e6
    assert gauges["thread/count"] >= 1
    # Standard input, output and error at least, and no more than there are.
    assert 3 <= gauges["fd_count"] <= gauges["fd_limit"]
    assert abs(gauges["start_time"] / 1000 + gauges["uptime"] / 1000 - time.time()) < 1.0


def test_a_closed_process_watches_the_collector_no_more() -> None:
    before = len(gc.callbacks)
    process = ProcessMetrics()
    assert len(gc.callbacks) == before + 1
    process.close()
    assert len(gc.callbacks) == before


async def test_windows_end_of_what_the_engine_and_python_count() -> None:
    ended: dict[str, Summary | None] = {}
    telemetry = ProcessTelemetry(
        lambda: [Scope(scope=["rt", "http"], counters={"n": 1}, windows=ended)],
        0.01,
        lambda: ended.update(ms=summarize([(3.0, 1)], 3.0)),
    )
    telemetry.registry.scope("own").stat("ms").record(9)
    assert "rt/http/ms" not in shown(telemetry)
    telemetry.start()
    try:
        async with asyncio.timeout(5):
            while "rt/http/ms.count" not in shown(telemetry):
                await asyncio.sleep(0.005)
    finally:
        telemetry.stop()
    text = shown(telemetry)
    assert '"own/ms.count"' in text
    assert '"rt/http/n":1' in text


async def test_an_end_that_fails_is_not_the_last_one() -> None:
    calls = []

    def end_windows() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("not now")

    telemetry = ProcessTelemetry(list, 0.005, end_windows)
    telemetry.start()
    try:
        async with asyncio.timeout(5):
            while len(calls) < 3:
                await asyncio.sleep(0.005)
    finally:
        telemetry.stop()
    assert len(calls) >= 3
