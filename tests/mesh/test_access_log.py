"""The real program writes a line for each response, and an operator can move the file away."""

from __future__ import annotations

import asyncio
import re
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from biandou.testing.linker_process import LinkerFailed, LinkerProcess
from biandou.testing.origin import Origin

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n"


def config(port: int, *keys: str) -> str:
    lines = "\n".join(f"  {key}" for key in keys)
    return f"""
admin: {{port: 0}}
routers:
- protocol: http
  dtab: /svc/web => /$/inet/127.0.0.1/{port} ;
  servers: [{{port: 0}}]
{lines}
"""


async def written(file: Path, lines: int) -> list[str]:
    """Wait until the file has so many lines, and give them."""
    async with asyncio.timeout(10):
        while not file.exists() or len(file.read_text().splitlines()) < lines:
            await asyncio.sleep(0.02)
    return file.read_text().splitlines()


async def test_a_response_has_a_line_and_an_error_of_our_own_has_none(tmp_path: Path) -> None:
    file = tmp_path / "not" / "there" / "yet.log"
    text, zone = f"httpAccessLog: {file}", {"TZ": "XYZ-03:30"}
    async with Origin(NOT_FOUND) as origin, LinkerProcess(config(origin.port, text), environment=zone) as linker:
        assert (await linker.get("nobody")).startswith(b"HTTP/1.1 502")
        await linker.get("web", "/a?b=c", "Referer: http://x/", 'User-Agent: x" 200 9 "\\')
        (line,) = await written(file, 1)
        metrics = await linker.metrics()
    time = r"(\d\d/\d\d/\d{4}:\d\d:\d\d:\d\d) XYZ"
    expected = rf'web 127\.0\.0\.1 - - \[{time}\] "GET /a\?b=c HTTP/1\.1" 404 3 "http://x/" "x\\" 200 9 \\"\\\\"'
    found = re.fullmatch(expected, line)
    assert found is not None, line
    local = datetime.strptime(f"{found[1]} +0330", "%d/%m/%Y:%H:%M:%S %z")
    assert abs(local - datetime.now(UTC)) < timedelta(minutes=1)
    assert metrics["rt/http/access_log/dropped"] == 0


async def test_a_file_that_was_moved_away_is_begun_anew_at_sighup_and_no_line_is_lost(tmp_path: Path) -> None:
    file, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    file.write_text("before\n")
    text = config(0, f"httpAccessLog: {file}", "httpAccessLogRollPolicy: sighup")
    async with Origin() as origin, LinkerProcess(text.replace("127.0.0.1/0", f"127.0.0.1/{origin.port}")) as linker:
        await linker.get("web", "/1")
        assert (await written(file, 2))[0] == "before"
        file.rename(moved)
        await linker.get("web", "/2")
        await written(moved, 3)
        linker.signal(signal.SIGHUP)
        async with asyncio.timeout(10):
            while not file.exists():
                await asyncio.sleep(0.02)
        await linker.get("web", "/3")
        # Stopping writes what waits.
        assert await linker.stop() == 0
    assert ["/1" in line or "/2" in line for line in moved.read_text().splitlines()] == [False, True, True]
    assert ["/3" in line for line in file.read_text().splitlines()] == [True]


async def test_a_file_is_rolled_by_size_and_so_many_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    keys = [f"httpAccessLog: {file}", "httpAccessLogRollPolicy: 100.bytes", "httpAccessLogRotateCount: 2"]
    async with Origin() as origin, LinkerProcess(config(origin.port, *keys), "--workers", "1") as linker:
        for number in range(5):
            await linker.get("web", f"/{number}")
        assert await linker.stop() == 0
    assert "/4" in file.read_text()
    rolled = sorted(path for path in tmp_path.iterdir() if path != file)
    assert sorted(re.findall(r"GET /(\d)", "".join(path.read_text() for path in rolled))) == ["2", "3"]
    assert all(re.fullmatch(r"access-\d{8}-\d{6}(\.\d)?\.log", path.name) for path in rolled)


async def test_a_file_that_cannot_be_opened_keeps_the_linker_from_starting_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    bad = tmp_path / "file" / "access.log"
    with pytest.raises(LinkerFailed, match=f"cannot start: httpAccessLog {re.escape(str(bad))}: "):
        async with LinkerProcess(config(1, f"httpAccessLog: {bad}")):
            pass


async def test_lines_that_cannot_be_written_are_counted_and_harm_no_request() -> None:
    async with Origin() as origin, LinkerProcess(config(origin.port, "httpAccessLog: /dev/full")) as linker:
        for _ in range(3):
            assert (await linker.get("web")).startswith(b"HTTP/1.1 200 OK\r\n")
        await linker.logged("cannot write the access log, its lines are lost: No space left on device")
        async with asyncio.timeout(10):
            while (await linker.metrics())["rt/http/access_log/dropped"] != 3:
                await asyncio.sleep(0.02)
