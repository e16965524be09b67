"""namerd's configuration: every key of the reference is taken, and each mistake is told with its place."""

from __future__ import annotations

from pathlib import Path as FilePath

import pytest

from biandou import standard
from biandou.config.namerd import WITHOUT_FILE, HttpController, MeshInterface, NamerdAdmin, parse
from biandou.errors import ConfigError
from biandou.namers.fs import FsNamerKind
from biandou.stores.in_memory import InMemoryStoreKind
from biandou.stores.sqlite import SqliteStoreKind

HEAD = "storage: {kind: io.l5d.inMemory}\n"
HTTP = HEAD + "interfaces: [{kind: io.l5d.httpController}]\n"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "n.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_every_key_of_the_reference_is_taken(tmp_path: FilePath) -> None:
    config = parse(
        f"""
admin:
  ip: 127.0.0.2
  port: 9992
  shutdownGraceMs: 5000
  workerThreads: 4
  security:
    uiEnabled: true
    controlEnabled: false
    diagnosticsEnabled: true
    pathWhitelist: [/a]
    pathBlacklist: [/b]
storage:
  kind: io.l5d.inMemory
  namespaces:
    default: |
      /svc => /#/io.l5d.fs ;
namers:
- kind: io.l5d.fs
  rootDir: {tmp_path}
- kind: io.l5d.fs
  prefix: /other
  rootDir: {tmp_path}
interfaces:
- kind: io.l5d.httpController
  ip: 127.0.0.3
  port: 0
  socketOptions: {{noDelay: true, reusePort: true, keepAlive: true, backlog: 64}}
  tls: {{certPath: c.pem, keyPath: k.pem, caCertPath: ca.pem, requireClientAuth: true, protocols: [TLSv1.3]}}
  tokens: [{{name: ann, token: secret}}, {{name: bob, token: other, readOnly: true}}]
telemetry:
- kind: io.l5d.prometheus
"""
    )
    assert config.admin.port == 9992
    assert config.storage == InMemoryStoreKind(namespaces={"default": "/svc => /#/io.l5d.fs ;\n"})
    assert [type(namer) for namer in config.namers] == [FsNamerKind, FsNamerKind]
    (http,) = config.interfaces
    assert isinstance(http, HttpController)
    assert (http.ip, http.port, http.tokens[1].read_only) == ("127.0.0.3", 0, True)
    assert "secret" not in str(config.written)


def test_defaults_are_those_of_the_reference_but_for_the_store() -> None:
    config = parse(WITHOUT_FILE)
    assert config.admin == NamerdAdmin(ip="127.0.0.1", port=9991, shutdown_grace_ms=10_000)
    assert config.storage == SqliteStoreKind(path=None)
    assert config.interfaces == (
        HttpController(ip="127.0.0.1", port=4180),
        MeshInterface(ip="127.0.0.1", port=4321),
    )


