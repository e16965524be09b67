"""Netmasks, against values computed with the original implementation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from biandou.transformers.netmask import Netmask

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "naming_rooms.json").read_text())["vectors"]


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["group"] == "netmask"], ids=lambda v: v["id"])
def test_hosts_are_neighbours_as_the_reference_says(vector: dict[str, Any]) -> None:
    given = vector["input"]
    assert Netmask(given["mask"]).local(given["a"], given["b"]) is vector["expect"]["local"]


def test_a_text_that_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="web"):
        Netmask("255.0.0.0").local("web", "10.0.0.1")
