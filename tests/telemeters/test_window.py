"""Windows: what the last minute of a distribution was."""

from __future__ import annotations

import pytest

from biandou.telemeters.model import Counted, Measured
from biandou.telemeters.window import NOTHING, Windows, summarize

SCOPE = ("rt", "http", "server", "127.0.0.1/4140")
NAME = "request_latency_ms"


def scopes(*buckets: tuple[float, int]) -> list[Counted]:
    """Give one scope with one distribution, which holds these buckets since its beginning."""
    total = sum(value * count for value, count in buckets)
    return [Counted(SCOPE, stats={NAME: Measured(sum(count for _, count in buckets), total, buckets)})]


def test_there_is_nothing_before_the_first_snapshot() -> None:
    assert Windows().get(SCOPE, NAME) is None


def test_the_first_window_is_everything_since_the_start() -> None:
    windows = Windows()
    windows.take(scopes((1.0, 2), (7.0, 1)))
    summary = windows.get(SCOPE, NAME)
    assert summary is not None
    assert (summary.count, summary.sum, summary.least, summary.most, summary.average) == (3, 9, 1, 7, 3.0)


def test_a_window_is_what_came_since_the_last_snapshot() -> None:
    windows = Windows()
    windows.take(scopes((1.0, 2), (7.0, 1)))
    windows.take(scopes((1.0, 2), (5.0, 3), (7.0, 2)))
    summary = windows.get(SCOPE, NAME)
    assert summary is not None
    assert (summary.count, summary.sum, summary.least, summary.most) == (4, 22, 5, 7)


def test_a_window_without_samples_has_only_its_count() -> None:
    windows = Windows()
    windows.take(scopes((1.0, 2)))
    windows.take(scopes((1.0, 2)))
    assert windows.get(SCOPE, NAME) == NOTHING


def test_what_was_forgotten_and_begun_again_is_not_subtracted() -> None:
    windows = Windows()
    windows.take(scopes((1.0, 100)))
    windows.take(scopes((3.0, 2)))
    summary = windows.get(SCOPE, NAME)
    assert summary is not None
    assert (summary.count, summary.least, summary.most) == (2, 3, 3)


def test_what_is_gone_is_forgotten() -> None:
    windows = Windows()
    windows.take(scopes((1.0, 1)))
    windows.take([])
    assert windows.get(SCOPE, NAME) is None


def test_percentiles_are_the_smallest_values_that_enough_others_do_not_exceed() -> None:
    summary = summarize([(float(value), 1) for value in range(1, 10_001)], 50_005_000.0)
    assert summary.percentiles == (5000, 9000, 9500, 9900, 9990, 9999)
    assert (summary.least, summary.most, summary.average) == (1, 10_000, 5000.5)


@pytest.mark.parametrize("value", [0.4, 3.0, 3.9])
def test_a_single_value_is_every_percentile_cut_to_a_whole_number(value: float) -> None:
    summary = summarize([(value, 1)], value)
    assert summary.percentiles == (int(value),) * 6
    assert summary.average == value
