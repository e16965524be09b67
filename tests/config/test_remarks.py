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
