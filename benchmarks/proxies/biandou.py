"""Biandou itself: the real program, one worker, names from files."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.children import MissingProgramError
from benchmarks.proxies.base import Proxy


def binary() -> str:
    """Find `biandou` beside the interpreter that runs us; raises `MissingProgramError` if it isn't there."""
    found = Path(sys.executable).parent / "biandou"
    if not found.exists():
        raise MissingProgramError("Biandou is not built (make build)")
    return str(found)


def linker_command(configuration: Path) -> list[str]:
    """Give the command that runs a linker with one worker."""
    return [binary(), "linker", "--workers", "1", str(configuration)]


def prepare(directory: Path, port: int, upstream: int, *, admin: int = 0) -> list[str]:
    """Write a linker's configuration and its one discovered service; the admin server takes any free port."""
    disco = directory / "disco"
    disco.mkdir(exist_ok=True)
    (disco / "web").write_text(f"127.0.0.1 {upstream}\n")
    file = directory / "linker.yaml"
    file.write_text(f"""\
admin:
  ip: 127.0.0.1
  port: {admin}
namers:
- kind: io.l5d.fs
  rootDir: {disco}
routers:
- protocol: http
  dtab: /svc => /#/io.l5d.fs;
  servers:
  - ip: 127.0.0.1
    port: {port}
""")
    return linker_command(file)


BIANDOU = Proxy("biandou", "Biandou", prepare, lambda: [binary(), "--version"])
