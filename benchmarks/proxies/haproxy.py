"""HAProxy with one thread."""

from __future__ import annotations

from pathlib import Path

from benchmarks.proxies.base import HEADERS, Proxy, program


def prepare(directory: Path, port: int, upstream: int) -> list[str]:
    """Write the configuration; any request may use any kept connection to the upstream."""
    headers = "\n".join(f'  http-request set-header {name} "{_quoted(value)}"' for name, value in HEADERS.items())
    (directory / "haproxy.cfg").write_text(f"""\
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
frontend incoming
  bind 127.0.0.1:{port}
{headers}
  default_backend backend
backend backend
  server one 127.0.0.1:{upstream} pool-max-conn 64
""")
    return [program("haproxy", "haproxy"), "-db", "-f", str(directory / "haproxy.cfg")]


def _quoted(value: str) -> str:
    return value.replace("%", "%%").replace("#", "\\#")


HAPROXY = Proxy("haproxy", "HAProxy", prepare, lambda: [program("haproxy", "haproxy"), "-v"])