BAD = [
    ("interfaces: []\n" + HEAD, ["n.yaml:1:13: interfaces: One or more interfaces must be specified."]),
    (HEAD, ["n.yaml:1:1: interfaces: One or more interfaces must be specified."]),
    (
        "interfaces: [{kind: io.l5d.httpController}]",
        ["n.yaml:1:1: storage: missing: 'storage' must be specified"],
    ),
    (
        HEAD + "interfaces: [{kind: io.l5d.thriftNameInterpreter}]",
        ["n.yaml:2:21: interfaces[0].kind: `io.l5d.thriftNameInterpreter` is known but not built yet"],
    ),
    (
        HEAD + "interfaces: [{kind: io.l5d.mesh, h2AccessLogRollPolicy: x}]",
        [
            "n.yaml:2:57: interfaces[0].h2AccessLogRollPolicy: `x` is no roll policy; expected `never`, "
            "`hourly`, `daily`, `sighup`, `weekly(1)` to `weekly(7)`, or a size such as `3.megabytes`",
        ],
    ),
    (
        HEAD + "interfaces: [{kind: io.l5d.mesh, socketOptions: {backlog: 9, noDelay: false}}]",
        [
            "n.yaml:2:59: interfaces[0].socketOptions.backlog: `backlog` cannot be chosen for io.l5d.mesh",
            "n.yaml:2:71: interfaces[0].socketOptions.noDelay: `noDelay` cannot be chosen for io.l5d.mesh",
        ],
    ),
    (
        HEAD + "interfaces: [{kind: io.l5d.mesh, tls: {certPath: a, keyPath: b, protocols: [TLSv1.2]}}]",
        ["n.yaml:2:76: interfaces[0].tls.protocols: `protocols` cannot be chosen for io.l5d.mesh"],
    ),
    (
        "storage: {kind: io.l5d.k8s, host: 'a/b'}\ninterfaces: [{kind: io.l5d.httpController, prot: 4180}]",
        [
            "n.yaml:1:35: storage.host: host is a host name or an address",
            "n.yaml:2:44: interfaces[0].prot: unknown key; did you mean `port`? allowed: kind, ip, port, "
            "socketOptions, tls, tokens",
        ],
    ),
    (
        "storage: {kind: io.l5d.inmemory}\ninterfaces: [{kind: io.l5d.httpController}]",
        [
            "n.yaml:1:17: storage.kind: unknown kind `io.l5d.inmemory`; did you mean `io.l5d.inMemory`? allowed: "
            + ", ".join(standard.STORES.names)
        ],
    ),
    (
        "storage: {kind: io.l5d.inMemory, namespaces: {web: /svc = /x}}\ninterfaces: [{kind: io.l5d.httpController}]",
        ["n.yaml:1:46: storage.namespaces: the dtab of web: '>' expected but ' ' found at '/svc =[ ]/x'"],
    ),
    (
        "storage: {kind: io.l5d.etcd}\ninterfaces: [{kind: io.l5d.httpController}]",
        [
            "n.yaml:1:10: storage.experimental: The io.l5d.etcd storage is experimental and must be explicitly enabled "
            "by setting the `experimental' parameter to `true'."
        ],
    ),
    (
        "storage: {kind: io.l5d.zk, zkAddrs: [{host: a, port: 1}, {host: b}], "
        "acls: [{scheme: s, id: i, perms: rr}, {scheme: s, id: i, perms: r}]}\n"
        "interfaces: [{kind: io.l5d.httpController}]",
        [
            "n.yaml:1:58: storage.zkAddrs[1].port: missing: 'port' must be specified",
            "n.yaml:1:77: storage.acls[0]: perms are some of crwda, each once, and rr is not",
        ],
    ),
    (
        HTTP + "namers: [{kind: io.l5d.fs, rootDir: .}, {kind: io.l5d.fs, rootDir: ., prefix: /io.l5d.fs/x}]",
        [
            "n.yaml:3:79: namers[1].prefix: Namers must not have overlapping prefixes: /io.l5d.fs and /io.l5d.fs/x",
        ],
    ),
    (
        HTTP + "namers: [{kind: io.l5d.fs, rootDir: ., prefix: /}]",
        ["n.yaml:3:48: namers[0].prefix: Namers must not have an empty prefix"],
    ),
    (
        HTTP + "admin: {port: 4180}",
        ["n.yaml:2:14: interfaces[0].port: Server conflict on port 4180"],
    ),
    (
        HEAD + "interfaces: [{kind: io.l5d.httpController, tokens: [{name: a}]}]",
        ["n.yaml:2:60: interfaces[0].tokens[0].name: one of token and tokenFile is needed"],
    ),
    (
        HEAD + "interfaces: [{kind: io.l5d.httpController, tokens: [{name: a, tokenFile: /none}]}]",
        ["n.yaml:2:74: interfaces[0].tokens[0].tokenFile: /none: No such file or directory"],
    ),
    (
        HEAD + "interfaces: [{kind: io.l5d.httpController, socketOptions: {readTimeoutMs: 5}}]",
        ["n.yaml:2:75: interfaces[0].socketOptions.readTimeoutMs: `readTimeoutMs` is known but not built yet"],
    ),
    (
        HEAD + "interfaces: [{kind: io.l5d.httpController, retryBaseSecs: 5}]",
        [
            "n.yaml:2:44: interfaces[0].retryBaseSecs: unknown key; allowed: kind, ip, port, "
            "socketOptions, tls, tokens",
        ],
    ),
    (
        HTTP + "routers: []",
        ["n.yaml:3:1: routers: unknown key; allowed: storage, interfaces, namers, telemetry, admin, stateFile"],
    ),
]


@pytest.mark.parametrize(("text", "expected"), BAD)
def test_a_mistake_is_told_with_its_place(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_a_token_may_be_in_a_file(tmp_path: FilePath) -> None:
    (tmp_path / "token").write_text("from-file\n")
    text = HEAD + f"interfaces: [{{kind: io.l5d.httpController, tokens: [{{name: a, tokenFile: {tmp_path}/token}}]}}]"
    (http,) = parse(text).interfaces
    assert isinstance(http, HttpController)
    assert http.tokens[0].secret() == "from-file"
