"""What the pages show of a process."""

from __future__ import annotations

import json
import os
import threading

import msgspec

import biandou
from biandou.boundary import ClientView, EndpointView, Scope, Withheld
from biandou.telemeters.metrics import ProcessTelemetry
from biandou.telemeters.prometheus import PrometheusTelemeter
from biandou.telemeters.window import summarize
from tests.admin.site import serving

SCOPES = [
    Scope(
        scope=["rt", "http", "server", "127.0.0.1/4140"],
        counters={"requests": 1},
        gauges={"connections": 1.0},
        windows={"request_latency_ms": summarize([(7.0, 1)], 7.0)},
    )
]
CLIENTS = [
    ClientView(
        router="http",
        client="/#/io.l5d.fs/web",
        state="bound",
        balancer="ewma",
        panic=False,
        endpoints=[
            EndpointView(
                address="127.0.0.1:8080",
                weight=0.0625,
                pending=2,
                state="ejected",
                success_rate=2 / 3,
                ejected_for_ms=10,
                times_ejected=1,
            )
        ],
        left_out=3,
    ),
    ClientView(router="http", client="/#/io.l5d.fs/old", state="Pending", balancer="p2c", panic=False, endpoints=[]),
]


async def test_metrics_are_flat_or_a_tree_or_a_part_of_it() -> None:
    telemetry = ProcessTelemetry(lambda: SCOPES)
    async with serving(telemetry=telemetry) as client:
        async with client.get("/admin/metrics.json") as reply:
            assert reply.headers["Content-Type"] == "application/json"
            flat = await reply.json()
            assert flat["rt/http/server/127.0.0.1/4140/requests"] == 1
            assert flat["rt/http/server/127.0.0.1/4140/request_latency_ms.p99"] == 7
        async with client.get("/admin/metrics.json?tree=1") as reply:
            server = (await reply.json())["rt"]["http"]["server"]["127.0.0.1/4140"]
            assert server["requests"] == {"counter": 1}
            assert server["connections"] == {"gauge": 1.0}
            assert server["request_latency_ms"]["stat.count"] == 1
        async with client.get("/admin/metrics.json?q=rt/http/server") as reply:
            assert (await reply.json())["127.0.0.1/4140/requests"] == 1
        async with client.get("/admin/metrics.json?q=a/b") as reply:
            assert (reply.status, await reply.text()) == (404, '{"error":"No such subtree: a/b"}')
        async with client.get("/admin/metrics.json?pretty=t") as reply:
            text = await reply.text()
            assert list(json.loads(text)) == sorted(json.loads(text))
            assert "\n" in text


async def test_prometheus_is_served_where_the_telemeter_says_and_only_with_one() -> None:
    async with serving(lambda: SCOPES) as client, client.get("/admin/metrics/prometheus") as reply:
        assert reply.status == 404
    telemeters = [PrometheusTelemeter(), PrometheusTelemeter(path="/prom", prefix="l5d:")]
    async with serving(lambda: SCOPES, prometheus=telemeters) as client:
        async with client.get("/admin/metrics/prometheus") as reply:
            assert reply.headers["Content-Type"] == "text/plain"
            assert 'rt:server:requests{rt="http", server="127.0.0.1/4140"} 1\n' in await reply.text()
        async with client.get("/prom") as reply:
            assert 'l5d:rt:server:requests{rt="http", server="127.0.0.1/4140"} 1\n' in await reply.text()


