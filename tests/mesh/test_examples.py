"""Each example configuration does, in the real program, what its comments say."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
from collections import Counter
from pathlib import Path

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.callers import saying, status_of

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A copy of the examples, so that a test may write the addresses of its own origins."""
    return Path(shutil.copytree(EXAMPLES, tmp_path / "examples"))


def origin(text: str) -> Origin:
    """Make an origin whose every answer is `text`."""
    return Origin(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())


def on_free_ports(file: Path) -> str:
    """Give an example's text with its servers, and its admin server, on ports that the system picks."""
    text = file.read_text()
    assert re.search(r"^  - ip: 127\.0\.0\.1\n    port: 414[01]$", text, re.MULTILINE), (
        "an example listens on loopback only"
    )
    text = re.sub(r"^(  - ip: 127\.0\.0\.1\n    port: )\d+$", r"\g<1>0", text, flags=re.MULTILINE)
    return re.sub(r"^(admin:\n  ip: 127\.0\.0\.1\n  port: )\d+$", r"\g<1>0", text, flags=re.MULTILINE)


def found_at(name: Path, *origins: Origin) -> None:
    """Write the file of a discovered name."""
    name.write_text("".join(f"{one.ip} {one.port}\n" for one in origins))


def body(answer: bytes) -> str:
    """Give the body of an answer, which must be a 200."""
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), answer
    return content.decode()


async def test_namerless_inet_sends_every_name_to_the_address_in_its_dtab(examples: Path) -> None:
    async with origin("the one") as one:
        config = on_free_ports(examples / "namerless-inet.yaml").replace("/8888", f"/{one.port}")
        async with LinkerProcess(config) as linker:
            assert body(await linker.get("web", router="inet")) == "the one"
            assert body(await linker.get("anything", router="inet")) == "the one"


async def test_retries_save_a_read_that_fails_once(examples: Path) -> None:
    broken = True

    async def answer(_request: bytes) -> bytes:
        nonlocal broken
        broken = not broken
        return saying("good") if broken else b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"

    async with Origin(answer) as one:
        for name in ("web", "my-db"):
            found_at(examples / "disco" / name, one)
        async with LinkerProcess(on_free_ports(examples / "retries.yaml"), cwd=str(examples)) as linker:
            assert body(await linker.get("web", router="retries")) == "good"
            assert status_of(await linker.get("my-db", router="retries")) == 500, "its budget is empty at first"


async def test_fs_follows_the_file_of_a_name_while_it_runs(examples: Path) -> None:
    async with origin("before") as before, origin("after") as after:
        found_at(examples / "disco" / "web", before)
        async with LinkerProcess(on_free_ports(examples / "fs.yaml"), cwd=str(examples)) as linker:
            assert body(await linker.get("web", router="files")) == "before"
            found_at(examples / "disco" / "web", after)
            for _ in range(200):
                if body(await linker.get("web", router="files")) == "after":
                    break
            assert body(await linker.get("web", router="files")) == "after"
            assert (await linker.get("nobody", router="files")).startswith(b"HTTP/1.1 502 ")


async def test_per_request_dtab_takes_one_request_elsewhere_and_no_other(examples: Path) -> None:
    override = "l5d-dtab: /svc/web => /#/io.l5d.fs/web-next"
    async with origin("in service") as web, origin("next") as following:
        found_at(examples / "disco" / "web", web)
        found_at(examples / "disco" / "web-next", following)
        async with LinkerProcess(on_free_ports(examples / "per-request-dtab.yaml"), cwd=str(examples)) as linker:
            assert body(await linker.get("web", router="staging")) == "in service"
            assert body(await linker.get("web", "/", override, router="staging")) == "next"
            assert body(await linker.get("web", router="staging")) == "in service"
        assert b"l5d-ctx-dtab: /svc/web=>/#/io.l5d.fs/web-next" in following.requests[0]
        assert b"l5d-ctx-dtab" not in web.requests[0]


