"""The real program starts, drains and stops as it says, and its exit status tells how."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from biandou.testing.linker_process import LinkerFailed, LinkerProcess
from biandou.testing.origin import OK, Origin, exchange, get, read_message

INHERITING = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = "1"
os.execv(sys.executable, [sys.executable, "-m", "biandou", *sys.argv[2:]])
"""


def config(origin_port: int, *, port: int = 0, grace_ms: int = 10_000) -> str:
    return f"""
admin: {{port: 0, shutdownGraceMs: {grace_ms}}}
routers:
- protocol: http
  dtab: /svc/web => /$/inet/127.0.0.1/{origin_port} ;
  servers:
  - port: {port}
"""


class SlowOrigin(Origin):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def _answer(self, _request: bytes) -> bytes:
        self.asked.set()
        await self.may_answer.wait()
        return OK


async def run(*arguments: str, text: str = "") -> tuple[int, str, str]:
    """Run `biandou` to its end; gives exit status, output and errors."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "biandou",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    async with asyncio.timeout(20):
        output, errors = await process.communicate(text.encode())
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_sigterm_lets_a_running_request_finish_and_takes_no_new_connection() -> None:
    async with SlowOrigin() as origin, LinkerProcess(config(origin.port)) as linker:
        slow = asyncio.create_task(linker.get("web"))
        await origin.asked.wait()
        linker.signal(signal.SIGTERM)
        await linker.logged("Received SIGTERM. Shutting down ...")
        with pytest.raises(ConnectionRefusedError):
            await wait_refused(linker.port())
        assert not slow.done()
        origin.may_answer.set()
        assert (await slow).startswith(b"HTTP/1.1 200 OK\r\n")
        assert await linker.wait() == 0


async def wait_refused(port: int) -> None:
    """Connect until that is refused; raises `ConnectionRefusedError`."""
    async with asyncio.timeout(2):
        while True:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_connection_does_not_delay_the_end(number: signal.Signals) -> None:
    async with Origin() as origin, LinkerProcess(config(origin.port)) as linker:
        reader, writer = await asyncio.open_connection("127.0.0.1", linker.port())
        writer.write(get("web"))
        assert (await read_message(reader)).startswith(b"HTTP/1.1 200 OK\r\n")
        began = time.monotonic()
        linker.signal(number)
        assert await linker.wait() == 0
        assert time.monotonic() - began < 3
        assert await reader.read() == b"", "closed, with nothing more to say"
        writer.close()


async def test_a_second_signal_stops_at_once_with_status_1() -> None:
    async with SlowOrigin() as origin, LinkerProcess(config(origin.port)) as linker:
        slow = asyncio.create_task(linker.get("web"))
        await origin.asked.wait()
        linker.signal(signal.SIGTERM)
        await linker.logged("Shutting down")
        began = time.monotonic()
        linker.signal(signal.SIGTERM)
        assert await linker.wait() == 1
        assert time.monotonic() - began < 2
        await asyncio.gather(slow, return_exceptions=True)


async def test_the_grace_bounds_the_drain() -> None:
    async with SlowOrigin() as origin, LinkerProcess(config(origin.port, grace_ms=1000)) as linker:
        slow = asyncio.create_task(linker.get("web"))
        await origin.asked.wait()
        began = time.monotonic()
        linker.signal(signal.SIGTERM)
        assert await linker.wait() == 0
        assert 0.9 < time.monotonic() - began < 4
        assert any("1 requests were cut off" in line for line in linker.log)
        await asyncio.gather(slow, return_exceptions=True)


async def test_admin_shutdown_drains_as_sigterm_does_and_takes_a_grace_of_its_own() -> None:
    async with SlowOrigin() as origin, LinkerProcess(config(origin.port)) as linker:
        slow = asyncio.create_task(linker.get("web"))
        await origin.asked.wait()
        began = time.monotonic()
        post = b"POST /admin/shutdown?grace=1500.milliseconds HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\n\r\n"
        assert (await exchange("127.0.0.1", linker.admin_port, post)).startswith(b"HTTP/1.1 200 OK\r\n")
        await linker.logged("Shutting down")
        assert await linker.wait() == 0
        assert 1.4 < time.monotonic() - began < 5
        await asyncio.gather(slow, return_exceptions=True)


async def test_sighup_does_not_end_it() -> None:
    async with Origin() as origin, LinkerProcess(config(origin.port)) as linker:
        linker.signal(signal.SIGHUP)
        await linker.logged("reloaded: nothing differs")
        assert (await linker.get("web")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_socket_from_systemd_is_served_also_to_who_connected_before_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
        async with Origin() as origin:
            early = asyncio.create_task(exchange("127.0.0.1", port, get("web")))
            await asyncio.sleep(0.1)
            program = (sys.executable, "-c", INHERITING, str(listener.fileno()))
            text = config(origin.port, port=port)
            linker = LinkerProcess(text, "--workers", "2", pass_fds=[listener.fileno()], program=program)
            async with linker:
                assert linker.port() == port
                handed = f"socket:[{os.fstat(listener.fileno()).st_ino}]"
                assert os.readlink(f"/proc/{linker.pid}/fd/3") != handed, "only the engine's copies are open"
                assert (await early).startswith(b"HTTP/1.1 200 OK\r\n")
                for _ in range(10):
                    assert (await linker.get("web")).startswith(b"HTTP/1.1 200 OK\r\n")
                assert await linker.stop() == 0
            # The socket is systemd's: it goes on listening while the linker is away.
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()


async def test_an_address_in_use_is_told_in_one_line_with_status_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        linker = LinkerProcess(config(1, port=port))
        with pytest.raises(LinkerFailed, match="exit status 1"):
            await linker.start()
        errors = [line for line in linker.log if line.startswith("E ")]
        assert len(errors) == 1
        assert f"127.0.0.1:{port}" in errors[0]
        assert "Address already in use" in errors[0]


async def test_the_log_is_json_on_request() -> None:
    linker = LinkerProcess(config(1), "--log-format", "json")
    await linker.launch()
    await linker.logged('"initialized"')
    assert await linker.stop() == 0
    events = [json.loads(line) for line in linker.log]
    assert all(event.keys() >= {"time", "level", "message"} for event in events)
    assert "Received SIGTERM. Shutting down ..." in [event["message"] for event in events]


async def test_the_log_level_silences_what_is_below_it() -> None:
    linker = LinkerProcess(config(1), "-log.level=WARNING")
    await linker.launch()
    await asyncio.sleep(1)
    assert await linker.stop() == 0
    assert linker.log == []


@pytest.mark.parametrize("flag", ["--validate", "-validate", "-validate=true"])
async def test_validate_says_whether_the_configuration_can_be_used(tmp_path: Path, flag: str) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(config(1, port=4140))
    bad.write_text("routers:\n- protocol: http\n  servres: []\n")
    assert await run("linker", flag, str(good)) == (0, "", "")
    status, output, errors = await run("linker", flag, str(bad))
    assert (status, output) == (78, "")
    assert f"{bad}:3:" in errors
    assert "did you mean `servers`?" in errors
    assert (await run("linker", flag, "-", text=config(1)))[0] == 0
    assert (await run("linker", flag, "--", "-", text="["))[0] == 78


async def test_without_a_file_it_says_how_to_get_a_first_one_which_works(tmp_path: Path) -> None:
    status, output, errors = await run("linker")
    assert (status, output) == (64, "")
    assert "biandou linker --example > linkerd.yaml" in errors
    status, example, _ = await run("linker", "--example")
    assert status == 0
    assert (await run("linker", "--validate", "-", text=example))[0] == 0


async def test_a_file_that_is_not_there_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    status, _, errors = await run("linker", str(tmp_path / "none.yaml"))
    assert status == 78
    assert "none.yaml" in errors
    assert "Traceback" not in errors


async def test_a_flag_that_is_not_there_is_a_usage_error() -> None:
    status, _, errors = await run("linker", "-nonsense", "x.yaml")
    assert status == 64
    assert "there is no flag -nonsense" in errors


async def test_version_and_help_need_no_configuration() -> None:
    assert (await run("--version"))[1].startswith("biandou ")
    status, output, _ = await run("--help")
    assert status == 0
    for command in ("linker", "demo", "explain"):
        assert command in output


async def test_a_linker_carries_none_of_the_libraries_for_people() -> None:
    async with Origin() as origin, LinkerProcess(config(origin.port)) as linker:
        await linker.get("web")
        mapped = Path(f"/proc/{linker.pid}/maps").read_text()
        assert "uvloop" in mapped
        assert "aiohttp" not in mapped, "loaded when somebody looks at the admin server"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        script = "import biandou.cli.linker, sys; print({'typer', 'rich'} & sys.modules.keys())"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, env=environment
        )
        assert (await process.communicate())[0] == b"set()\n"
