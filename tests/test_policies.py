"""The policies' keys have Linkerd's names, defaults and rules."""

from __future__ import annotations

import msgspec
import pytest

from biandou.policies import (
    AllSuccessful,
    Budget,
    ClientAuth,
    ClientTls,
    ConsecutiveFailures,
    ConstantBackoff,
    DefaultTracePropagator,
    JitteredBackoff,
    NoFailureAccrual,
    NonRetryable5xx,
    RetryableAll5xx,
    RetryableIdempotent5xx,
    RetryableRead5xx,
    SuccessRate,
    SuccessRateWindowed,
)


def test_defaults_are_linkerds() -> None:
    assert msgspec.to_builtins(ConstantBackoff()) == {"kind": "constant", "ms": 0}
    assert msgspec.to_builtins(Budget()) == {"minRetriesPerSec": 10, "percentCanRetry": 0.2, "ttlSecs": 10}
    assert msgspec.to_builtins(ConsecutiveFailures(failures=5)) == {
        "kind": "io.l5d.consecutiveFailures",
        "failures": 5,
        "backoff": None,
    }
    assert msgspec.to_builtins(SuccessRate(success_rate=0.9, requests=20)) == {
        "kind": "io.l5d.successRate",
        "successRate": 0.9,
        "requests": 20,
        "backoff": None,
    }
    assert msgspec.to_builtins(SuccessRateWindowed(success_rate=0.9, window=60)) == {
        "kind": "io.l5d.successRateWindowed",
        "successRate": 0.9,
        "window": 60,
        "backoff": None,
    }
    assert msgspec.to_builtins(NoFailureAccrual()) == {"kind": "none", "backoff": None}
    classifiers = (NonRetryable5xx, RetryableRead5xx, RetryableIdempotent5xx, RetryableAll5xx, AllSuccessful)
    names = ("nonRetryable5XX", "retryableRead5XX", "retryableIdempotent5XX", "retryableAll5XX", "allSuccessful")
    for classifier, name in zip(classifiers, names, strict=True):
        assert msgspec.to_builtins(classifier()) == {"kind": f"io.l5d.http.{name}"}
    assert msgspec.to_builtins(DefaultTracePropagator()) == {"kind": "io.l5d.default"}


@pytest.mark.parametrize(("least", "most"), [(0, 5), (6, 5)])
def test_jitter_needs_rising_bounds_above_zero(least: int, most: int) -> None:
    with pytest.raises(ValueError, match=f"found {least} and {most}"):
        JitteredBackoff(min_ms=least, max_ms=most)
    assert JitteredBackoff(min_ms=5, max_ms=5).max_ms == 5


def test_client_tls_refuses_what_contradicts_itself() -> None:
    auth = ClientAuth(cert_path="c", key_path="k")
    with pytest.raises(ValueError, match="disableValidation: true is incompatible with clientAuth"):
        ClientTls(common_name="x", disable_validation=True, client_auth=auth)
    with pytest.raises(ValueError, match="Please use only trustCertsBundle"):
        ClientTls(common_name="x", trust_certs=("a",), trust_certs_bundle="b")
    with pytest.raises(ValueError, match="`commonName` is not set"):
        ClientTls()
    assert not ClientTls(enabled=False).enabled
    assert ClientTls(disable_validation=True).enabled
