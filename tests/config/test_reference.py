"""Configurations that Linkerd's users have (reference/naming.md §9) are taken, or refused by what they lack."""

from __future__ import annotations

from pathlib import Path as FilePath

import pytest

from biandou.config.linker import parse
from biandou.errors import ConfigError

GOOD = {
    "static": """
routers:
- protocol: http
  dtab: /svc/* => /$/inet/localhost/8080 ;
  servers:
  - port: 4140
""",
    "files": """
admin:
  port: 9990
namers:
- kind: io.l5d.fs
  rootDir: ROOT
routers:
- protocol: http
  dtab: |
    /svc => /#/io.l5d.fs;
  httpAccessLogAppend: true
  label: int
  servers:
  - port: 4140
    ip: 0.0.0.0
""",
    "linker to linker, per host": """
namers: [{kind: io.l5d.fs, rootDir: ROOT}]
routers:
- protocol: http
  label: outgoing
  originator: true
  dtab: /svc => /#/io.l5d.fs ;
  interpreter:
    kind: default
    transformers:
    - {kind: io.l5d.port, port: 4141}
  servers: [{port: 4140, ip: 0.0.0.0}]
- protocol: http
  label: incoming
  dtab: /svc => /#/io.l5d.fs ;
  interpreter:
    kind: default
    transformers:
    - kind: io.l5d.localhost
  servers: [{port: 4141, ip: 0.0.0.0}]
""",
    "hosts rewritten": """
namers:
- kind: io.l5d.fs
  rootDir: ROOT
- kind: io.l5d.rewrite
  prefix: /portNsSvcToK8s
  pattern: "/{port}/{ns}/{svc}"
  name: "/k8s/{ns}/{port}/{svc}"
routers:
- protocol: http
  identifier:
    kind: io.l5d.header.token
    header: Host
  dtab: |
    /k8s      => /#/io.l5d.fs ;              # /k8s/default/http/foo
    /portNsSvc => /#/portNsSvcToK8s ;        # /portNsSvc/http/default/foo
    /host     => /portNsSvc/http/default ;
    /host     => /portNsSvc/http ;
    /svc      => /$/io.buoyant.http.domainToPathPfx/host ;
  servers: [{port: 4140}]
""",
    "edge": """
routers:
- protocol: http
  identifier: {kind: io.l5d.path, segments: 1, consume: true}
  dtab: /svc => /$/io.buoyant.porthostPfx/ph ; /ph => /$/io.buoyant.rinet
  servers:
  - {port: 80, ip: 0.0.0.0, clearContext: true, maxConcurrentRequests: 100}
""",
    "policies by prefix": """
routers:
- protocol: http
  servers: [{port: 4140}]
  service:
    kind: io.l5d.static
    configs:
    - prefix: /svc/foo
      totalTimeoutMs: 500
  client:
    kind: io.l5d.static
    configs:
    - prefix: /
      loadBalancer: {kind: ewma}
      failureAccrual:
        kind: io.l5d.consecutiveFailures
        failures: 10
        backoff: {kind: jittered, minMs: 5000, maxMs: 300000}
    - prefix: "/#/io.l5d.fs/{service}"
      hostConnectionPool: {minSize: 0, maxSize: 1000, idleTimeMs: 10000, maxWaiters: 5000}
""",
}

GOOD["Marathon"] = """
namers: [{kind: io.l5d.marathon, host: marathon.mesos}]
routers: [{protocol: http, servers: [{}]}]
"""

GOOD["Consul"] = """
namers:
- kind: io.l5d.consul
  host: 127.0.0.1
  port: 8500
  includeTag: true
  useHealthCheck: true
  healthStatuses: [passing, warning]
  token: 8d1b2a6e-0000-0000-0000-000000000000
  setHost: true
  consistencyMode: stale
  failFast: true
  preferServiceAddress: false
  weights: [{tag: primary, weight: 100}]
  fixedLengthStreamedAfterKB: 5120
  tls: {commonName: consul.io, trustCerts: [ROOT/ca.pem]}
  transferMetadata: true
routers:
- protocol: http
  dtab: /svc => /#/io.l5d.consul/.local
  servers: [{}]
"""

LACKING = {
    "namerd": (
        "routers: [{protocol: http, servers: [{}], interpreter: {kind: io.l5d.namerd, dst: /$/inet/namerd/4100}}]",
        ["f:1:63: routers[0].interpreter.kind: `io.l5d.namerd` is known but not built yet"],
    ),
    "a mesh of several protocols": (
        """
routers:
- {protocol: h2, experimental: true, servers: [{port: 4142}]}
- {protocol: thrift, servers: [{port: 4114}], thriftProtocol: compact}
- {protocol: mux, servers: [{}]}
telemetry: [{kind: io.l5d.recentRequests, sampleRate: 0.25}]
""",
        [
            "f:3:14: routers[0].protocol: `h2` is known but not built yet",
            "f:4:14: routers[1].protocol: `thrift` is known but not built yet",
            "f:5:14: routers[2].protocol: `mux` is known but not built yet",
            "f:6:20: telemetry[0].kind: `io.l5d.recentRequests` is known but not built yet",
        ],
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_common_configuration_is_taken(name: str, tmp_path: FilePath) -> None:
    assert parse(GOOD[name].replace("ROOT", str(tmp_path))).routers


@pytest.mark.parametrize("name", LACKING)
def test_what_a_common_configuration_lacks_is_named(name: str) -> None:
    text, expected = LACKING[name]
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    assert [str(problem) for problem in caught.value.problems] == expected
