"""What wrk prints is read in the units that it chose."""

from __future__ import annotations

import pytest

from benchmarks.load import quantiles, read_wrk

REPORT = """\
Running 2s test @ http://127.0.0.1:4140/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.02ms  310.00us   9.87ms   91.20%
    Req/Sec    31.22k     2.10k   34.00k    80.00%
  Latency Distribution
     50%  987.00us
     75%    1.10ms
     90%    1.31ms
     99%    2.05ms
  62443 requests in 2.00s, 78.01MB read
Requests/sec:  31221.50
Transfer/sec:     39.00MB
"""


def test_a_report_is_read_in_microseconds_and_seconds() -> None:
    load = read_wrk(REPORT)
    assert (load.requests, load.seconds, load.failures) == (62443, 2.0, 0)
    assert load.rate == pytest.approx(31221.5)
    assert load.latency_us == {"p50": 987.0, "p99": pytest.approx(2050.0)}


def test_failures_of_both_sorts_are_counted() -> None:
    failed = REPORT + "  Socket errors: connect 1, read 2, write 0, timeout 4\n  Non-2xx or 3xx responses: 100\n"
    assert read_wrk(failed).failures == 107


def test_what_is_no_report_is_refused() -> None:
    with pytest.raises(ValueError, match="not a report"):
        read_wrk("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_quantiles_are_in_microseconds_and_need_more_than_one_request() -> None:
    found = quantiles([number / 1e6 for number in range(1, 1001)])
    assert found["p50"] == pytest.approx(500, rel=0.01)
    assert found["p99"] == pytest.approx(990, rel=0.01)
    with pytest.raises(RuntimeError):
        quantiles([0.1])
