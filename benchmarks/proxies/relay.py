"""The floor: nginx `stream` copies bytes between two sockets and knows nothing of HTTP."""

from __future__ import annotations

from pathlib import Path

from benchmarks.children import MissingProgramError
from benchmarks.proxies.base import Proxy, program
from benchmarks.proxies.nginx import COMMON, nginx_command

MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


def prepare(directory: Path, port: int, upstream: int) -> list[str]:
    """Write the configuration; Debian ships the relay as a module of its own."""
    if not MODULE.exists():
        raise MissingProgramError("nginx's stream module is not installed (apt-get install libnginx-mod-stream)")
    return nginx_command(
        directory,
        f"""load_module {MODULE};
{COMMON}
stream {{
  server {{
    listen 127.0.0.1:{port};
    proxy_pass 127.0.0.1:{upstream};
  }}
}}
""",
    )


RELAY = Proxy("relay", "TCP relay (nginx stream)", prepare, lambda: [program("nginx", "nginx"), "-v"])
