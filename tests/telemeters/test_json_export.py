"""`metrics.json`: flat, nested, subtrees."""

from __future__ import annotations

import json
from typing import Any

from biandou.telemeters.json_export import flat_json, tree_json
from biandou.telemeters.model import Counted, Scopes
from biandou.telemeters.window import summarize


def flat(scopes: Scopes, query: str = "", *, pretty: bool = False) -> str:
    """Give the flat document as text, which must be there."""
    body = flat_json(scopes, query=query.split("/") if query else (), pretty=pretty)
    assert body is not None
    return body.decode()


def nested(scopes: Scopes, query: str = "") -> str:
    """Give the tree as text, which must be there."""
    body = tree_json(scopes, query=query.split("/") if query else ())
    assert body is not None
    return body.decode()


SERVER = ("rt", "http", "server", "0.0.0.0/4140")


def server() -> Scopes:
    """Give the metrics of a server: one counter, one gauge, one distribution, failures of two sorts."""
    return [
        Counted(
            SERVER,
            {"requests": 1, "failures": 3, "failures/timeout": 2, "retries/total": 4},
            {"connections": 1.0},
            {"request_latency_ms": summarize([(1.0, 1), (7.0, 1)], 8.0)},
        ),
        Counted(("jvm",), gauges={"mem/current/used": 1.2e9}),
    ]


STAT = {
    "count": 2,
    "max": 7,
    "min": 1,
    "p50": 1,
    "p90": 7,
    "p95": 7,
    "p99": 7,
    "p9990": 7,
    "p9999": 7,
    "sum": 8,
    "avg": 4.0,
}


def test_the_tree_is_nested_as_the_reference_shows_it() -> None:
    expected: dict[str, Any] = {
        "rt": {
            "http": {
                "server": {
                    "0.0.0.0/4140": {
                        "requests": {"counter": 1},
                        "failures": {"counter": 3, "timeout": {"counter": 2}},
                        "retries": {"total": {"counter": 4}},
                        "connections": {"gauge": 1.0},
                        "request_latency_ms": {f"stat.{name}": value for name, value in STAT.items()},
                    }
                }
            }
        },
        "jvm": {"mem": {"current": {"used": {"gauge": 1.2e9}}}},
    }
    assert json.loads(nested(server())) == expected


def test_flat_keys_are_the_places_joined_by_slashes() -> None:
    scope = "rt/http/server/0.0.0.0/4140"
    assert json.loads(flat(server())) == {
        f"{scope}/requests": 1,
        f"{scope}/failures": 3,
        f"{scope}/failures/timeout": 2,
        f"{scope}/retries/total": 4,
        f"{scope}/connections": 1.0,
        **{f"{scope}/request_latency_ms.{name}": value for name, value in STAT.items()},
        "jvm/mem/current/used": 1.2e9,
    }


def test_counters_are_whole_numbers_and_gauges_have_a_point() -> None:
    text = flat(server())
    assert '"rt/http/server/0.0.0.0/4140/requests":1,' in text
    assert '"rt/http/server/0.0.0.0/4140/connections":1.0' in text


def test_pretty_is_indented_and_sorted() -> None:
    text = flat(server(), pretty=True)
    keys = list(json.loads(text))
    assert keys == sorted(keys)
    assert text.startswith('{\n  "jvm')


def test_a_subtree_has_keys_of_its_own_and_a_leaf_the_empty_one() -> None:
    assert json.loads(flat(server(), "jvm/mem")) == {"current/used": 1.2e9}
    assert json.loads(flat(server(), "jvm/mem/current/used")) == {"": 1.2e9}
    assert list(json.loads(flat(server(), "rt/http/server"))) == [
        key.removeprefix("rt/http/server/") for key in json.loads(flat(server())) if key.startswith("rt/")
    ]


def test_a_subtree_is_a_tree_of_its_own() -> None:
    assert json.loads(nested(server(), "jvm/mem")) == {"current": {"used": {"gauge": 1.2e9}}}
    assert json.loads(nested(server(), "jvm/mem/current/used")) == {"gauge": 1.2e9}


def test_an_unknown_subtree_is_none() -> None:
    assert flat_json(server(), query=("rt", "thrift")) is None
    assert tree_json(server(), query=("jvm", "mem", "current", "used", "more")) is None


def test_a_scope_that_holds_a_slash_cannot_be_asked_for_from_outside() -> None:
    assert flat_json(server(), query=["rt", "http", "server", "0.0.0.0", "4140"]) is None


def test_a_distribution_shows_nothing_before_its_first_window_and_then_at_least_its_count() -> None:
    assert json.loads(flat([Counted(("a",))])) == {}
    assert json.loads(flat([Counted(("a",), windows={"ms": None})])) == {"a/ms.count": 0}


def test_a_gauge_that_is_no_number_does_not_spoil_the_document() -> None:
    scopes = [Counted(("a",), gauges={"nan": float("nan"), "inf": float("inf"), "b": 2.0})]
    assert json.loads(flat(scopes)) == {"a/b": 2.0}
    assert json.loads(nested(scopes)) == {"a": {"b": {"gauge": 2.0}}}
