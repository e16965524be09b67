"""What the demonstration writes to its directory: who runs where, what names mean, and how the linkers are set up."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

OUTGOING: Final = """\
# The outgoing linker: services on this host send all their requests to it.
admin:
  ip: 127.0.0.1
  port: 0
namers:
- kind: io.l5d.fs
  rootDir: {directory}/discovery
routers:
- protocol: http
  label: outgoing
  interpreter:
    kind: io.l5d.fs            # the dtab is a file, and a change of it is in force at once
    dtabFile: {directory}/dtab
    transformers:
    - kind: io.l5d.port        # not to the service itself, but to the linker on its host
      port: {incoming_port}
  servers:
  - ip: 127.0.0.1
    port: 0
"""

INCOMING: Final = """\
# The incoming linker: requests for the services of this host come to it.
admin:
  ip: 127.0.0.1
  port: 0
namers:
- kind: io.l5d.fs
  rootDir: {directory}/discovery
routers:
- protocol: http
  label: incoming
  # The outgoing linker says which client name it chose; this one balances over that name's endpoints.
  identifier:
    kind: io.l5d.header
    header: l5d-dst-client
  dtab: |
    /svc/%/io.l5d.port/*/# => /# ;
  servers:
  - ip: 127.0.0.1
    port: 0
"""

DTAB: Final = """\
/svc     => /#/io.l5d.fs ;
/svc/web => {web} ;
"""


def web_tree(v1: int, v2: int) -> str:
    """Give the name tree that shares the requests for `web` between its versions by these weights."""
    if v2 == 0:
        return "/#/io.l5d.fs/web-v1"
    if v1 == 0:
        return "/#/io.l5d.fs/web-v2"
    return f"{v1} * /#/io.l5d.fs/web-v1 & {v2} * /#/io.l5d.fs/web-v2"


class Scene:
    """The demonstration's directory; removed by `remove`."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="biandou-demo-")
        self.directory = Path(self._temporary.name)
        self.dtab_file = self.directory / "dtab"
        (self.directory / "discovery").mkdir()

    def share(self, v1: int, v2: int) -> None:
        """Edit the dtab: requests for `web` are shared by these weights."""
        self._write(self.dtab_file, DTAB.format(web=web_tree(v1, v2)))

    @property
    def dtab(self) -> list[str]:
        """The dtab's lines as they are now: the user may have edited them."""
        try:
            return [line.strip() for line in self.dtab_file.read_text(errors="replace").splitlines() if line.strip()]
        except OSError:
            return []

    def discover(self, name: str, ports: list[int]) -> None:
        """Say where a service's instances are."""
        lines = "".join(f"127.0.0.1 {port}\n" for port in ports)
        self._write(self.directory / "discovery" / name, lines)

    def configure(self, name: str, template: str, incoming_port: int = 0) -> Path:
        """Write a linker's configuration and give its place."""
        text = template.format(directory=self.directory, incoming_port=incoming_port)
        return self._write(self.directory / name, text)

    def remove(self) -> None:
        """Delete the directory."""
        self._temporary.cleanup()

    def _write(self, file: Path, text: str) -> Path:
        # Written beside and renamed: whoever watches sees the old text or the new one, never half of it.
        beside = file.with_name(f".{file.name}.new")
        beside.write_text(text)
        os.replace(beside, file)
        return file
