"""Many linkers that follow names at a namerd, one connection each: `python -m benchmarks.followers PORT LINKERS NAMES`.

Prints `ready` when all know where all of their names are. Then, for each line `WHAT COUNT` that it reads, it prints the
time (seconds since 1970) at which `WHAT` had come so many times over all connections.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import sys
import time
from collections.abc import Callable

_VERSION = re.compile(rb'\{"version": "[^"]*"\}\n')


class Watcher:
    """Counts what comes on all connections."""

    def __init__(self) -> None:
        self._wanted = b""
        self._left = 0
        self._done: asyncio.Future[float] | None = None
        self.version = re.compile(rb"$^")

    def expect(self, wanted: bytes, count: int) -> asyncio.Future[float]:
        """Give when `wanted` will have come so many times."""
        self._wanted, self._left = wanted, count
        self._done = asyncio.get_running_loop().create_future()
        return self._done

    def look(self, line: bytes) -> None:
        """Look at a line that came."""
        if self._left > 0 and self._wanted in line:
            self._left -= 1
            if self._left == 0 and self._done is not None:
                self._done.set_result(time.time())


class Follower(asyncio.Protocol):
    """One linker: binds its names, follows where each is, and acknowledges versions, as a real one does."""

    def __init__(self, number: int, names: int, watcher: Watcher, ready: Callable[[], None]) -> None:
        self._number = number
        self._names = names
        self._watcher = watcher
        self._ready = ready
        self._rest = b""
        self._clients: set[bytes] = set()
        self._bound = self._known = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say all at once, as after a restart of namerd."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        head = (
            f"POST /api/1/follow/default?token={self._number:016x}&host=simulated&pid={self._number + 1} HTTP/1.1\r\n"
            "Host: namerd\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        transport.write(head.encode())
        self._say([{"id": number, "bind": f"/svc/n{number}"} for number in range(self._names)] + [{"ready": True}])

    def data_received(self, data: bytes) -> None:
        """Take in what came; the chunks' sizes are lines that hold no JSON."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        said: list[dict[str, object]] = []
        for line in lines:
            if not line.startswith(b"{"):
                continue
            self._watcher.look(line)
            if line.startswith(b'{"version"'):
                said.append({"inForce": json.loads(line)["version"]})
            elif self._bound < self._names and b'"bound":{"addr"' in line:
                self._bound += 1
                client = json.loads(line)["is"]["bound"]["id"]
                if client not in self._clients:
                    self._clients.add(client)
                    said.append({"id": self._names + len(self._clients), "addr": client})
            elif self._known < len(self._clients):
                self._known += 1
            if self._bound == self._names and self._known == len(self._clients):
                self._bound += 1
                self._ready()
        if said:
            self._say(said)

    def connection_lost(self, exc: Exception | None) -> None:
        """End everything: none may be missing."""
        sys.exit(f"the connection of linker {self._number} is lost: {exc}")

    def _say(self, said: list[dict[str, object]]) -> None:
        lines = b"".join(json.dumps(one).encode() + b"\n" for one in said)
        self._transport.write(b"%x\r\n%b\r\n" % (len(lines), lines))


async def main(port: int, linkers: int, names: int) -> None:
    """Connect, then count for whoever started us."""
    watcher = Watcher()
    left = linkers
    all_ready = asyncio.Event()

    def ready() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            all_ready.set()

    loop = asyncio.get_running_loop()
    for number in range(linkers):
        await loop.create_connection(
            lambda number=number: Follower(number, names, watcher, ready),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
    await all_ready.wait()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        wanted, count = line.rsplit(maxsplit=1)
        done = watcher.expect(wanted.encode(), int(count))
        sys.stdout.write("counting\n")
        sys.stdout.flush()
        sys.stdout.write(f"{await done:.6f}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main(*map(int, sys.argv[1:4])))
