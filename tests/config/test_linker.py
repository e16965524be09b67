"""Whole files: what is taken, and for each mistake exactly what is said about it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path as FilePath

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biandou.config.linker import LinkerConfig, load, parse
from biandou.errors import ConfigError

HEAD = "routers:\n- protocol: http\n  servers: [{port: 4140}]\n"
"""Three lines of a router; what a case adds to it begins in line 4, column 3."""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "l.yaml")
    return [str(problem) for problem in caught.value.problems]


def in_router(lines: str) -> str:
    return HEAD + textwrap.indent(textwrap.dedent(lines).strip(), "  ")


def in_server(lines: str) -> str:
    return "routers:\n- protocol: http\n  servers:\n  - port: 4140\n" + textwrap.indent(
        textwrap.dedent(lines).strip(), "    "
    )


def test_the_smallest_file_has_all_defaults() -> None:
    config = parse("routers: [{protocol: http, servers: [{}]}]")
    (router,) = config.routers
    (server,) = router.servers
    assert (router.name, str(router.dst_prefix), str(router.dtab)) == ("http", "/svc", "")
    assert (server.ip, server.port, server.max_call_depth, server.clear_context) == ("127.0.0.1", 4140, 1000, False)
    assert (router.binding_timeout_ms, router.max_headers_kb, router.max_initial_line_kb) == (10_000, 8, 4)
    assert (config.admin.ip, config.admin.port, config.admin.shutdown_grace_ms) == ("127.0.0.1", 9990, 10_000)
    assert msgspec.to_builtins(router.identifier) == ({"kind": "io.l5d.header.token", "header": "Host"},)


ALL_KEYS = """
admin:
  ip: 0.0.0.0
  port: 9991
  socketOptions: {}
  shutdownGraceMs: 5000
  workerThreads: 4
  security:
    uiEnabled: false
    controlEnabled: false
    diagnosticsEnabled: true
    pathWhitelist: ["^/admin/.*$"]
    pathBlacklist: [/config.json]
usage: {orgId: us, enabled: false}
telemetry: []
namers:
- kind: io.l5d.fs
  rootDir: ROOT
  prefix: /files
  experimental: true
  transformers:
  - {kind: io.l5d.port, port: 4141, prefix: /p}
  - kind: io.l5d.localhost
  - {kind: io.l5d.specificHost, host: 127.0.0.1}
  - {kind: io.l5d.replace, path: /$/inet/127.1/1}
  - {kind: io.l5d.const, path: /$/inet/127.1/1}
