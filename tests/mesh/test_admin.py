"""The admin server of the real program tells exactly what went through, what names mean, and stops the linker."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin, exchange, get
from tests.mesh.callers import Caller, body_of, status_of, values_of
from tests.mesh.observing import becomes

SYNTHETIC: Final = "com.twitter.finagle.service.ResponseClassificationSyntheticException"
NO_BROKERS: Final = "com.twitter.finagle.naming.buoyant.RichNoBrokersAvailableException"


def config(root: Path) -> str:
    return f"""
admin: {{port: 0}}
telemetry:
- kind: io.l5d.prometheus
namers:
- kind: io.l5d.fs
  rootDir: {root}
routers:
- protocol: http
  label: main
  originator: true
  dtab: |
    /svc => /#/io.l5d.fs ;
    /svc/alias => /#/io.l5d.fs/web ;
  client:
    failureAccrual: {{kind: none}}
  servers:
  - port: 0
"""


async def by_target(request: bytes) -> bytes:
    """Answer with the status that the target names."""
    status = request.split()[1][1:]
    return b"HTTP/1.1 %s Some\r\nContent-Length: 4\r\n\r\nbody" % status


def scope_of(metrics: dict[str, Any], scope: str) -> dict[str, Any]:
    """Give the metrics below a scope."""
    return {name.removeprefix(f"{scope}/"): value for name, value in metrics.items() if name.startswith(f"{scope}/")}


async def test_metrics_are_exactly_what_went_through_under_linkerds_names(tmp_path: Path) -> None:
    async with Origin(by_target) as origin:
        (tmp_path / "web").write_text(f"127.0.0.1 {origin.port}\n")
        async with LinkerProcess(config(tmp_path)) as linker:
            sent = received = 0
            async with Caller(linker.port("main")) as caller:
                for host, status, count in [
                    ("web", 200, 5),
                    ("web", 404, 2),
                    ("web", 500, 3),
                    ("alias", 200, 4),
                    ("nobody", 502, 2),
                ]:
                    for _ in range(count):
                        request = get(host, f"/{status}")
                        answer = await caller.ask(request)
                        assert status_of(answer) == status
                        sent += len(request)
                        received += len(answer)
                        if host != "nobody":
                            wanted = "0.0" if status == 500 else "1.0"
                            assert values_of(answer, "l5d-success-class") == [wanted]
            bad = b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: x\r\n\r\n"
            answer = await exchange("127.0.0.1", linker.port("main"), bad)
            assert status_of(answer) == 400

            server = f"rt/main/server/127.0.0.1/{linker.port('main')}"
            metrics = await becomes("closed", linker.metrics, lambda found: found[f"{server}/connections"] == 0)
            found = scope_of(metrics, server)
            assert {name: value for name, value in found.items() if name.startswith("status/")} == {
                **{"status/200": 9, "status/400": 1, "status/404": 2, "status/500": 3, "status/502": 2},
                **{"status/2XX": 9, "status/4XX": 3, "status/5XX": 5},
            }
            assert (found["requests"], found["success"], found["failures"]) == (17, 12, 5)
            assert (found["pending"], found["connects"], found["closes"]) == (0, 2, 2)
            assert found["sent_bytes"] == received + len(answer)
            assert found["received_bytes"] == sent + len(bad)

            assert (
                scope_of(metrics, "rt/main/service/svc/web").items()
                >= {
                    **{"requests": 10, "success": 7, "failures": 3, f"failures/{SYNTHETIC}": 3},
                    **{"pending": 0, "retries/total": 0},
                }.items()
            )
            assert (
                scope_of(metrics, "rt/main/service/svc/alias").items()
                >= {**{"requests": 4, "success": 4, "failures": 0, "pending": 0}}.items()
            )
            assert (
                scope_of(metrics, "rt/main/service/svc/nobody").items()
                >= {**{"requests": 2, "success": 0, "failures": 2, f"failures/{NO_BROKERS}": 2, "pending": 0}}.items()
            )

            client = scope_of(metrics, "rt/main/client/#/io.l5d.fs/web")
            assert (
                client.items()
                >= {
                    **{"requests": 14, "success": 11, "failures": 3, f"failures/{SYNTHETIC}": 3, "pending": 0},
                    **{"status/200": 9, "status/404": 2, "status/500": 3},
                    **{"connects": 1, "connections": 1, "pool_cached": 1, "retries/requeues": 0},
                    **{"loadbalancer/size": 1, "loadbalancer/available": 1, "loadbalancer/load": 0},
                    **{"loadbalancer/adds": 1, "loadbalancer/removes": 0, "loadbalancer/algorithm/p2c_least_loaded": 1},
                    **{"service/svc/web/requests": 10, "service/svc/web/success": 7, "service/svc/web/failures": 3},
                    **{"service/svc/alias/requests": 4, "service/svc/alias/success": 4},
                    **{"sent_bytes": sum(map(len, origin.requests)), "received_bytes": received_of(origin)},
                }.items()
            )
            assert not scope_of(metrics, "rt/main/client/#/io.l5d.fs/nobody")
            assert scope_of(metrics, "rt/main/bindcache/path") == {
                **{"misses": 3, "evicts": 0, "expires": 0, "oneshots": 0}
            }
            assert metrics["rt/main/originator"] == 1
            tree = json.loads(await linker.admin("/admin/metrics.json?tree=1"))
            assert tree["rt"]["main"]["server"][f"127.0.0.1/{linker.port('main')}"]["requests"] == {"counter": 17}
            below = json.loads(await linker.admin("/admin/metrics.json?q=rt/main/bindcache"))
            assert below["path/misses"] == 3


def received_of(origin: Origin) -> int:
    """Give how many bytes `by_target` has answered with."""
    return sum(len(b"HTTP/1.1 200 Some\r\nContent-Length: 4\r\n\r\nbody") for _ in origin.requests)


PROMETHEUS_LINE: Final = re.compile(
    r"([a-zA-Z_:][a-zA-Z0-9_:]*)"
    r'(?:\{([a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*"(?:, ?[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*")*)\})?'
    r" (-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|NaN|[+-]?Inf)"
)


async def test_every_line_for_prometheus_can_be_read_and_says_what_the_json_says(tmp_path: Path) -> None:
    async with Origin() as origin:
        (tmp_path / "web").write_text(f"127.0.0.1 {origin.port}\n")
        async with LinkerProcess(config(tmp_path)) as linker:
            # Names with what must be escaped are the hard ones.
            odd = "l5d-dtab: /svc/a\\x22\\x5c => /#/io.l5d.fs/web"
            for host, *headers in [("web",), ("web",), ("nobody",), ("web{x=", odd), ("中".encode().hex(),)]:
                await linker.get(host, "/", *headers, router="main")
            lines = (await linker.admin("/admin/metrics/prometheus")).decode().splitlines()
            metrics = await linker.metrics()
            series: dict[str, float] = {}
            for line in lines:
                if line.startswith("#"):
                    continue
                read = PROMETHEUS_LINE.fullmatch(line)
                assert read is not None, line
                series[line.rpartition(" ")[0]] = float(read[3])
            assert len(series) == len([line for line in lines if not line.startswith("#")]), "each series once"
            server = f"127.0.0.1/{linker.port('main')}"
            for name, json_name in [
                (f'rt:server:requests{{rt="main", server="{server}"}}', f"rt/main/server/{server}/requests"),
                ('rt:service:success{rt="main", service="svc/web"}', "rt/main/service/svc/web/success"),
                ('rt:client:requests{rt="main", client="#/io.l5d.fs/web"}', "rt/main/client/#/io.l5d.fs/web/requests"),
                (
                    'rt:client:service:requests{rt="main", client="#/io.l5d.fs/web", service="svc/web"}',
                    "rt/main/client/#/io.l5d.fs/web/service/svc/web/requests",
                ),
            ]:
                assert series[name] == metrics[json_name], name
            failures = f'rt:service:failures{{rt="main", service="svc/nobody", exception="{NO_BROKERS}"}}'
            assert series[failures] == 1


async def test_pages_tell_what_names_mean_and_what_was_configured(tmp_path: Path) -> None:
    async with Origin() as origin:
        (tmp_path / "web").write_text(f"127.0.0.1 {origin.port}\n")
        (tmp_path / "other").write_text("127.0.0.1 1\n")
        async with LinkerProcess(config(tmp_path)) as linker:

            async def page(path: str) -> Any:
                return json.loads(await linker.admin(path))

            assert await linker.admin("/admin/ping") == b"pong"
            assert await page("/client_state.json") == {}
            await linker.get("web", router="main")
            bound = {"state": "bound", "addresses": [origin.address]}
            assert await page("/client_state.json") == {"/#/io.l5d.fs/web": bound}
            assert sorted(await page("/bound-names.json")) == ["/#/io.l5d.fs/other", "/#/io.l5d.fs/web"]
            shown = await page("/config.json")
            assert shown["routers"][0]["label"] == "main"
            assert shown["namers"][0] == {"kind": "io.l5d.fs", "rootDir": str(tmp_path)}
            assert "/admin/metrics.json" in (await linker.admin("/admin")).decode().splitlines()


async def test_the_delegator_shows_branches_in_linkerds_shape_and_refuses_what_it_can_not_read(tmp_path: Path) -> None:
    async with Origin() as origin:
        (tmp_path / "web").write_text(f"127.0.0.1 {origin.port}\n")
        async with LinkerProcess(config(tmp_path)) as linker:

            async def ask(**query: str) -> bytes:
                return await exchange(
                    "127.0.0.1", linker.admin_port, get("localhost", f"/delegator.json?{urlencode(query)}")
                )

            address = {"ip": "127.0.0.1", "port": origin.port, "meta": {}}
            leaf = {
                "type": "leaf",
                "path": "/#/io.l5d.fs/web/rest",
                "dentry": {"prefix": "/svc", "dst": "/#/io.l5d.fs | /$/fail"},
                "bound": {
                    "addr": {"type": "bound", "addrs": [address], "meta": {}},
                    **{"id": "/#/io.l5d.fs/web", "path": "/rest"},
                },
            }
            fail = {"type": "fail", "path": "/$/fail/web/rest", "dentry": leaf["dentry"]}
            wanted = {"type": "alt", "path": "/svc/web/rest", "alt": [leaf, fail]}
            query = {"namespace": "main", "dtab": "/svc=>/#/io.l5d.fs | /$/fail", "path": "/svc/web/rest"}
            answer = await ask(**query)
            assert (status_of(answer), json.loads(body_of(answer))) == (200, wanted)

            body = json.dumps(query).encode()
            head = "POST /delegator.json HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            post = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
            answer = await exchange("127.0.0.1", linker.admin_port, post)
            assert (status_of(answer), json.loads(body_of(answer))) == (200, wanted)

            assert (status_of(await ask(dtab="!!", path="/a")), status_of(await ask(dtab=""))) == (400, 400)
            assert body_of(await ask(dtab="!!", path="/a")).startswith(b"Invalid dtab: ")
            assert body_of(await ask(dtab="", path="a b")).startswith(b"Invalid path: ")
            assert body_of(await ask(dtab="")) == b"Invalid path: null"
            assert status_of(await ask(namespace="none", dtab="", path="/a")) == 501
            typeless = post.replace(b"Content-Type: application/json\r\n", b"")
            assert status_of(await exchange("127.0.0.1", linker.admin_port, typeless)) == 415


async def test_only_a_post_with_a_readable_grace_shuts_down(tmp_path: Path) -> None:
    async with LinkerProcess(config(tmp_path)) as linker:

        async def ask(method: str, query: str = "") -> bytes:
            request = f"{method} /admin/shutdown{query} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
            return await exchange("127.0.0.1", linker.admin_port, request.encode())

        refused = await ask("GET")
        assert (status_of(refused), values_of(refused, "Allow")) == (405, ["POST"])
        refused = await ask("POST", "?grace=soon")
        assert status_of(refused) == 400
        assert body_of(refused) == b"could not parse 'grace' parameter: soon is not a valid duration"
        assert await linker.admin("/admin/ping") == b"pong"
        assert body_of(await ask("POST", "?grace=1.seconds")) == b"quitting\n"
        assert await linker.wait() == 0


async def test_bodies_without_a_length_are_counted_both_ways(tmp_path: Path) -> None:
    (tmp_path / "web").write_text("")
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    upload = b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with Origin(chunked) as origin, LinkerProcess(config(tmp_path)) as linker:
        (tmp_path / "web").write_text(f"127.0.0.1 {origin.port}\n")
        base = f"rt/main/server/127.0.0.1/{linker.port('main')}/http/stream"
        assert not any(name.startswith(base) for name in await linker.metrics())
        async with Caller(linker.port("main")) as caller:

            async def served() -> int:
                return status_of(await caller.ask(get("web")))

            await becomes("the endpoint is known", served, lambda status: status == 200)
            assert status_of(await caller.ask(upload + b"2\r\nhi\r\n0\r\n\r\n")) == 200
            caller.writer.write(upload + b"2\r\nhi\r\n")

            async def pending() -> list[Any]:
                metrics = await linker.metrics()
                return [metrics.get(f"{base}/{way}/pending") for way in ("request", "response")]

            await becomes("an upload is under way", pending, lambda counts: counts[0] == 1)
            metrics = await linker.metrics()
            assert (metrics[f"{base}/request/opened"], metrics[f"{base}/request/closed"]) == (2, 1)
            assert metrics[f"{base}/response/opened"] >= 2
        await becomes("who has left uploads nothing", pending, lambda counts: counts == [0, 0])
        assert (await linker.metrics())[f"{base}/request/closed"] == 2