async def test_clients_and_their_endpoints() -> None:
    asked = []

    def clients(router: str, client: str) -> list[ClientView]:
        asked.append((router, client))
        return CLIENTS

    async with serving(clients=clients) as client:
        async with client.get("/client_state.json") as reply:
            assert await reply.json() == {
                "/#/io.l5d.fs/web": {"state": "bound", "addresses": ["127.0.0.1:8080"]},
                "/#/io.l5d.fs/old": {"state": "Pending", "addresses": []},
            }
        async with client.get("/admin/endpoints.json?router=http&client=/a") as reply:
            assert (await reply.json())["http"] == {
                "/#/io.l5d.fs/web": {
                    "state": "bound",
                    "balancer": "ewma",
                    "panic": False,
                    "endpoints": [
                        {
                            "address": "127.0.0.1:8080",
                            "weight": 0.0625,
                            "pending": 2,
                            "state": "ejected",
                            "success_rate": 0.667,
                            "ejected_for_ms": 10,
                            "times_ejected": 1,
                            "connections": 0,
                            "idle": 0,
                            "waiting": 0,
                        }
                    ],
                    "left_out": 3,
                },
                "/#/io.l5d.fs/old": {"state": "Pending", "balancer": "p2c", "panic": False, "endpoints": []},
            }
    assert asked == [("", ""), ("http", "/a")]


async def test_bound_names_and_the_state_of_namers() -> None:
    states = {"io.l5d.fs": lambda: {"watched": ["web"]}}
    async with serving(bound_names=lambda: ["/#/io.l5d.fs/web"], namer_states=states) as client:
        async with client.get("/bound-names.json") as reply:
            assert await reply.json() == ["/#/io.l5d.fs/web"]
        async with client.get("/namer_state/io.l5d.fs.json") as reply:
            assert await reply.json() == {"watched": ["web"]}
        async with client.get("/namer_state/io.l5d.consul.json") as reply:
            assert reply.status == 404
    async with serving(bound_names=list) as client, client.get("/bound-names.json") as reply:
        assert await reply.text() == "[]"


async def test_the_configuration_is_shown_as_it_was_given() -> None:
    async with serving(config={"routers": [{"protocol": "http"}]}) as client, client.get("/config.json") as reply:
        assert reply.headers["Content-Type"] == "application/json;charset=UTF-8"
        assert await reply.text() == '{"routers":[{"protocol":"http"}]}'


async def test_the_index_lists_every_page_once_and_sorted() -> None:
    async with serving(bound_names=list) as client:
        async with client.get("/admin") as reply:
            listed = await reply.text()
        async with client.get("/admin/index.txt") as reply:
            assert await reply.text() == listed
        lines = listed.splitlines()
        assert listed.endswith("\n")
        assert lines == sorted(set(lines))
        assert {"/", "/admin", "/admin/index.txt", "/admin/ping", "/bound-names.json"} <= set(lines)
        assert "/delegator.json" not in lines
        for path in set(lines) - {"/admin/shutdown"}:
            async with client.get(path) as reply:
                assert reply.status == 200, path


async def test_health_tells_what_the_process_adds() -> None:
    async with serving(health=lambda: {"knowledge_age_ms": 5}) as client, client.get("/admin/health") as reply:
        health = await reply.json()
    assert (health["status"], health["knowledge_age_ms"]) == ("ok", 5)
    assert health["uptime"] > 0


async def test_server_info_tells_the_version_and_since_when() -> None:
    async with serving(product="biandou linker") as client, client.get("/admin/server_info") as reply:
        info = await reply.json()
    assert (info["name"], info["version"]) == ("biandou linker", biandou.__version__)
    assert info["uptime"] > 0


async def test_threads_of_the_process_are_shown_with_what_python_does_in_them() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="waits", daemon=True)
    thread.start()
    try:
        async with serving() as client, client.get("/admin/threads.json") as reply:
            threads = (await reply.json())["threads"]
    finally:
        stop.set()
        thread.join()
    assert str(os.getpid()) in threads
    (waits,) = [shown for shown in threads.values() if shown["thread"] == "waits"]
    assert waits["daemon"] is True
    assert any("wait" in line for line in waits["stack"])


async def test_what_callers_were_not_told_of_their_errors_is_shown_newest_first() -> None:
    errors = [Withheld(id=number, router="http", room="binding", status=502, message="no namer") for number in "12"]
    async with serving(withheld=lambda: errors) as client:
        async with client.get("/admin/errors.json") as reply:
            assert [error["id"] for error in await reply.json()] == ["2", "1"]
        async with client.get("/admin/errors.json?id=1") as reply:
            assert await reply.json() == [msgspec.structs.asdict(errors[0])]