- {kind: io.l5d.rewrite, prefix: /r, pattern: "/{a}", name: "/x/{a}"}
routers:
- protocol: http
  label: all
  originator: true
  experimental: true
  dstPrefix: /http
  dtab: |
    # comment
    /http => /#/files ;
  identifier:
  - {kind: io.l5d.methodAndHost, httpUriInDst: true}
  - {kind: io.l5d.path, segments: 2, consume: true}
  - {kind: io.l5d.header, header: my-name}
  - {kind: io.l5d.header.token, header: my-host}
  - {kind: io.l5d.static, path: web}
  interpreter: {kind: default, transformers: [{kind: io.l5d.localhost}]}
  announcers: []
  bindingTimeoutMs: 5000
  bindingCache: {paths: 1, trees: 2, bounds: 3, clients: 4, idleTtlSecs: 5}
  httpAccessLogRollPolicy: never
  httpAccessLogAppend: true
  httpAccessLogRotateCount: -1
  streamAfterContentLengthKB: 5
  maxHeadersKB: 16
  maxInitialLineKB: 8
  maxErrResponseKB: 1
  streamingEnabled: true
  compressionLevel: 0
  tracePropagator: {kind: io.l5d.default}
  servers:
  - port: 8080
    ip: "::1"
    label: unused
    socketOptions:
      {noDelay: false, reuseAddr: true, reusePort: true, readTimeoutMs: 1, writeTimeoutMs: 2, keepAlive: true, backlog: 3}
    maxConcurrentRequests: 10
    announce: []
    clearContext: true
    timeoutMs: 4
    serverSession: {lifeTimeMs: 5, idleTimeMs: 6}
    timestampHeader: x-request-start
    maxCallDepth: 7
  service:
    kind: io.l5d.static
    configs:
    - prefix: /http/*/{name}
      totalTimeoutMs: 100
      retries: {budget: {minRetriesPerSec: 10, percentCanRetry: 0.2, ttlSecs: 10}, backoff: {kind: constant, ms: 0}}
      responseClassifier: {kind: io.l5d.http.nonRetryable5XX}
  client:
    kind: io.l5d.static
    configs:
    - prefix: /
      tls: {enabled: false}
      loadBalancer: {kind: ewma, maxEffort: 3, decayTimeMs: 5000, enableProbation: true}
      hostConnectionPool: {minSize: 1, maxSize: 2, idleTimeMs: 3, maxWaiters: 4}
      failFast: false
      failureAccrual: {kind: io.l5d.consecutiveFailures, failures: 3, backoff: {kind: jittered, minMs: 1, maxMs: 2}}
      requestAttemptTimeoutMs: 5
      requeueBudget: {}
      clientSession: {lifeTimeMs: 1, idleTimeMs: 2}
      socketOptions: {keepAlive: false}
      forwardClientCert: false
      requestAuthorizers: []
      connectTimeoutMs: 200
    - {prefix: /#/a, loadBalancer: {kind: roundRobin, maxEffort: 5}, failureAccrual: {kind: none}}
    - {prefix: /#/b, loadBalancer: {kind: p2c}, failureAccrual: {kind: none, backoff: {kind: constant, ms: 5}}}
"""


def test_every_supported_key_is_taken(tmp_path: FilePath) -> None:
    config = parse(ALL_KEYS.replace("ROOT", str(tmp_path)))
    (router,) = config.routers
    (server,) = router.servers
    assert (router.label, str(router.dst_prefix), str(router.dtab)) == ("all", "/http", "/http=>/#/files")
    assert [kind.__struct_config__.tag for kind in router.identifier] == [
        "io.l5d.methodAndHost",
        "io.l5d.path",
        "io.l5d.header",
        "io.l5d.header.token",
        "io.l5d.static",
    ]
    assert (server.ip, server.timestamp_header, server.socket_options.backlog) == ("::1", "x-request-start", 3)
    assert (server.server_session.life_time_ms, server.server_session.idle_time_ms) == (5, 6)
    assert [namer.prefix for namer in config.namers] == ["/files", "/r"]
    assert len(config.namers[0].transformers) == 5
    assert len(router.interpreter.transformers) == 1
    assert config.admin.security is not None
    assert config.admin.security.path_blacklist == ("/config.json",)
    assert config.usage.org_id == "us"


def test_json_is_taken_as_well() -> None:
    assert parse('{"routers": [{"protocol": "http", "servers": [{"port": 1}]}]} ').routers[0].servers[0].port == 1


def test_null_means_the_default() -> None:
    config = parse("routers: [{protocol: http, label: ~, dtab: null, client: , servers: [{port: ~}]}]\nadmin:\nnamers:")
    assert config == msgspec.structs.replace(
        parse("routers: [{protocol: http, servers: [{}]}]"), written=config.written
    )


def test_the_default_kind_of_client_and_service_is_global() -> None:
    router = parse(in_router("client: {connectTimeoutMs: 5}\nservice: {totalTimeoutMs: '7'}")).routers[0]
    assert [keys.connect_timeout_ms for keys in router.client.applying(None)] == [5]
    assert [keys.total_timeout_ms for keys in router.service.applying(None)] == [7]


BAD: list[tuple[str, list[str]]] = [
    ("", ["l.yaml:1:1: expected an object, found nothing"]),
    ("- a", ["l.yaml:1:1: expected an object, found a list"]),
    ("abc", ["l.yaml:1:1: expected an object, found the text `abc`"]),
    ("{}", ["l.yaml:1:1: routers: At least one router must be specified in the configuration."]),
    ("routers: []", ["l.yaml:1:10: routers: At least one router must be specified in the configuration."]),
    ("routers: {}", ["l.yaml:1:10: routers: expected a list, found an object"]),
    ("routers: [7]", ["l.yaml:1:11: routers[0]: expected an object, found `7`"]),
    ("routers: [{servers: []}]", ["l.yaml:1:11: routers[0]: missing key `protocol`; allowed: http"]),
    ("routers: [{protocol: h2}]", ["l.yaml:1:22: routers[0].protocol: `h2` is known but not built yet"]),
    ("routers: [{protocol: thriftmux}]", ["l.yaml:1:22: routers[0].protocol: `thriftmux` is known but not built yet"]),
    (
        "routers: [{protocol: htpp}]",
        ["l.yaml:1:22: routers[0].protocol: unknown protocol `htpp`; did you mean `http`? allowed: http"],
    ),
    ("routers: [{protocol: http}]", ["l.yaml:1:11: routers[0].servers: router 'http' has no servers"]),
    (
        in_router("labl: x\nlabel: y\nlabel: z"),
        [
            "l.yaml:4:3: routers[0].labl: unknown key; did you mean `label`? allowed: protocol, label, dtab, dstPrefix, "
            "service, client, interpreter, announcers, bindingTimeoutMs, bindingCache, originator, experimental, servers, "
            "identifier, httpAccessLog, httpAccessLogRollPolicy, httpAccessLogAppend, httpAccessLogRotateCount, "
            "streamAfterContentLengthKB, maxHeadersKB, maxInitialLineKB, maxErrResponseKB, streamingEnabled, "
            "compressionLevel, tracePropagator",
            "l.yaml:6:3: routers[0].label: Duplicate field 'label': first written in line 5",
        ],
    ),
    (
        HEAD + HEAD.replace("routers:\n", "").replace("4140", "4141"),
        ["l.yaml:4:3: routers[1].label: Multiple routers with the label http"],
    ),
    (
        HEAD + HEAD.replace("routers:\n", "").replace("http", "http\n  label: b"),
        ["l.yaml:6:20: routers[1].servers[0].port: Server conflict on port 4140"],
    ),
    (HEAD + "admin: {port: 4140}", ["l.yaml:3:20: routers[0].servers[0].port: Server conflict on port 4140"]),
    (in_router("identifier: []"), ["l.yaml:4:15: routers[0].identifier: empty identifier list"]),
    (
        in_router("streamingEnabled: false\nstreamAfterContentLengthKB: 5"),
        [
            "l.yaml:4:21: routers[0].streamingEnabled: `streamingEnabled` is known but not built yet",
            "l.yaml:5:31: routers[0].streamAfterContentLengthKB: Conflicting streaming options set. Can't disable "
            "streaming and set streamAfterContentLengthKB in http",
        ],
    ),
    (
        in_router("dtab: |\n  /svc => /ok ;\n  /svc => oops ;"),
        ["l.yaml:6:13: routers[0].dtab: simple expected but 'o' found at '/svc => /ok ; /svc => [o]ops ;'"],
    ),
    (
        in_router("dtab: /svc = /x"),
        ["l.yaml:4:15: routers[0].dtab: '>' expected but ' ' found at '/svc =[ ]/x'"],
    ),
    (in_router("dtab: [1]"), ["l.yaml:4:9: routers[0].dtab: expected a dtab such as `/svc => /host ;`, found a list"]),
    (in_router("dstPrefix: svc"), ["l.yaml:4:14: routers[0].dstPrefix: '/' expected but 's' found at '[s]vc'"]),
    (
        in_router("originator: yes"),
        ["l.yaml:4:15: routers[0].originator: expected true or false, found the text `yes`"],
    ),
    (
        in_router("bindingTimeoutMs: 1.5\nbindingCache: {paths: 0}\nmaxHeadersKB: 1e99"),
        [
            "l.yaml:4:21: routers[0].bindingTimeoutMs: expected a whole number, found `1.5`",
            "l.yaml:5:25: routers[0].bindingCache.paths: expected a whole number >= 1, found `0`",
            "l.yaml:6:17: routers[0].maxHeadersKB: expected a whole number <= 2097152, found `1e99`",
        ],
    ),
    (
        in_router("compressionLevel: 10"),
        ["l.yaml:4:21: routers[0].compressionLevel: expected a whole number <= 9, found `10`"],
    ),
    (
        in_router("interpreter: default"),
        ["l.yaml:4:16: routers[0].interpreter: expected an object, found the text `default`"],
    ),
    (
        in_router("interpreter: {transformers: []}"),
        ["l.yaml:4:16: routers[0].interpreter: missing key `kind`; allowed: default"],
    ),
    (
        in_router("interpreter: {kind: default, transformers: [{kind: io.l5d.prt}, {kind: io.l5d.port, port: 99999}]}"),
        [
            "l.yaml:4:54: routers[0].interpreter.transformers[0].kind: unknown kind `io.l5d.prt`; did you mean "
            "`io.l5d.port`? allowed: io.l5d.const, io.l5d.localhost, io.l5d.port, io.l5d.replace, io.l5d.specificHost",
            "l.yaml:4:93: routers[0].interpreter.transformers[1].port: expected a whole number <= 65535, found `99999`",
        ],
    ),
    (
        in_router("identifier: {kind: io.l5d.Path, segment: 1}"),
        [
            "l.yaml:4:22: routers[0].identifier.kind: unknown kind `io.l5d.Path`; did you mean `io.l5d.path`? allowed: "
            "io.l5d.header, io.l5d.header.token, io.l5d.methodAndHost, io.l5d.path, io.l5d.static"
        ],
    ),
    (
        in_router("identifier: {kind: io.l5d.path, segment: 1}"),
        [
            "l.yaml:4:35: routers[0].identifier.segment: unknown key; did you mean `segments`? allowed: kind, segments, "
            "consume"
        ],
    ),
    (
        in_router("identifier: [{kind: io.l5d.static}, {kind: io.l5d.static, path: a//b}]"),
        [
            "l.yaml:4:16: routers[0].identifier[0].path: missing: 'path' must be specified",
            "l.yaml:4:67: routers[0].identifier[1].path: label char expected but '/' found at '/a/[/]b'",
        ],
    ),
    (
        in_router("identifier: {kind: io.l5d.header, header: 'a b'}"),
        ["l.yaml:4:45: routers[0].identifier.header: expected the name of a header, found `a b`"],
    ),
    (
        in_router("client: {kind: io.l5d.boundPath}"),
        [
            "l.yaml:4:18: routers[0].client.kind: unknown kind `io.l5d.boundPath`; did you mean `io.l5d.static`? "
            "allowed: io.l5d.global, io.l5d.static"
        ],
    ),
    (
        in_router("client: {kind: io.l5d.static, configs: [{loadBalancer: {kind: p2c}}]}"),
        ["l.yaml:4:43: routers[0].client.configs[0].prefix: missing: 'prefix' must be specified"],
    ),
    (
        in_router("client: {loadBalancer: {maxEffort: 1}}"),
        ["l.yaml:4:26: routers[0].client.loadBalancer: missing key `kind`; allowed: ewma, p2c, roundRobin"],
    ),
    (
        in_router("client: {failureAccrual: {kind: none, backoff: {ms: 1}}}"),
        ["l.yaml:4:50: routers[0].client.failureAccrual.backoff: missing key `kind`; allowed: constant, jittered"],
    ),
    (
        in_router("client: {failureAccrual: {kind: none, backoff: {kind: jittered}}}"),
        [
            "l.yaml:4:50: routers[0].client.failureAccrual.backoff.minMs: missing: 'minMs' must be specified",
            "l.yaml:4:50: routers[0].client.failureAccrual.backoff.maxMs: missing: 'maxMs' must be specified",
        ],
    ),
    (
        in_router("client: {failureAccrual: {kind: none, backoff: {kind: jittered, minMs: 3, maxMs: 2}}}"),
        [
            "l.yaml:4:50: routers[0].client.failureAccrual.backoff: minMs must be above 0 and not above maxMs, found 3 "
            "and 2"
        ],
    ),
    (
        in_router("client: {tls: {commonName: x, disableValidation: true, clientAuth: {certPath: a, keyPath: b}}}"),
        ["l.yaml:4:17: routers[0].client.tls: disableValidation: true is incompatible with clientAuth"],
    ),
    (
        in_router("client: {tls: {commonName: x, trustCerts: [a], trustCertsBundle: b}}"),
        [
            "l.yaml:4:17: routers[0].client.tls: Both trustCerts and trustCertsBundle have been set. Please use only "
            "trustCertsBundle."
        ],
    ),
    (
        in_router("client: {tls: {}}"),
        ["l.yaml:4:17: routers[0].client.tls: tls is configured with validation but `commonName` is not set"],
    ),
    (
        in_router("client: {requeueBudget: {ttlSecs: 61, minRetriesPerSec: -1, percentCanRetry: 1001}}"),
        [
            "l.yaml:4:37: routers[0].client.requeueBudget.ttlSecs: expected a whole number <= 60, found `61`",
            "l.yaml:4:59: routers[0].client.requeueBudget.minRetriesPerSec: expected a whole number >= 0, found `-1`",
            "l.yaml:4:80: routers[0].client.requeueBudget.percentCanRetry: expected a number <= 1000.0, found `1001`",
        ],
    ),
    (
        in_router("service: {retries: {backoff: {kind: fixed}}}"),
        ["l.yaml:4:39: routers[0].service.retries.backoff.kind: unknown kind `fixed`; allowed: constant, jittered"],
    ),
    (
        in_server("ip: localhost"),
        [
            "l.yaml:5:9: routers[0].servers[0].ip: 'localhost' is not an IP string literal; expected an IP address, "
            "no host name"
        ],
    ),
    (
        in_server("ip: fe80::1%eth0"),
        [
            "l.yaml:5:9: routers[0].servers[0].ip: 'fe80::1%eth0' is not an IP string literal; expected an IP address, "
            "no host name"
        ],
    ),
    (
        "routers: [{protocol: http, servers: [{port: 65536}, {port: -1}, {port: '80'}, {port: true}, {port: [1]}]}]",
        [
            "l.yaml:1:45: routers[0].servers[0].port: 65536 outside valid range for ports; expected a port, a number "
            "from 0 to 65535 without quotes",
            "l.yaml:1:60: routers[0].servers[1].port: -1 outside valid range for ports; expected a port, a number "
            "from 0 to 65535 without quotes",
            "l.yaml:1:72: routers[0].servers[2].port: found the text `80`; expected a port, a number from 0 to 65535 "
            "without quotes",
            "l.yaml:1:86: routers[0].servers[3].port: found `true`; expected a port, a number from 0 to 65535 without "
            "quotes",
            "l.yaml:1:100: routers[0].servers[4].port: expected a port, a number from 0 to 65535 without quotes, "
            "found a list",
        ],
    ),
    (
        in_server("tls: {certPath: a, enabled: true}"),
        [
            "l.yaml:5:10: routers[0].servers[0].tls.keyPath: missing: 'keyPath' must be specified",
            "l.yaml:5:24: routers[0].servers[0].tls.enabled: unknown key; allowed: certPath, keyPath, "
            "intermediateCertsPath, caCertPath, requireClientAuth, ciphers, protocols",
        ],
    ),
    (
        in_server("<<: {port: 1}"),
        [
            "l.yaml:5:5: routers[0].servers[0].<<: unknown key; merge keys are not supported",
        ],
    ),
    (
        HEAD + "namers: [{rootDir: /}]",
        ["l.yaml:4:10: namers[0]: missing key `kind`; allowed: io.l5d.fs, io.l5d.rewrite"],
    ),
    (
        HEAD + "namers: [{kind: io.l5d.fs, rootDir: /no/such}]",
        ["l.yaml:4:37: namers[0].rootDir: /no/such is not a directory"],
    ),
    (
        HEAD + "namers: [{kind: io.l5d.rewrite, pattern: /a, name: /b}]",
        ["l.yaml:4:10: namers[0].prefix: missing: 'prefix' must be specified"],
    ),
    (
        HEAD + "admin: {security: {pathWhitelist: ['(']}}",
        [
            "l.yaml:4:36: admin.security.pathWhitelist[0]: `(` is no regular expression: missing ), unterminated "
            "subpattern at position 0; expected a regular expression"
        ],
    ),
    (
        HEAD + 'usage: {"\\e[31mred\\n": 1}',
        ["l.yaml:4:9: usage.\\x1b[31mred: unknown key; allowed: orgId, enabled"],
    ),
]


@pytest.mark.parametrize(("text", "expected"), BAD, ids=range(len(BAD)))
def test_a_mistake_is_told_with_place_path_and_what_is_allowed(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


REMOVED = ["maxChunkKB", "maxRequestKB", "maxResponseKB", "engine", "loggers", "requestAuthorizers", "timeoutMs"]
REMOVED += ["responseClassifier", "retries", "baseDtab", "httpUriInDst"]


@pytest.mark.parametrize("key", REMOVED)
def test_keys_that_linkerd_removed_are_unknown(key: str) -> None:
    (problem,) = problems(in_router(f"{key}: 1"))
    assert problem.startswith(f"l.yaml:4:3: routers[0].{key}: unknown key")


UNBUILT = [
    (in_router("httpAccessLog: /tmp/log"), "routers[0].httpAccessLog", "httpAccessLog"),
    (in_router("httpAccessLogRollPolicy: daily"), "routers[0].httpAccessLogRollPolicy", "httpAccessLogRollPolicy"),
    (in_router("httpAccessLogAppend: false"), "routers[0].httpAccessLogAppend", "httpAccessLogAppend"),
    (in_router("httpAccessLogRotateCount: 3"), "routers[0].httpAccessLogRotateCount", "httpAccessLogRotateCount"),
    (in_router("streamingEnabled: false"), "routers[0].streamingEnabled", "streamingEnabled"),
    (in_router("compressionLevel: 5"), "routers[0].compressionLevel", "compressionLevel"),
    (in_router("tracePropagator: {kind: io.l5d.zipkin}"), "routers[0].tracePropagator.kind", "io.l5d.zipkin"),
    (in_router("announcers: [{kind: io.l5d.serversets}]"), "routers[0].announcers[0].kind", "io.l5d.serversets"),
    (in_router("client: {tls: {commonName: x}}"), "routers[0].client.tls", "tls"),
    (in_router("client: {failFast: true}"), "routers[0].client.failFast", "failFast"),
    (in_router("client: {forwardClientCert: true}"), "routers[0].client.forwardClientCert", "forwardClientCert"),
    (in_router("client: {requeueBudget: {ttlSecs: 20}}"), "routers[0].client.requeueBudget", "requeueBudget"),
    (
        in_router("client: {requestAuthorizers: [{kind: io.l5d.k8s.istio}]}"),
        "routers[0].client.requestAuthorizers[0].kind",
        "io.l5d.k8s.istio",
    ),
    (in_router("client: {loadBalancer: {kind: aperture}}"), "routers[0].client.loadBalancer.kind", "aperture"),
    (in_router("client: {loadBalancer: {kind: heap}}"), "routers[0].client.loadBalancer.kind", "heap"),
    (
        in_router("client: {failureAccrual: {kind: io.l5d.successRate}}"),
        "routers[0].client.failureAccrual.kind",
        "io.l5d.successRate",
    ),
    (in_router("service: {retries: {backoff: {kind: constant, ms: 5}}}"), "routers[0].service.retries", "retries"),
    (
        in_router("service: {responseClassifier: {kind: io.l5d.http.retryableRead5XX}}"),
        "routers[0].service.responseClassifier.kind",
        "io.l5d.http.retryableRead5XX",
    ),
    (in_server("tls: {certPath: a, keyPath: b}"), "routers[0].servers[0].tls", "tls"),
    (in_server("announce: [/#/io.l5d.serversets/web]"), "routers[0].servers[0].announce", "announce"),
    (in_server("addForwardedHeader: {}"), "routers[0].servers[0].addForwardedHeader", "addForwardedHeader"),
    (
        in_server("addForwardedHeader: {by: {kind: ip}}"),
        "routers[0].servers[0].addForwardedHeader.by.kind",
        "ip",
    ),
    (in_server("socketOptions: {reuseAddr: false}"), "routers[0].servers[0].socketOptions.reuseAddr", "reuseAddr"),
    (HEAD + "admin: {httpIdentifierPort: 1}", "admin.httpIdentifierPort", "httpIdentifierPort"),
    (HEAD + "admin: {tls: {certPath: a, keyPath: b}}", "admin.tls", "tls"),
    (HEAD + "admin: {socketOptions: {reusePort: true}}", "admin.socketOptions", "socketOptions"),
    (HEAD + "namers: [{kind: io.l5d.zkLeader, zkAddrs: []}]", "namers[0].kind", "io.l5d.zkLeader"),
    (HEAD + "telemetry: [{kind: io.l5d.statsd}]", "telemetry[0].kind", "io.l5d.statsd"),
]


@pytest.mark.parametrize(("text", "path", "name"), UNBUILT, ids=[f"{path}={name}" for _, path, name in UNBUILT])
def test_what_is_known_and_not_built_is_refused_by_name(text: str, path: str, name: str) -> None:
    (problem,) = problems(text)
    assert re.sub(r"^l\.yaml:\d+:\d+: ", "", problem) == f"{path}: `{name}` is known but not built yet"


def test_all_mistakes_of_a_file_are_told_at_once_in_their_order() -> None:
    found = problems("admin: {port: x}\nrouters:\n- protocol: http\n  labl: a\n- protocol: h3\nnamer: []")
    assert [re.match(r"l\.yaml:(\d+)", problem)[1] for problem in found] == ["1", "3", "4", "5", "6"]  # type: ignore[index]


def test_a_broken_part_causes_no_complaint_about_its_absence() -> None:
    assert problems("routers: [{protocol: http, servers: [{port: x}]}]") == [
        "l.yaml:1:45: routers[0].servers[0].port: found the text `x`; expected a port, a number from 0 to 65535 without "
        "quotes"
    ]


def test_two_servers_may_share_a_port_on_different_addresses_and_port_zero() -> None:
    text = "routers: [{protocol: http, servers: [{port: 1}, {port: 1, ip: 0.0.0.0}, {port: 0}, {port: 0}]}]"
    assert len(parse(text).routers[0].servers) == 4


def test_a_file_is_loaded_by_its_path(tmp_path: FilePath) -> None:
    file = tmp_path / "linker.yaml"
    file.write_text(HEAD)
    assert isinstance(load(file), LinkerConfig)
    file.write_text("routers: x")
    with pytest.raises(ConfigError, match=re.escape(f"{file}:1:10: routers: expected a list")):
        load(str(file))


WORDS = ["routers", "protocol", "http", "servers", "port", "kind", "io.l5d.fs", "namers", "client", "service", "dtab"]
WORDS += ["/svc => /x", "prefix", "configs", "admin", "ip", "identifier", "io.l5d.path", "tls", "transformers"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=5)
JUNK = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=30,
)


@settings(max_examples=300)
@given(JUNK)
def test_junk_is_a_configuration_or_a_configuration_error(junk: object) -> None:
    try:
        parse(msgspec.json.encode(junk))
    except ConfigError as error:
        assert error.problems
        assert all(str(problem).isprintable() for problem in error.problems)


@settings(max_examples=300)
@given(st.data())
def test_a_good_file_with_one_value_replaced_never_raises_anything_else(data: st.DataObject) -> None:
    lines = ALL_KEYS.replace("ROOT", "/tmp").splitlines()
    line = data.draw(st.integers(0, len(lines) - 1))
    at = data.draw(st.integers(0, len(lines[line])))
    lines[line] = lines[line][:at] + data.draw(st.text(max_size=3) | st.sampled_from(["~", "[]", "{}", "9e999"]))
    try:
        parse("\n".join(lines))
    except ConfigError as error:
        assert error.problems
