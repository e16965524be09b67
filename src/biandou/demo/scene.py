"""What the demonstration writes to its directory: who runs where, the first dtab, and how the programs are set up."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

NAMERD: Final = """\
# The control plane: keeps the dtab, and knows where the services are.
admin:
  ip: 127.0.0.1
  port: 0
storage:
  kind: io.biandou.sqlite
  path: {directory}/namerd.db
namers:
- kind: io.l5d.fs
  rootDir: {directory}/discovery
interfaces:
- kind: io.l5d.httpController
  ip: 127.0.0.1
  port: 0
"""

OUTGOING: Final = """\
# The outgoing linker: services on this host send all their requests to it.
admin:
  ip: 127.0.0.1
  port: 0
routers:
- protocol: http
  label: outgoing
  interpreter:
    kind: io.l5d.namerd.http   # namerd binds, and a change of its dtab is in force at once
    dst: /$/inet/127.0.0.1/{namerd_port}
    transformers:
    - kind: io.l5d.port        # not to the service itself, but to the linker on its host
      port: {incoming_port}
  service:
    responseClassifier:        # what fails on the server is asked again: of another version, perhaps
      kind: io.l5d.http.retryableRead5XX
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
/svc/web => /#/io.l5d.fs/web-v1 ;
"""


class Scene:
    """The demonstration's directory; removed by `remove`."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="biandou-demo-")
        self.directory = Path(self._temporary.name)
        (self.directory / "discovery").mkdir()

    def discover(self, name: str, instances: Iterable[tuple[str, int]]) -> None:
        """Say where a service's instances are: at these addresses and ports."""
        lines = "".join(f"{ip} {port}\n" for ip, port in instances)
        self._write(self.directory / "discovery" / name, lines)

    def configure(self, name: str, template: str, incoming_port: int = 0, namerd_port: int = 0) -> Path:
        """Write a program's configuration and give its place."""
        text = template.format(directory=self.directory, incoming_port=incoming_port, namerd_port=namerd_port)
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
