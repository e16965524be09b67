"""A real nginx that reads the requests of all cases and logs how it has read them."""

from __future__ import annotations

import asyncio
import shutil
import socket
from pathlib import Path
from types import TracebackType
from typing import Final, Self

START_SECONDS: Final = 10.0


def program() -> str | None:
    """Find nginx; Debian keeps it out of users' paths."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def nginx_is_missing() -> bool:
    """Whether there is no nginx to be run."""
    return program() is None


class Nginx:
    """Answers everything while the context is open, and logs a line for each request: host, method, target."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = int(listener.getsockname()[1])

    async def __aenter__(self) -> Self:
        temps = "".join(f"  {name}_temp_path temp;\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self._directory / "nginx.conf").write_text(f"""\
user root;
worker_processes 1;
daemon off;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 1024; }}
http {{
{temps}  log_format read "$host $request_method $request_uri";
  access_log access.log read;
  server {{
    listen 127.0.0.1:{self.port};
    location / {{ return 200 "$request_method $request_uri 0"; }}
  }}
}}
""")
        found = program()
        assert found is not None
        self._process = await asyncio.create_subprocess_exec(
            found, "-p", str(self._directory), "-c", "nginx.conf", "-e", "error.log", stdin=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.01)
                else:
                    writer.close()
                    return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        await self._process.wait()

    def requests(self, host: str) -> list[str]:
        """Give the requests for a host, `method target` each, in their order."""
        lines = (self._directory / "access.log").read_text(errors="replace").splitlines()
        return [line.removeprefix(f"{host} ") for line in lines if line.startswith(f"{host} ")]
