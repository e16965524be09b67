"""The admin server of the real program: what it shows is what went through, and it stops the linker."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin, exchange


def config(root: Path) -> str:
    """Give a linker with names in files below `root`."""
    return f"""
admin: {{port: 0}}
telemetry:
- kind: io.l5d.prometheus
namers:
- kind: io.l5d.fs
  rootDir: {root}
routers:
- protocol: http
  dtab: /svc => /#/io.l5d.fs
  servers:
  - port: 0
"""


async def test_pages_show_what_went_through_the_linker(tmp_path: Path) -> None:
    async with Origin() as origin:
        (tmp_path / "web").write_text(f"127.0.0.1 {origin.port}\n")
        async with LinkerProcess(config(tmp_path)) as linker:
            for _ in range(3):
                assert b"200 OK" in await linker.get("web")
            metrics = await linker.metrics()
            assert metrics[f"rt/http/server/127.0.0.1/{linker.port()}/requests"] == 3
            assert metrics["rt/http/service/svc/web/success"] == 3
            assert metrics["rt/http/client/#/io.l5d.fs/web/service/svc/web/requests"] == 3
            assert metrics["jvm/uptime"] > 0
            prometheus = (await linker.admin("/admin/metrics/prometheus")).decode()
            assert 'rt:client:requests{rt="http", client="#/io.l5d.fs/web"} 3\n' in prometheus
            clients = json.loads(await linker.admin("/client_state.json"))
            assert clients == {"/#/io.l5d.fs/web": {"state": "bound", "addresses": [f"127.0.0.1:{origin.port}"]}}
            assert json.loads(await linker.admin("/bound-names.json")) == ["/#/io.l5d.fs/web"]
            assert json.loads(await linker.admin("/namer_state/io.l5d.fs.json"))
            shown = json.loads(
                await linker.admin("/delegator.json?namespace=http&path=/svc/web&dtab=/svc%3D%3E/%23/io.l5d.fs")
            )
            assert shown["delegate"]["bound"]["addr"]["addrs"][0]["port"] == origin.port
            assert json.loads(await linker.admin("/config.json"))["namers"][0]["kind"] == "io.l5d.fs"


async def test_without_a_namespace_no_namer_is_asked(tmp_path: Path) -> None:
    (tmp_path / "web").write_text("127.0.0.1 1\n")
    async with LinkerProcess(config(tmp_path)) as linker:
        shown = json.loads(await linker.admin("/delegator.json?path=/%23/io.l5d.fs/web"))
        assert shown == {"type": "neg", "path": "/#/io.l5d.fs/web"}


async def test_a_post_stops_the_linker(tmp_path: Path) -> None:
    async with LinkerProcess(config(tmp_path)) as linker:
        request = b"POST /admin/shutdown?grace=1.seconds HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answer = await exchange("127.0.0.1", linker.admin_port, request)
        assert answer.endswith(b"\r\n\r\nquitting\n")
        assert await linker.wait() == 0


async def test_latencies_are_those_of_the_window_that_the_flag_sets(tmp_path: Path) -> None:
    interval = "-io.buoyant.telemetry.admin.histogramSnapshotInterval=1.seconds"
    async with Origin() as origin:
        (tmp_path / "web").write_text(f"127.0.0.1 {origin.port}\n")
        async with LinkerProcess(config(tmp_path), interval) as linker:
            key = f"rt/http/server/127.0.0.1/{linker.port()}/request_latency_ms"
            assert b"200 OK" in await linker.get("web")
            async with asyncio.timeout(10):
                while f"{key}.p99" not in (metrics := await linker.metrics()):
                    await asyncio.sleep(0.05)
                assert metrics[f"{key}.count"] == 1
                # Nothing more comes: the window after that is empty.
                while (metrics := await linker.metrics())[f"{key}.count"] != 0:
                    await asyncio.sleep(0.05)
                assert f"{key}.p99" not in metrics
