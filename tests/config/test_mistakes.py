"""Each mistake that a file can hold, and exactly what is said about it."""

from __future__ import annotations

import re
import textwrap

import pytest

from biandou import standard
from biandou.config.linker import parse
from biandou.errors import ConfigError

HEAD = "routers:\n- protocol: http\n  servers: [{port: 4140}]\n"
"""Three lines of a router; what a case adds to it begins in line 4, column 3."""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "l.yaml")
    return [str(problem) for problem in caught.value.problems]


def allowed(room: str) -> str:
    """Give the kinds of a room as messages list them: the lists grow."""
    return ", ".join(standard.ROOMS[room].names)


def in_router(lines: str) -> str:
    return HEAD + textwrap.indent(textwrap.dedent(lines).strip(), "  ")


def in_server(lines: str) -> str:
    return "routers:\n- protocol: http\n  servers:\n  - port: 4140\n" + textwrap.indent(
        textwrap.dedent(lines).strip(), "    "
    )


BAD: list[tuple[str, list[str]]] = [
    ("", ["l.yaml:1:1: expected an object, found nothing"]),
    ("- a", ["l.yaml:1:1: expected an object, found a list"]),
    ("abc", ["l.yaml:1:1: expected an object, found the text `abc`"]),
    ("{}", ["l.yaml:1:1: routers: At least one router must be specified in the configuration."]),
    ("routers: []", ["l.yaml:1:10: routers: At least one router must be specified in the configuration."]),
    ("routers: {}", ["l.yaml:1:10: routers: expected a list, found an object"]),
    ("routers: [7]", ["l.yaml:1:11: routers[0]: expected an object, found `7`"]),
    ("routers: [{servers: []}]", ["l.yaml:1:11: routers[0]: missing key `protocol`; allowed: http, tcp"]),
    ("routers: [{protocol: h2}]", ["l.yaml:1:22: routers[0].protocol: `h2` is known but not built yet"]),
    ("routers: [{protocol: thriftmux}]", ["l.yaml:1:22: routers[0].protocol: `thriftmux` is known but not built yet"]),
    (
        "routers: [{protocol: htpp}]",
        ["l.yaml:1:22: routers[0].protocol: unknown protocol `htpp`; did you mean `http`? allowed: http, tcp"],
    ),
    ("routers: [{protocol: http}]", ["l.yaml:1:11: routers[0].servers: router 'http' has no servers"]),
    (
        in_router("labl: x\nlabel: y\nlabel: z"),
        [
            "l.yaml:4:3: routers[0].labl: unknown key; did you mean `label`? allowed: protocol, label, dtab, "
            "dstPrefix, service, client, interpreter, announcers, bindingTimeoutMs, bindingCache, originator, "
            "experimental, servers, identifier, filters, plugins, httpAccessLog, httpAccessLogRollPolicy, "
            "httpAccessLogAppend, httpAccessLogRotateCount, streamAfterContentLengthKB, maxHeadersKB, "
            "maxInitialLineKB, maxHeaderCount, maxErrResponseKB, streamingEnabled, compressionLevel, tracePropagator",
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
    (
        in_router("httpAccessLogRollPolicy: weekly(8)\nhttpAccessLogRotateCount: -2"),
        [
            "l.yaml:4:28: routers[0].httpAccessLogRollPolicy: `weekly(8)` is no roll policy; expected `never`, "
            "`hourly`, `daily`, `sighup`, `weekly(1)` to `weekly(7)`, or a size such as `3.megabytes`",
            "l.yaml:5:29: routers[0].httpAccessLogRotateCount: expected a whole number >= -1, found `-2`",
        ],
    ),
    (in_router("identifier: []"), ["l.yaml:4:15: routers[0].identifier: empty identifier list"]),
    (
        in_router("streamingEnabled: false\nstreamAfterContentLengthKB: 5"),
        [
            "l.yaml:5:31: routers[0].streamAfterContentLengthKB: Conflicting streaming options set. Can't disable "
            "streaming and set streamAfterContentLengthKB in http",
        ],
    ),
    (
        "routers:\n- protocol: http\n  servers: [{notHttp: {router: other}}]\n",
        [
            "l.yaml:3:32: routers[0].servers[0].notHttp.router: no router with `protocol: tcp` is called other; "
            "there is none",
        ],
    ),
    (
        "routers:\n- protocol: tcp\n  identifier: {kind: io.l5d.path}\n  servers: [{}]\n",
        [
            "l.yaml:3:22: routers[0].identifier.kind: unknown kind `io.l5d.path`; did you mean `io.l5d.static`? "
            "allowed: io.biandou.originalDst, io.biandou.sni, io.l5d.static",
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
            "l.yaml:6:17: routers[0].maxHeadersKB: expected a whole number, found `1e99`",
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
        [f"l.yaml:4:16: routers[0].interpreter: missing key `kind`; allowed: {allowed('interpreters')}"],
    ),
    (
        in_router("interpreter: {kind: default, transformers: [{kind: io.l5d.prt}, {kind: io.l5d.port, port: 99999}]}"),
        [
            "l.yaml:4:54: routers[0].interpreter.transformers[0].kind: unknown kind `io.l5d.prt`; did you mean "
            f"`io.l5d.port`? allowed: {allowed('transformers')}",
            "l.yaml:4:93: routers[0].interpreter.transformers[1].port: expected a whole number <= 65535, found `99999`",
        ],
    ),
    (
        in_router("identifier: {kind: io.l5d.Path, segment: 1}"),
        [
            "l.yaml:4:22: routers[0].identifier.kind: unknown kind `io.l5d.Path`; did you mean `io.l5d.path`? allowed: "
            + allowed("identifiers")
        ],
    ),
    (
        in_router("identifier: {kind: io.l5d.path, segment: 1}"),
        [
            "l.yaml:4:35: routers[0].identifier.segment: unknown key; did you mean `segments`? allowed: kind, "
            "segments, consume"
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
        [f"l.yaml:4:26: routers[0].client.loadBalancer: missing key `kind`; allowed: {allowed('balancers')}"],
    ),
    (
        in_router("client: {loadBalancer: {kind: aperture, lowLoad: 3, minAperture: 0}, maxEjectedPercent: 101}"),
        [
            "l.yaml:4:68: routers[0].client.loadBalancer.minAperture: expected a whole number >= 1, found `0`",
            "l.yaml:4:91: routers[0].client.maxEjectedPercent: expected a whole number <= 100, found `101`",
        ],
    ),
    (
        in_router("client: {loadBalancer: {kind: aperture, lowLoad: 3}}"),
        ["l.yaml:4:52: routers[0].client.loadBalancer.lowLoad: lowLoad must be below highLoad, found 3.0 and 2.0"],
    ),
    (
        in_router("client: {failureAccrual: {kind: io.l5d.successRate, successRate: 1.5}}"),
        [
            "l.yaml:4:28: routers[0].client.failureAccrual.requests: missing: 'requests' must be specified",
            "l.yaml:4:68: routers[0].client.failureAccrual.successRate: expected a number <= 1.0, found `1.5`",
        ],
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
        [
            "l.yaml:4:52: routers[0].client.tls.disableValidation: disableValidation: true is incompatible with "
            "clientAuth"
        ],
    ),
    (
        in_router("client: {tls: {commonName: x, trustCerts: [a], trustCertsBundle: b}}"),
        [
            "l.yaml:4:45: routers[0].client.tls.trustCerts: Both trustCerts and trustCertsBundle have been set. Please "
            "use only trustCertsBundle."
        ],
    ),
    (
        in_server("tls: {certPath: a, keyPath: b, protocols: [TLSv1.1]}"),
        [
            "l.yaml:5:47: routers[0].servers[0].tls.protocols: protocols: TLSv1.1 is not supported; supported: "
            "TLSv1.2, TLSv1.3"
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
        in_router("service: {retries: {budget: {ttlSecs: 0, minRetriesPerSec: 0.5, percentCanRetry: -0.1}}}"),
        [
            "l.yaml:4:41: routers[0].service.retries.budget.ttlSecs: expected a whole number >= 1, found `0`",
            "l.yaml:4:62: routers[0].service.retries.budget.minRetriesPerSec: expected a whole number, found `0.5`",
            "l.yaml:4:84: routers[0].service.retries.budget.percentCanRetry: expected a number >= 0.0, found `-0.1`",
        ],
    ),
    (
        in_router("service: {responseClassifier: {kind: io.l5d.http.retryableReads5XX}}"),
        [
            "l.yaml:4:40: routers[0].service.responseClassifier.kind: unknown kind `io.l5d.http.retryableReads5XX`; "
            f"did you mean `io.l5d.http.retryableRead5XX`? allowed: {allowed('response classifiers')}"
        ],
    ),
    (
        in_router("service: {retries: {backoff: {kind: fixed}}}"),
        ["l.yaml:4:39: routers[0].service.retries.backoff.kind: unknown kind `fixed`; allowed: constant, jittered"],
    ),
    (
        in_server("maxConcurrentRequests: 0\nrateLimit: {}"),
        [
            "l.yaml:5:28: routers[0].servers[0].maxConcurrentRequests: expected a whole number >= 1, found `0`",
            "l.yaml:6:16: routers[0].servers[0].rateLimit.requestsPerSecond: missing: 'requestsPerSecond' must be "
            "specified",
        ],
    ),
    (
        in_server("rateLimit: 5\nmaxConcurrentRequests: {}"),
        [
            "l.yaml:5:16: routers[0].servers[0].rateLimit: expected an object, found `5`",
            "l.yaml:6:28: routers[0].servers[0].maxConcurrentRequests: expected a whole number, found an object",
        ],
    ),
    (
        in_router("service: {rateLimit: {requestsPerSecond: 0, burst: 0, byHeader: 'a b', perSecond: 1}}"),
        [
            "l.yaml:4:44: routers[0].service.rateLimit.requestsPerSecond: expected a number >= 0.001, found `0`",
            "l.yaml:4:54: routers[0].service.rateLimit.burst: expected a whole number >= 1, found `0`",
            "l.yaml:4:67: routers[0].service.rateLimit.byHeader: expected the name of a header, found `a b`",
            "l.yaml:4:74: routers[0].service.rateLimit.perSecond: unknown key; did you mean `requestsPerSecond`? "
            "allowed: requestsPerSecond, burst, byHeader",
        ],
    ),
    (
        in_server("rateLimit: {requestsPerSecond: .inf, burst: 1.5}\nheadTimeoutMs: 0\nmaxConnections: 0"),
        [
            "l.yaml:5:36: routers[0].servers[0].rateLimit.requestsPerSecond: expected a number, found the text `.inf`",
            "l.yaml:5:49: routers[0].servers[0].rateLimit.burst: expected a whole number, found `1.5`",
            "l.yaml:6:20: routers[0].servers[0].headTimeoutMs: expected a whole number >= 1, found `0`",
            "l.yaml:7:21: routers[0].servers[0].maxConnections: expected a whole number >= 1, found `0`",
        ],
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
        [f"l.yaml:4:10: namers[0]: missing key `kind`; allowed: {allowed('namers')}"],
    ),
    (
        HEAD + "namers: [{kind: io.l5d.fs, rootDir: /no/such}]",
        ["l.yaml:4:37: namers[0].rootDir: /no/such is not a directory"],
    ),
    (HEAD + "stateFile: {path: /dev/null}", ["l.yaml:4:19: stateFile.path: '/dev/null' is no file"]),
    (HEAD + "stateFile: {path: /tmp}", ["l.yaml:4:19: stateFile.path: '/tmp' is no file"]),
    (
        in_router("interpreter: {kind: io.l5d.k8s.configMap, name: a/b, filename: dtab}"),
        ["l.yaml:4:16: routers[0].interpreter: default/a/b can't be the name of a ConfigMap"],
    ),
    (
        in_router(
            "interpreter:\n  kind: default\n  transformers:\n"
            "  - {kind: io.l5d.k8s.daemonset, namespace: a b, service: l5d, port: http}"
        ),
        ["l.yaml:7:7: routers[0].interpreter.transformers[0]: nothing in Kubernetes can be called a b/l5d"],
    ),
    (
        HEAD + "namers: [{kind: io.l5d.consul, host: 'consul:8500'}]",
        ["l.yaml:4:38: namers[0].host: host is a host name or an address, without a port"],
    ),
    (
        HEAD + "namers: [{kind: io.l5d.serversets, zkAddrs: [{host: 'zk1:2181'}]}]",
        ["l.yaml:4:53: namers[0].zkAddrs[0].host: host is a host name or an address, without a port"],
    ),
    (
        HEAD + "namers: [{kind: io.l5d.zkLeader, zkAddrs: [{host: 'zk1,zk2'}]}]",
        ["l.yaml:4:51: namers[0].zkAddrs[0].host: host is a host name or an address"],
    ),
    (
        HEAD + "namers: [{kind: io.biandou.failover, spillOver: -5%, tiers: [{dst: /#/a}]}]",
        ["l.yaml:4:49: namers[0].spillOver: `-5%` is no share from 1% to 100%, such as 70%"],
    ),
    (
        in_router(
            "interpreter:\n  kind: default\n  transformers:\n  - kind: io.biandou.preferLocal\n"
            "    restoreHealthy: ''\n    places: [{key: zone, value: a}]"
        ),
        [
            "l.yaml:8:23: routers[0].interpreter.transformers[0].restoreHealthy: `` is neither a number of endpoints, "
            "from 1 on, nor a share such as 30%"
        ],
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


ANNOUNCERS = """
announcers: [{kind: io.l5d.consul}, {kind: io.l5d.serversets, zkAddrs: [{host: zk}]}]
"""


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/#/io.l5d.consul/dc1/web", "an announcer of Consul takes one segment after its prefix, the service's name, "),
        ("/#/io.l5d.consul", "an announcer of Consul takes one segment after its prefix, the service's name, "),
        ("/#/io.l5d.serversets/..", "no node of ZooKeeper can have /.. in its path"),
    ],
)
def test_a_name_that_its_announcer_cannot_use_is_a_mistake(path: str, said: str) -> None:
    (problem,) = problems(in_server(f"announce: [/#/io.l5d.serversets/web, {path}]") + ANNOUNCERS.replace("\n", "\n  "))
    assert problem.startswith(f"l.yaml:5:15: routers[0].servers[0].announce: {path}: {said}")


def test_a_path_that_no_announcer_takes_is_none() -> None:
    """It is a warning when the linker starts, as in Linkerd."""
    assert parse(in_server("announce: [/#/io.l5d.serversets/web]")).routers[0].servers[0].announce


@pytest.mark.parametrize("key", REMOVED)
def test_keys_that_linkerd_removed_are_unknown(key: str) -> None:
    (problem,) = problems(in_router(f"{key}: 1"))
    assert problem.startswith(f"l.yaml:4:3: routers[0].{key}: unknown key")


UNBUILT = [
    (
        in_router("client: {requestAuthorizers: [{kind: io.l5d.k8s.istio}]}"),
        "routers[0].client.requestAuthorizers[0].kind",
        "io.l5d.k8s.istio",
    ),
    (HEAD + "namers: [{kind: io.l5d.k8s.istio, port: 8080}]", "namers[0].kind", "io.l5d.k8s.istio"),
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
        "l.yaml:1:45: routers[0].servers[0].port: found the text `x`; expected a port, a number from 0 to 65535 "
        "without quotes"
    ]
