"""An upgrade under systemd loses no request: the test holds the socket as systemd does, and restarts under load."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from biandou.testing.origin import OK, Origin, get
from tests.mesh.callers import Caller, status_of, values_of
from tests.mesh.programs import run

START_SECONDS = 20.0
RESTARTS = 3
CALLERS = 16

# What systemd does between fork and exec: the socket is descriptor 3, and the log goes to the journal.
ACTIVATED = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
log = os.fstat(2)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", JOURNAL_STREAM=f"{log.st_dev}:{log.st_ino}")
os.execv(sys.executable, [sys.executable, "-m", "biandou", *sys.argv[2:]])
"""


class Systemd:
    """Runs one service of `Type=notify`, with a listening socket that outlives it."""

    def __init__(self, file: Path, listener: socket.socket, folder: Path, command: str = "linker") -> None:
        self.told: list[str] = []
        self.journal: list[str] = []
        self._file = file
        self._listener = listener
        self._command = command
        self._address = folder / "notify"
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._channel.setblocking(False)
        self._channel.bind(str(self._address))
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Systemd:
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._channel.close()

    async def start(self) -> None:
        """Start the service and wait until it says that it is ready."""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "NOTIFY_SOCKET": str(self._address),
        }
        fd = self._listener.fileno()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", ACTIVATED, str(fd), self._command, str(self._file)),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            pass_fds=[fd],
        )
        self._reading = asyncio.create_task(self._read(self._process))
        await self.hear("READY=1")

    async def hear(self, state: str) -> None:
        """Wait until the service tells this."""
        async with asyncio.timeout(START_SECONDS):
            while not self.told or state not in self.told[-1].splitlines():
                self.told.append((await asyncio.get_running_loop().sock_recv(self._channel, 4096)).decode())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the service."""
        assert self._process is not None
        self._process.send_signal(number)

    async def stop(self) -> int:
        """End the service as `systemctl stop` does, and give its exit status."""
        assert self._process is not None
        self.signal(signal.SIGTERM)
        await self.hear("STOPPING=1")
        async with asyncio.timeout(START_SECONDS):
            status = await self._process.wait()
            await self._reading
        return status

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while line := await process.stderr.readline():
            self.journal.append(line.decode().rstrip("\n"))


@contextlib.asynccontextmanager
async def service(folder: Path) -> AsyncIterator[tuple[Systemd, int]]:
    """Give a systemd with a linker that it has not started yet, and the port that is listened on."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        port = int(listener.getsockname()[1])
        async with Origin(OK) as origin:
            file = folder / "linkerd.yaml"
            file.write_text(
                "admin: {port: 0}\nrouters:\n- protocol: http\n  servers: [{port: %d}]\n"  # noqa: UP031 - the text has braces
                "  dtab: /svc => /$/inet/127.0.0.1/%d ;\n" % (port, origin.port)
            )
            async with Systemd(file, listener, folder) as systemd:
                yield systemd, port


async def keep_asking(port: int, enough: asyncio.Event) -> tuple[int, list[str]]:
    """Ask on one connection after the other; gives how many were answered, and what went wrong.

    A connection ends when an answer says so, as for every client (RFC 9112 §9.6): whatever else ends it is a failure.
    """
    answered, failed = 0, list[str]()
    while not enough.is_set():
        async with Caller(port) as caller:
            while not enough.is_set():
                try:
                    answer = await caller.ask(get("web"))
                except (OSError, asyncio.IncompleteReadError) as error:
                    failed.append(repr(error))
                    break
                if not answer or status_of(answer) != 200:
                    failed.append(repr(answer))
                    break
                answered += 1
                if values_of(answer, "Connection") == ["close"]:
                    break
    return answered, failed


async def test_a_restart_under_load_fails_no_request_of_clients_that_keep_their_connections(tmp_path: Path) -> None:
    async with service(tmp_path) as (systemd, port):
        await systemd.start()
        enough = asyncio.Event()
        callers = [asyncio.create_task(keep_asking(port, enough)) for _ in range(CALLERS)]
        for _ in range(RESTARTS):
            await asyncio.sleep(0.5)
            assert await systemd.stop() == 0
            await systemd.start()
        await asyncio.sleep(0.5)
        enough.set()
        results = await asyncio.gather(*callers)
        assert [failure for _, failed in results for failure in failed] == []
        assert sum(answered for answered, _ in results) > 1000
        assert await systemd.stop() == 0
        assert [told for told in systemd.told if "STATUS" not in told] == ["READY=1", "STOPPING=1"] * (RESTARTS + 1)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
async def test_a_restart_under_load_is_not_seen_by_wrk(tmp_path: Path) -> None:
    async with service(tmp_path) as (systemd, port):
        await systemd.start()
        load = asyncio.create_task(
            run("wrk", "-t1", "-c32", "-d4s", "--timeout", "10s", "-H", "Host: web", f"http://127.0.0.1:{port}/")
        )
        await asyncio.sleep(1)
        assert await systemd.stop() == 0
        await systemd.start()
        ran = await load
        said = ran.output.decode()
        assert ran.status == 0
        # It counts connections that can't be made, or end before the answer, and every other status.
        assert "errors" not in said, said
        assert "Non-2xx" not in said, said
        found = re.search(r"(\d+) requests in", said)
        assert found is not None, said
        assert int(found[1]) > 1000
        assert await systemd.stop() == 0


async def test_the_journal_gets_priorities_and_no_time_and_systemd_hears_of_a_reload(tmp_path: Path) -> None:
    async with service(tmp_path) as (systemd, _):
        await systemd.start()
        systemd.signal(signal.SIGHUP)
        await systemd.hear("RELOADING=1")
        await systemd.hear("READY=1")
        assert await systemd.stop() == 0
        assert "<6>initialized" in systemd.journal
        assert [line for line in systemd.journal if not re.match(r"<[3467]>[^<]", line)] == []
        assert [line for line in systemd.journal if "UTC" in line] == []
        first = next(line for line in systemd.told if line.startswith("RELOADING=1"))
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", first)


async def test_namerd_tells_systemd_too(tmp_path: Path) -> None:
    file = tmp_path / "namerd.yaml"
    file.write_text(
        f"admin: {{port: 0}}\nstorage: {{kind: io.biandou.sqlite, path: {tmp_path}/namerd.db}}\n"
        "interfaces: [{kind: io.l5d.httpController, port: 0}]\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as unused:
        async with Systemd(file, unused, tmp_path, "namerd") as systemd:
            await systemd.start()
            assert await systemd.stop() == 0
            assert systemd.told == ["READY=1", "STOPPING=1"]
            assert "<6>initialized" in systemd.journal
