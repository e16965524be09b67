"""`biandou namerd` writes a line for each call of `io.l5d.mesh`, and an operator can move the file away."""

from __future__ import annotations

import asyncio
import re
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from biandou.testing.linker_process import LinkerFailed
from tests.mesh.test_namerd import namerd
from tests.mesh.test_namerd_mesh import DEFAULT, WEB, call, following, plain, refused, stream

HEAD = "admin: {port: 0}\n"


def config(keys: str = "") -> str:
    return (
        "storage: {kind: io.l5d.inMemory, namespaces: {default: /svc => /$/inet/127.0.0.1/1}}\n"
        f"interfaces: [{{kind: io.l5d.mesh, port: 0{keys}}}]\n"
    )


async def written(file: Path, lines: int) -> list[str]:
    """Wait until the file has so many lines, and give them."""
    async with asyncio.timeout(10):
        while not file.exists() or len(file.read_text().splitlines()) < lines:
            await asyncio.sleep(0.02)
    return file.read_text().splitlines()


def method(line: str) -> str:
    return line.split('"')[1]


async def test_a_call_has_its_line_also_one_that_is_refused_and_a_stream_when_it_is_opened(tmp_path: Path) -> None:
    file = tmp_path / "not" / "there" / "mesh.log"
    async with namerd(config(f", h2AccessLog: {file}")) as control, plain(control) as channel:
        await call(channel, "Delegator/GetDtab", DEFAULT)
        (line,) = await written(file, 1)
        tree = stream(channel, "Interpreter/StreamBoundTree", WEB)
        await following(tree)
        code, _ = await refused(call(channel, "Interpreter/GetBoundTree", b""))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        code, words = await refused(call(channel, 'No/Such"Method', b""))
        assert (code, words) == (grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        lines = await written(file, 4)
        metrics = await control.metrics()
    time = r"(\d\d/\d\d/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})"
    what = r'"POST /io\.linkerd\.mesh\.Delegator/GetDtab HTTP/2" 200 - "-" "grpc-python-asyncio/[^"]*"'
    found = re.fullmatch(rf"- 127\.0\.0\.1 - - \[{time}\] {what}", line)
    assert found is not None, line
    assert abs(datetime.strptime(found[1], "%d/%m/%Y:%H:%M:%S %z") - datetime.now(UTC)) < timedelta(minutes=1)
    assert [re.findall(r"mesh\.(\S+)", one)[0] for one in lines] == [
        "Delegator/GetDtab",
        "Interpreter/StreamBoundTree",
        "Interpreter/GetBoundTree",
        'No/Such\\"Method',
    ]
    assert metrics["interface/io.l5d.mesh/access_log/dropped"] == 0


async def test_a_file_that_was_moved_away_is_begun_anew_at_sighup_also_if_the_configuration_is_wrong(
    tmp_path: Path,
) -> None:
    file, moved = tmp_path / "mesh.log", tmp_path / "mesh.log.1"
    file.write_text("before\n")
    async with namerd(config(f", h2AccessLog: {file}")) as control, plain(control) as channel:
        await call(channel, "Delegator/GetDtab", DEFAULT)
        assert (await written(file, 2))[0] == "before"
        file.rename(moved)
        control.configure("wrong")
        control.signal(signal.SIGHUP)
        await written(file, 0)
        await call(channel, "Delegator/GetDtab", DEFAULT)
        await written(file, 1)
        assert len(moved.read_text().splitlines()) == 2


async def test_a_reload_changes_the_log_and_keeps_the_streams(tmp_path: Path) -> None:
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    async with namerd(config()) as control, plain(control) as channel:

        async def change(keys: str) -> bytes:
            return await control.reload(HEAD + config(keys))

        tree = stream(channel, "Interpreter/StreamBoundTree", WEB)
        await following(tree)
        answer = await change(f", h2AccessLog: {first}")
        assert b"200 OK" in answer, answer
        await call(channel, "Delegator/GetDtab", DEFAULT)
        assert len(await written(first, 1)) == 1
        # Another log of the same file: what is there stays in any case.
        await change(f", h2AccessLog: {first}, h2AccessLogAppend: false")
        await call(channel, "Delegator/GetDtab", DEFAULT)
        assert len(await written(first, 2)) == 2
        answer = await change(f", h2AccessLog: {tmp_path}")
        assert b"409" in answer.split(b"\r\n")[0], answer
        assert f"h2AccessLog {tmp_path}: ".encode() in answer
        await call(channel, "Delegator/GetDtab", DEFAULT)
        assert len(await written(first, 3)) == 3
        first.rename(tmp_path / "moved.log")
        # POST /admin/reload of an unchanged file opens the log anew, too.
        await change(f", h2AccessLog: {first}, h2AccessLogAppend: false")
        await written(first, 0)
        await change(f", h2AccessLog: {second}")
        await call(channel, "Delegator/GetDtab", DEFAULT)
        await written(second, 1)
        await change("")
        await call(channel, "Delegator/GetDtab", DEFAULT)
        pending = asyncio.ensure_future(following(tree))
        await asyncio.sleep(0.3)
        assert not pending.done()
        pending.cancel()
        assert len(second.read_text().splitlines()) == 1
        assert first.read_text() == ""


async def test_a_full_file_is_rolled(tmp_path: Path) -> None:
    file = tmp_path / "mesh.log"
    keys = f", h2AccessLog: {file}, h2AccessLogRollPolicy: 300.bytes, h2AccessLogRotateCount: 1"
    async with namerd(config(keys)) as control, plain(control) as channel:
        for _ in range(7):
            await call(channel, "Delegator/GetDtab", DEFAULT)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 2
    assert re.fullmatch(r"mesh-\d{8}-\d{6}(\.\d+)?\.log", names[0]), names
    assert all(0 < path.stat().st_size <= 300 for path in tmp_path.iterdir())


async def test_a_log_that_cannot_be_opened_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(LinkerFailed, match=f"h2AccessLog {tmp_path}: "):
        async with namerd(config(f", h2AccessLog: {tmp_path}")):
            pass