async def test_linker_to_linker_crosses_both_routers_once(examples: Path) -> None:
    """On one host; tests/mesh/test_hosts.py has all of it, where hosts can be had."""
    folder = examples / "linker-to-linker"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = on_free_ports(folder / "linker.yaml").replace("0.0.0.0", "127.0.0.1").replace("4141", str(port))
    async with origin("far away") as web:
        found_at(folder / "disco" / "web", web)
        async with LinkerProcess(config, cwd=str(folder)) as linker:
            assert body(await linker.get("web", router="outgoing")) == "far away"
    [request] = web.requests
    names = re.findall(rb"(?im)^(l5d-dst-(?:service|client)): (.*?)\r$", request)
    assert names == [
        (b"l5d-dst-service", b"/svc/web"),
        (b"l5d-dst-client", b"/%/io.l5d.localhost/#/io.l5d.fs/web"),
    ]
    vias = b", ".join(re.findall(rb"(?im)^via: (.*?)\r$", request))
    assert len(vias.split(b",")) == 2, "each router signs in Via"


async def test_weighted_canary_sends_one_request_in_ten_to_the_next_version(examples: Path) -> None:
    async with origin("web") as web, origin("web-next") as following:
        found_at(examples / "disco" / "web", web)
        found_at(examples / "disco" / "web-next", following)
        async with LinkerProcess(on_free_ports(examples / "weighted-canary.yaml"), cwd=str(examples)) as linker:
            shares = Counter([body(await linker.get("web", router="canary")) for _ in range(400)])
            # 40 of 400 are expected; fewer than 15 or more than 75 come by chance once in millions of runs.
            assert 15 <= shares["web-next"] <= 75, shares
            assert shares.total() == 400
            (examples / "disco" / "web-next").unlink()
            for _ in range(200):
                if not any([body(await linker.get("web", router="canary")) == "web-next" for _ in range(20)]):
                    break
            rest = {body(await linker.get("web", router="canary")) for _ in range(60)}
            assert rest == {"web"}, "a version that nobody runs gets no requests"


async def test_rate_limits_tell_who_asks_too_often_when_to_come_again(examples: Path) -> None:
    async with origin("web") as web:
        found_at(examples / "disco" / "web", web)
        async with LinkerProcess(on_free_ports(examples / "rate-limits.yaml"), cwd=str(examples)) as linker:
            ann, bob = "X-Api-Key: ann", "X-Api-Key: bob"
            assert body(await linker.get("web", "/reports", ann, router="limited")) == "web"
            refused = await linker.get("web", "/reports", bob, router="limited")
            assert refused.startswith(b"HTTP/1.1 429 ")
            assert re.search(rb"\r\nRetry-After: [12]\r\n", refused)
            answers = await asyncio.gather(*(linker.get("web", "/", ann, router="limited") for _ in range(60)))
            refused_to_ann = sum(answer.startswith(b"HTTP/1.1 429 ") for answer in answers)
            assert 0 < refused_to_ann <= 41, "twenty at once, of which one was for the reports, and ten a second"
            assert body(await linker.get("web", "/", bob, router="limited")) == "web"


async def test_outliers_are_left_alone_and_the_admin_page_tells_which(examples: Path) -> None:
    async with origin("well") as well, origin("gone") as gone:
        found_at(examples / "disco" / "web", well, gone)
        await gone.close()
        async with LinkerProcess(on_free_ports(examples / "outliers.yaml"), cwd=str(examples)) as linker:
            assert {body(await linker.get("web", router="guarded")) for _ in range(20)} == {"well"}
            page = json.loads(await linker.admin("/admin/endpoints.json"))["guarded"]["/#/io.l5d.fs/web"]
            states = {endpoint["address"]: endpoint["state"] for endpoint in page["endpoints"]}
            assert states == {well.address: "in use", gone.address: "ejected"}
