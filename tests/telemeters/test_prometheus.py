"""`io.l5d.prometheus`: names, labels, quantiles and escapes."""

from __future__ import annotations

import pytest

from biandou.telemeters.model import Counted
from biandou.telemeters.numbers import show_float
from biandou.telemeters.prometheus import PrometheusTelemeter
from biandou.telemeters.window import summarize


def render(*counted: Counted, prefix: str = "") -> list[str]:
    """Give the lines of these metrics."""
    return PrometheusTelemeter(prefix=prefix).render(counted).decode().splitlines()


def test_the_examples_of_the_reference() -> None:
    """reference/linker.md §8.4, the last row."""
    latencies = [(float(value), 1) for value in range(1, 8)]
    lines = render(
        Counted(("rt", "http", "server", "0.0.0.0/4140"), {"requests": 12}),
        Counted(
            ("rt", "http", "client", "#/io.l5d.fs/web"), windows={"request_latency_ms": summarize(latencies, 28.0)}
        ),
        Counted(("jvm",), gauges={"mem/current/used": 1.2e8}),
    )
    assert 'rt:server:requests{rt="http", server="0.0.0.0/4140"} 12' in lines
    assert 'rt:client:request_latency_ms{rt="http", client="#/io.l5d.fs/web", quantile="0.99"} 7' in lines
    assert "jvm:mem:current:used 1.2E8" in lines


def test_a_distribution_has_count_sum_average_and_eight_quantiles() -> None:
    lines = render(Counted(("rt", "http", "service", "svc/web"), windows={"ms": summarize([(1.0, 1), (7.0, 1)], 8.0)}))
    labels = 'rt="http", service="svc/web"'
    assert lines == [
        f"rt:service:ms_count{{{labels}}} 2",
        f"rt:service:ms_sum{{{labels}}} 8",
        f"rt:service:ms_avg{{{labels}}} 4.0",
        *(
            f'rt:service:ms{{{labels}, quantile="{quantile}"}} {value}'
            for quantile, value in [
                ("0", 1),
                ("0.5", 1),
                ("0.9", 7),
                ("0.95", 7),
                ("0.99", 7),
                ("0.999", 7),
                ("0.9999", 7),
                ("1", 7),
            ]
        ),
    ]


@pytest.mark.parametrize(
    ("scope", "name", "line"),
    [
        (("rt", "http", "bindcache", "path"), "misses", 'rt:bindcache:path:misses{rt="http"} 1'),
        (
            ("rt", "http", "client", "#/a", "service", "svc/b"),
            "requests",
            'rt:client:service:requests{rt="http", client="#/a", service="svc/b"} 1',
        ),
        (
            ("rt", "http", "server", "::1/80"),
            "failures/com.x.Failure/java.net.Bad",
            'rt:server:failures{rt="http", server="::1/80", exception="com.x.Failure:java.net.Bad"} 1',
        ),
        (("rt", "http", "server", "a/1"), "failures", 'rt:server:failures{rt="http", server="a/1"} 1'),
        (
            ("rt", "http", "client", "#/a"),
            "exn/java.io.Bad",
            'rt:client:exceptions{rt="http", client="#/a", exception="java.io.Bad"} 1',
        ),
        (
            ("rt", "http", "client", "#/a"),
            "service_creation/failures/x.Y",
            'rt:client:service_creation:failures{rt="http", client="#/a", exception="x.Y"} 1',
        ),
        (("rt", "http", "server", "a/1"), "status/2XX", 'rt:server:status:2XX{rt="http", server="a/1"} 1'),
        (("namer", "#/io.l5d.fs"), "lookups", "namer:__io_l5d_fs:lookups 1"),
    ],
)
def test_names_of_the_operators_become_labels(scope: tuple[str, ...], name: str, line: str) -> None:
    assert render(Counted(scope, {name: 1})) == [line]


def test_the_prefix_stands_in_front_and_is_made_a_name_too() -> None:
    assert render(Counted(("a",), {"b": 1}), prefix="l5d-") == ["l5d_a:b 1"]


def test_labels_are_escaped_so_that_no_request_can_forge_a_line() -> None:
    lines = render(Counted(("rt", "http", "service", 'svc/a"\\\nb} 1'), {"requests": 1}))
    assert lines == ['rt:service:requests{rt="http", service="svc/a\\"\\\\\\nb} 1"} 1']


def test_a_distribution_without_samples_is_left_out() -> None:
    assert render(Counted(("a",), windows={"ms": None})) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (1.0, "1.0"),
        (-2.5, "-2.5"),
        (9_999_999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (1.2e9, "1.2E9"),
        (123_456_789.0, "1.23456789E8"),
        (0.001, "0.001"),
        (0.00012, "1.2E-4"),
        (1e22, "1.0E22"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Inf"),
    ],
)
def test_numbers_are_written_as_java_writes_them(value: float, text: str) -> None:
    assert show_float(value) == text
