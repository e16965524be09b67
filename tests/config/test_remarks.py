"""What is said of keys that are read and do nothing, or something else."""

from __future__ import annotations

import pytest

from biandou.config.linker import parse
from biandou.config.remarks import remarks

BASE = """
routers:
- protocol: http
  servers: [{port: 0}]
"""


def test_an_ordinary_configuration_needs_no_remark() -> None:
    assert remarks(parse(BASE + "  compressionLevel: -1\n  streamingEnabled: true\n")) == []
    assert remarks(parse(BASE + "admin: {socketOptions: {reusePort: true, backlog: 9}}\n")) == []


@pytest.mark.parametrize(
    ("more", "about"),
    [
        ("  streamingEnabled: false", "router http: streamingEnabled: false: "),
        ("  compressionLevel: 6", "router http: compressionLevel: 6: "),
        ("admin: {socketOptions: {noDelay: false}}", "admin: socketOptions: "),
    ],
)
def test_what_does_nothing_is_named(more: str, about: str) -> None:
    (line,) = remarks(parse(BASE + more))
    assert line.startswith(about)


TCP = """
routers:
- protocol: tcp
  servers: [{port: 0%s}]
%s
"""


@pytest.mark.parametrize(
    ("server", "more", "about"),
    [
        ("", "  service: {responseClassifier: {kind: io.l5d.http.retryableRead5XX}}", "service: responseClassifier"),
        ("", "  service: {rateLimit: {requestsPerSecond: 1, byHeader: x}}", "service: rateLimit: byHeader"),
        ("", "  client: {requestAttemptTimeoutMs: 5}", "client: requestAttemptTimeoutMs"),
        (
            "",
            "  client: {kind: io.l5d.static, configs: [{prefix: /, clientSession: {idleTimeMs: 1}}]}",
            "client: clientSession",
        ),
        ("", "  client: {forwardClientCert: true}", "client: forwardClientCert"),
        ("", "  client: {hostConnectionPool: {minSize: 1}}", "client: hostConnectionPool: minSize and idleTimeMs"),
        (
            "",
            "  client: {socketOptions: {readTimeoutMs: 1}}",
            "client: socketOptions: readTimeoutMs and writeTimeoutMs",
        ),
        (
            ", socketOptions: {writeTimeoutMs: 1}",
            "",
            "servers: socketOptions: readTimeoutMs and writeTimeoutMs",
        ),
        (", serverSession: {lifeTimeMs: 1}", "", "servers: serverSession: lifeTimeMs"),
    ],
)
def test_what_is_about_requests_does_nothing_for_connections_and_is_named(server: str, more: str, about: str) -> None:
    (line,) = remarks(parse(TCP % (server, more)))
    assert line == f"router tcp: {about}: it is about requests, and has no effect on connections"


def test_what_holds_for_connections_needs_no_remark() -> None:
    server = ", serverSession: {idleTimeMs: 9}, socketOptions: {keepAlive: true}, maxConcurrentRequests: 5"
    more = (
        "  service: {totalTimeoutMs: 500, retries: {budget: {percentCanRetry: 0.5}}}\n"
        "  client: {connectTimeoutMs: 5, hostConnectionPool: {maxSize: 5}, failureAccrual: {kind: none}}"
    )
    assert remarks(parse(TCP % (server, more))) == []


def test_names_that_somebody_answers_for_need_no_remark() -> None:
    config = """
namers:
- {kind: io.l5d.rewrite, prefix: /a/b, pattern: /x, name: /y}
- {kind: io.biandou.failover, tiers: [{dst: /#/a/b/c}, {dst: /$/inet/127.1}]}
routers:
- protocol: http
  dtab: |
    /svc => /#/a | /#/a/b | /#/a/b/c | /#/io.biandou.failover ;
    /svc => /srv | /$/inet/web/80 | /$/io.biandou.atLeast/2 | /$/io.biandou.atLeast/2/#/a/b ;
  interpreter:
    kind: default
    transformers: [{kind: io.l5d.const, path: /$/inet/127.1/80}]
  servers: [{port: 0}]
- protocol: http
  label: far
  dtab: /svc => /#/of.the.namerd
  interpreter: {kind: io.l5d.mesh, dst: /$/inet/127.1/4321}
  servers: [{port: 0}]
"""
    assert remarks(parse(config)) == []


NAMER = "namers:\n- {kind: io.l5d.rewrite, prefix: /here, pattern: /x, name: /y"


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ("  dtab: /svc => /#/nosuch", "router http: no namer answers for /#/nosuch: there are none"),
        (
            f"  dtab: /svc => /#/here & 0.5 * /#/her ;\n{NAMER}}}",
            "router http: no namer answers for /#/her; namers: /#/here",
        ),
        (
            "  dtab: /svc => /$/io.biandou.atLeast/2/#/nosuch/web",
            "router http: no namer answers for /#/nosuch/web: there are none",
        ),
        (
            "  dtab: /svc => /$/io.biandou.atLeast/2/svc/web",
            "router http: /svc/web is bound without a dtab, so that only /#/… and /$/… mean something",
        ),
        (
            "namers: [{kind: io.biandou.failover, tiers: [{dst: /#/nosuch}]}]",
            "namer /#/io.biandou.failover: no namer answers for /#/nosuch; namers: /#/io.biandou.failover",
        ),
        (
            "  interpreter: {kind: default, transformers: [{kind: io.l5d.replace, path: /svc/web}]}",
            "router http: /svc/web is bound without a dtab, so that only /#/… and /$/… mean something",
        ),
        (
            f"{NAMER}, transformers: [{{kind: io.l5d.port, port: 1}}]}}",
            "namer /#/here: transformers: what io.l5d.rewrite gives is not bound yet; write them at the interpreter",
        ),
        (
            "namers: [{kind: io.l5d.consul, healthStatuses: [passing, warning]}]",
            "namer /#/io.l5d.consul: healthStatuses: without `useHealthCheck: true` all instances are used",
        ),
        (
            "namers: [{kind: io.biandou.nacos, tls: {commonName: nacos}}]",
            "namer /#/io.biandou.nacos: tls: none of the servers is https://…",
        ),
        (
            "  interpreter: {kind: io.l5d.consul.interpreter, writeConsistencyMode: stale}",
            "router http: interpreter: writeConsistencyMode: nothing is written",
        ),
    ],
)
def test_a_name_that_leads_nowhere_and_a_key_that_does_nothing_are_told(more: str, line: str) -> None:
    assert remarks(parse(BASE + more)) == [line]


TWO_LOGS = """
routers:
- protocol: http
  label: a
  httpAccessLog: /var/log/access.log
  servers: [{port: 0}]
- protocol: http
  label: b
  httpAccessLog: %s
  %s
  servers: [{port: 0}]
"""


def test_routers_that_roll_each_others_access_log_are_named() -> None:
    for policy in ("httpAccessLogRollPolicy: daily", "httpAccessLogAppend: false"):
        (line,) = remarks(parse(TWO_LOGS % ("/var/log/../log/access.log", policy)))
        assert line.startswith("routers a and b: httpAccessLog: /var/log/access.log: ")
        assert remarks(parse(TWO_LOGS % ("/var/log/b.log", policy))) == []


def test_routers_that_only_add_lines_to_one_access_log_need_no_remark() -> None:
    assert remarks(parse(TWO_LOGS % ("/var/log/access.log", "httpAccessLogAppend: true"))) == []
