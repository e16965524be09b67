"""A real ZooKeeper on loopback, a process with a directory of its own."""

from __future__ import annotations

import glob
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

JARS = ":".join(sorted(glob.glob("/usr/share/java/*.jar")))
INSTALLED = shutil.which("java") is not None and Path("/usr/share/java/zookeeper.jar").exists()
START_SECONDS = 40.0


@dataclass
class ZooKeeper:
    """One server."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it, the first time or again, and wait until it answers; raises `TimeoutError`."""
        (self.directory / "zoo.cfg").write_text(
            f"tickTime=200\ndataDir={self.directory}/data\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
            "admin.enableServer=false\n4lw.commands.whitelist=ruok\nmaxClientCnxns=0\n"
        )
        main = "org.apache.zookeeper.server.ZooKeeperServerMain"
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["java", "-Xmx128m", "-cp", JARS, main, str(self.directory / "zoo.cfg")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                    connection.sendall(b"ruok")
                    if connection.recv(4) == b"imok":
                        return
            except OSError:
                # Not yet.
                pass
            time.sleep(0.1)
        raise TimeoutError((self.directory / "log").read_text()[-2000:])

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
