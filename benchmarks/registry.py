"""A registry that answers like Consul's catalogue, and fast: `python -m benchmarks.registry NAMES`.

Two services, which answer `a` and `b`, run beside it. Prints their ports and its own. It knows `n0`, `n1` and so on, so
many NAMES, all with the first service. For each line `NAME PORT COUNT` that it reads, the name has COUNT instances, of
which one has the PORT; when whoever waits for a change of the name has been told, and when they have asked again, it
prints the times of both (seconds since 1970).
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import sys
import time

_ASKED = re.compile(rb"GET /v1/catalog/service/([^?]+)\?(\S*)")
_INDEX = re.compile(rb"(?:^|&)index=(\d+)")


def instance(name: str, address: str, port: int) -> bytes:
    """Give an instance as the catalogue describes it."""
    return json.dumps(
        {
            "ID": "40e4a748-2192-161a-0510-9bf59fe950b5", "Node": f"node-{address}", "Address": address,
            "Datacenter": "dc1", "TaggedAddresses": {"lan": address, "wan": address}, "NodeMeta": {"rack": "r7"},
            "ServiceKind": "", "ServiceID": f"{name}-{address}", "ServiceName": name, "ServiceTags": ["v1", "http"],
            "ServiceAddress": address, "ServiceWeights": {"Passing": 1, "Warning": 1},
            "ServiceMeta": {"version": "1.2.3"}, "ServicePort": port,
            "ServiceEnableTagOverride": False, "CreateIndex": 12, "ModifyIndex": 12,
        }
    ).encode()  # fmt: skip


class Catalogue:
    """What is known of each name, and who waits for a change of it."""

    def __init__(self, names: int, port: int) -> None:
        self.index = 10
        self.known: dict[str, tuple[int, bytes]] = {}
        self.waiting: dict[str, list[tuple[int, Answering]]] = {}
        self.told: dict[str, float] = {}
        self._others: dict[tuple[str, int], bytes] = {}
        for number in range(names):
            self.known[f"n{number}"] = 10, b"[" + instance(f"n{number}", "127.0.0.1", port) + b"]"

    def change(self, name: str, port: int, count: int) -> None:
        """Change a name, and tell who waits."""
        self.index += 1
        others = self._others.get((name, count))
        if others is None:
            addresses = [f"127.1.{number // 250}.{1 + number % 250}" for number in range(count - 1)]
            others = b"".join(b"," + instance(name, address, 8080) for address in addresses)
            self._others[name, count] = others
        self.known[name] = self.index, b"[" + instance(name, "127.0.0.1", port) + others + b"]"
        waiting = self.waiting.pop(name, [])
        for _, connection in waiting:
            connection.answer(name)
        self.told[name] = time.time()

    def asked(self, name: str, index: int, connection: Answering) -> None:
        """Answer at once, or when there is something newer than an index."""
        known = self.known.setdefault(name, (self.index, b"[]"))
        if index != known[0]:
            connection.answer(name)
            return
        self.waiting.setdefault(name, []).append((index, connection))
        if name in self.told:
            sys.stdout.write(f"{self.told.pop(name):.6f} {time.time():.6f}\n")
            sys.stdout.flush()


class Answering(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._transport: asyncio.Transport | None = None
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Read a request."""
        self._rest += data
        if b"\r\n\r\n" not in self._rest:
            return
        head, self._rest = self._rest, b""
        found = _ASKED.match(head)
        assert found is not None, head
        index = _INDEX.search(found[2])
        self._catalogue.asked(found[1].decode(), 0 if index is None else int(index[1]), self)

    def answer(self, name: str) -> None:
        """Say what is known."""
        index, body = self._catalogue.known[name]
        head = f"HTTP/1.1 200 OK\r\nX-Consul-Index: {index}\r\nContent-Type: application/json\r\n"
        if self._transport is not None:
            self._transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


class Service(asyncio.Protocol):
    """Answers each request with a letter."""

    def __init__(self, letter: bytes) -> None:
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + letter
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer as many requests as end here: they have no bodies, and are small."""
        if self._transport is not None:
            self._transport.write(self._answer * data.count(b"\r\n\r\n"))


async def main(names: int) -> None:
    """Serve until the standard input ends."""
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda letter=letter: Service(letter), "127.0.0.1", 0)  # type: ignore[misc]
        for letter in (b"a", b"b")
    ]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    catalogue = Catalogue(names, ports[0])
    registry = await loop.create_server(lambda: Answering(catalogue), "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"{ports[0]} {ports[1]} {registry.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        name, port, count = line.split()
        catalogue.change(name, int(port), int(count))


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main(int(sys.argv[1])))
