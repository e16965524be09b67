"""The balancers' keys have Linkerd's names and defaults."""

from __future__ import annotations

import msgspec
import pytest

from biandou.balancers import (
    ApertureBalancer,
    BalancerKind,
    EwmaBalancer,
    HeapBalancer,
    P2cBalancer,
    RoundRobinBalancer,
)


@pytest.mark.parametrize(
    ("balancer", "letter"),
    [
        (P2cBalancer(), {"kind": "p2c", "maxEffort": 5, "enableProbation": False}),
        (EwmaBalancer(), {"kind": "ewma", "maxEffort": 5, "decayTimeMs": 10_000, "enableProbation": False}),
        (
            ApertureBalancer(),
            {
                "kind": "aperture",
                "smoothWindowMs": 5000,
                "maxEffort": 5,
                "lowLoad": 0.5,
                "highLoad": 2.0,
                "minAperture": 1,
                "enableProbation": False,
            },
        ),
        (HeapBalancer(), {"kind": "heap", "enableProbation": False}),
        (RoundRobinBalancer(), {"kind": "roundRobin", "maxEffort": 5, "enableProbation": False}),
    ],
)
def test_defaults_are_linkerds(balancer: BalancerKind, letter: dict[str, object]) -> None:
    assert msgspec.to_builtins(balancer) == letter


def test_the_band_of_an_aperture_is_not_empty() -> None:
    with pytest.raises(ValueError, match=r"lowLoad must be below highLoad, found 2\.0 and 2\.0"):
        ApertureBalancer(low_load=2.0)
