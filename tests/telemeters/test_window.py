"""Windows: what the last minute of a distribution was. Those of the engine are tested in `engine/src/windows.rs`."""

from __future__ import annotations

import pytest

from biandou.telemeters.registry import Recorder, Registry
from biandou.telemeters.window import Summary, summarize


def keep(recorder: Recorder, *values: float) -> Summary | None:
    """Keep these measurements, and give the window that they make."""
    for value in values:
        recorder.record(value)
    recorder.end_window()
    return recorder.last


def test_there_is_nothing_before_the_first_window_has_ended() -> None:
    registry = Registry()
    registry.scope("a").stat("ms").record(5)
    (counted,) = registry
    assert counted.windows == {}
    registry.end_windows()
    (counted,) = registry
    assert counted.windows == {"ms": Summary(1, 5, 5.0, 5, 5, (5,) * 6)}


def test_a_window_is_what_came_since_the_last_one() -> None:
    recorder = Recorder()
    first, second = keep(recorder, 1, 1, 7), keep(recorder, 5, 5, 5, 7)
    assert first is not None
    assert second is not None
    assert (first.count, first.sum, first.least, first.most, first.average) == (3, 9, 1, 7, 3.0)
    assert (second.count, second.sum, second.least, second.most) == (4, 22, 5, 7)


def test_a_window_in_which_nothing_came_is_there_and_empty() -> None:
    registry = Registry()
    keep(registry.scope("a").stat("ms"), 1)
    registry.end_windows()
    (counted,) = registry
    assert counted.windows == {"ms": None}


def test_percentiles_are_the_smallest_values_that_enough_others_do_not_exceed() -> None:
    summary = summarize([(float(value), 1) for value in range(1, 10_001)], 50_005_000.0)
    assert summary is not None
    assert summary.percentiles == (5000, 9000, 9500, 9900, 9990, 9999)
    assert (summary.least, summary.most, summary.average) == (1, 10_000, 5000.5)


@pytest.mark.parametrize("value", [0.4, 3.0, 3.9])
def test_a_single_value_is_every_percentile_cut_to_a_whole_number(value: float) -> None:
    assert summarize([(value, 1)], value) == Summary(1, int(value), value, int(value), int(value), (int(value),) * 6)
