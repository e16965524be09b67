"""Real etcd members on loopback, each a process with a directory of its own."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 30.0


def free_ports(count: int) -> list[int]:
    """Give ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [made.getsockname()[1] for made in sockets]
    for made in sockets:
        made.close()
    return ports


@dataclass
class Member:
    """One etcd."""

    name: str
    client: int
    peer: int
    directory: Path
    process: subprocess.Popen[bytes] | None = None
    version_2: bool = False

    def start(self, members: Sequence[Member]) -> None:
        """Start it as one of `members`; the first time or again."""
        own, peer = f"http://127.0.0.1:{self.client}", f"http://127.0.0.1:{self.peer}"
        flags = {
            "name": self.name,
            "data-dir": str(self.directory / self.name),
            "listen-client-urls": own,
            "advertise-client-urls": own,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": ",".join(f"{member.name}=http://127.0.0.1:{member.peer}" for member in members),
            "heartbeat-interval": "50",
            "election-timeout": "500",
            "log-level": "error",
            **({"enable-v2": "true"} if self.version_2 else {}),
        }
        self.process = subprocess.Popen(
            ["etcd", *(f"--{flag}={value}" for flag, value in flags.items())],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def healthy(self) -> None:
        """Wait until it answers with a leader; raises `TimeoutError`."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.client}/health", timeout=5) as answer:
                    if b'"true"' in answer.read():
                        return
            except (urllib.error.URLError, OSError):
                # Not yet.
                pass
            time.sleep(0.05)
        raise TimeoutError(f"etcd {self.name} does not become healthy")


def start(count: int, directory: Path) -> list[Member]:
    """Start members that are one store."""
    ports = free_ports(2 * count)
    members = [Member(f"m{index}", ports[2 * index], ports[2 * index + 1], directory) for index in range(count)]
    for member in members:
        member.start(members)
    for member in members:
        member.healthy()
    return members
