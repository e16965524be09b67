"""The identifiers' keys have Linkerd's names and defaults, and travel to the engine in full."""

from __future__ import annotations

import msgspec
import pytest

from biandou.identifiers.http import (
    HeaderIdentifier,
    HeaderTokenIdentifier,
    MethodAndHostIdentifier,
    PathIdentifier,
    StaticIdentifier,
)
from biandou.identifiers.interface import IdentifierKind


@pytest.mark.parametrize(
    ("identifier", "letter"),
    [
        (HeaderTokenIdentifier(), {"kind": "io.l5d.header.token", "header": "Host"}),
        (HeaderIdentifier(), {"kind": "io.l5d.header", "header": "l5d-name"}),
        (MethodAndHostIdentifier(), {"kind": "io.l5d.methodAndHost", "httpUriInDst": False}),
        (PathIdentifier(), {"kind": "io.l5d.path", "segments": 1, "consume": False}),
        (StaticIdentifier(path="web"), {"kind": "io.l5d.static", "path": "web"}),
    ],
)
def test_defaults_are_linkerds(identifier: IdentifierKind, letter: dict[str, object]) -> None:
    assert msgspec.to_builtins(identifier) == letter


@pytest.mark.parametrize("path", ["a//b", "a b", "\\xZZ"])
def test_a_static_path_must_be_one(path: str) -> None:
    with pytest.raises(ValueError, match="expected but"):
        StaticIdentifier(path=path)
