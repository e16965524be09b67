"""The linker of every host of `biandou demo --hosts`: the example linker-to-linker."""

from __future__ import annotations

from typing import Final

OUTGOING_PORT: Final = 4140
ADMIN_PORT: Final = 9990

LINKER: Final = """\
# Linker to linker, the same file on every host: services call the linker of their own host, `outgoing`, which finds the
# host that the callee runs on and calls the linker there, `incoming`.
admin:
  ip: 127.0.0.1
  port: 9990
namers:
- kind: io.l5d.fs
  rootDir: {directory}/discovery
routers:
- protocol: http
  label: outgoing
  dtab: |
    /svc => /#/io.l5d.fs ;
  interpreter:
    kind: default
    transformers:
    - kind: io.l5d.port          # the instance's host, but the port of the linker there
      port: 4141
  service:
    responseClassifier:          # what one host can't answer another is asked
      kind: io.l5d.http.retryableRead5XX
  originator: true
  servers:
  - ip: 127.0.0.1
    port: 4140
- protocol: http
  label: incoming
  dtab: |
    /svc => /#/io.l5d.fs ;
  interpreter:
    kind: default
    transformers:
    - kind: io.l5d.localhost     # of the instances, those on this host
  servers:
  - ip: 0.0.0.0
    port: 4141
"""
