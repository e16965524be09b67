"""The balancers' keys have Linkerd's names and defaults."""

from __future__ import annotations

import msgspec
import pytest

from biandou.balancers import BalancerKind, EwmaBalancer, P2cBalancer, RoundRobinBalancer


@pytest.mark.parametrize(
    ("balancer", "letter"),
    [
        (P2cBalancer(), {"kind": "p2c", "maxEffort": 5, "enableProbation": False}),
        (EwmaBalancer(), {"kind": "ewma", "maxEffort": 5, "decayTimeMs": 10_000, "enableProbation": False}),
        (RoundRobinBalancer(), {"kind": "roundRobin", "maxEffort": 5, "enableProbation": False}),
    ],
)
def test_defaults_are_linkerds(balancer: BalancerKind, letter: dict[str, object]) -> None:
    assert msgspec.to_builtins(balancer) == letter
