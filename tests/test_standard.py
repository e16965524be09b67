"""The one list of kinds: complete, without conflicts, and nothing that Linkerd has is unknown."""

from __future__ import annotations

import subprocess
import sys

import pytest

from biandou import standard
from biandou.kinds import kind_name

REFERENCE = {
    "identifiers": "header header.token header.path methodAndHost path static ingress k8s.istio k8s.istio-ingress",
    "interpreters": "namerd namerd.http mesh fs k8s.configMap consul.interpreter k8s.istio",
    "namers": "fs consul k8s k8s.ns k8s.external k8s.istio marathon serversets zkLeader curator dnssrv rancher rewrite",
    "transformers": "localhost specificHost port k8s.daemonset k8s.localnode replace const",
    "failure accruals": "consecutiveFailures successRate successRateWindowed",
    "response classifiers": "http.nonRetryable5XX http.retryableRead5XX http.retryableIdempotent5XX "
    "http.retryableAll5XX http.allSuccessful",
    "trace propagators": "default zipkin",
    "announcers": "serversets",
    "stores": "inMemory consul etcd k8s zk",
    "telemeters": "prometheus influxdb statsd tracelog recentRequests zipkin",
}


@pytest.mark.parametrize(("room", "names"), REFERENCE.items(), ids=list(REFERENCE))
def test_every_kind_of_the_reference_is_built_or_known(room: str, names: str) -> None:
    register = standard.ROOMS[room]
    known = register.planned | {kind_name(kind) for kind in register}
    assert {f"io.l5d.{name}" for name in names.split()} <= known


def test_kinds_without_a_prefix_are_built_or_known() -> None:
    assert {"p2c", "ewma", "aperture", "heap", "roundRobin"} == set(standard.BALANCERS.names)
    assert "none" in standard.FAILURE_ACCRUALS.names
    assert "default" in {kind_name(kind) for kind in standard.INTERPRETERS}


@pytest.mark.parametrize("room", standard.ROOMS)
def test_a_built_kind_is_not_called_unbuilt(room: str) -> None:
    register = standard.ROOMS[room]
    assert not register.planned & {kind_name(kind) for kind in register}


def test_what_the_issue_asks_for_is_built() -> None:
    built = {room: {kind_name(kind) for kind in register} for room, register in standard.ROOMS.items()}
    assert {"io.l5d.header", "io.l5d.header.token", "io.l5d.methodAndHost", "io.l5d.path", "io.l5d.static"} <= built[
        "identifiers"
    ]
    assert {"io.l5d.fs", "io.l5d.rewrite"} <= built["namers"]
    assert {"io.l5d.const", "io.l5d.localhost", "io.l5d.port", "io.l5d.replace", "io.l5d.specificHost"} <= built[
        "transformers"
    ]
    assert {
        "io.l5d.consecutiveFailures",
        "io.l5d.successRate",
        "io.l5d.successRateWindowed",
        "none",
    } == built["failure accruals"]


def test_looking_at_the_list_loads_nothing_of_third_parties() -> None:
    code = "import sys, biandou.standard; assert all(r._offered is None for r in biandou.standard.ROOMS.values() " + (
        "if hasattr(r, '_offered'))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
