"""What linkers report, added up: nothing counts twice, nothing negative, and nothing without bound."""

from __future__ import annotations

import json
from typing import Any

import pytest

from biandou.namerd.canary import Counts
from biandou.namerd.reports import EXPIRES_SECONDS, MAX_CLIENTS, Reports, Total, between, read_report

WEB = "/#/io.l5d.fs/web"


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def report(process: str, requests: int, failures: int = 0, latencies: Any = ()) -> bytes:
    told = {"requests": requests, "failures": failures, "latencies": list(latencies)}
    return json.dumps({"process": process, "clients": {WEB: told}}).encode()


def sum_of(reports: Reports) -> tuple[int, int]:
    total = reports.totals("default", [WEB])[WEB]
    return total.requests, total.failures


def wanting(clock: Clock) -> Reports:
    reports = Reports(clock)
    reports.want("default", [WEB])
    return reports


def test_a_first_report_counts_nothing_and_later_ones_what_came_in_between() -> None:
    reports = wanting(Clock())
    assert reports.take("default", report("a", 1000, 10)) == {"clients": [WEB], "seconds": 1.0}
    assert sum_of(reports) == (0, 0)
    reports.take("default", report("a", 1100, 11))
    reports.take("default", report("b", 7))
    reports.take("default", report("b", 10, 2))
    assert sum_of(reports) == (103, 3)


def test_a_restarted_linker_is_another_process_and_a_client_made_anew_counts_from_nothing() -> None:
    reports = wanting(Clock())
    for document in (report("a", 100), report("a", 110), report("b", 5), report("b", 6), report("a", 3)):
        reports.take("default", document)
    assert sum_of(reports) == (14, 0)


def test_only_what_is_wanted_is_kept_and_another_namespace_is_another() -> None:
    reports = Reports(Clock())
    assert reports.take("default", report("a", 5)) == {"clients": [], "seconds": 2.0}
    reports.want("default", [WEB])
    reports.take("default", report("a", 10))
    reports.take("other", report("a", 10))
    reports.take("other", report("a", 90))
    assert sum_of(reports) == (0, 0)
    reports.want("default", [])
    assert reports.totals("default", [WEB]) == {}


def test_who_is_silent_is_forgotten() -> None:
    clock = Clock()
    reports = wanting(clock)
    reports.take("default", report("a", 5))
    assert reports.reporting("default") == 1
    clock.now = EXPIRES_SECONDS + 1
    assert reports.reporting("default") == 0
    reports.take("default", report("a", 500))
    assert sum_of(reports) == (0, 0)


def test_many_linkers_are_asked_to_report_less_often() -> None:
    reports = wanting(Clock())
    answers = [reports.take("default", report(str(process), 1)) for process in range(500)]
    assert answers[-1]["seconds"] == 5.0


def test_the_99th_percentile_is_that_of_all_latencies_since_the_mark() -> None:
    before = {WEB: Total(100, 0, {1000.0: 100})}
    now = {WEB: Total(200, 5, {1.0: 98, 7.0: 1, 50.0: 1, 1000.0: 100})}
    assert between(before, now) == Counts(100, 5, 7.0)
    assert between(now, now) == Counts(0, 0, None)


BAD = [
    b"", b"[]", b"{}", b'{"process": "a"}', b'{"process": "", "clients": {}}', b'{"process": 1, "clients": {}}',
    b'{"process": "a", "clients": 7}', b'{"process": "a", "clients": {"/x": {}}}',
    report("a", -1), report("a", 2**60), report("a", 1, latencies=[[1]]), report("a", 1, latencies=[["x", 1]]),
    report("a", 1, latencies=[[float("nan"), 1]]), report("a", 1, latencies=[[1, 1.5]]),
    json.dumps({"process": "a", "clients": {str(n): {} for n in range(MAX_CLIENTS + 1)}}).encode(),
    b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("document", BAD, ids=range(len(BAD)))
def test_what_is_no_report_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_report(document)
