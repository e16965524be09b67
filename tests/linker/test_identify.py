"""The identifiers' Python twins, against values computed with the original implementation."""

from __future__ import annotations

import json
from pathlib import Path as FilePath
from typing import Any

import msgspec
import pytest

from biandou.dtab import Path
from biandou.identifiers import http
from biandou.identifiers.connection import OriginalDstIdentifier
from biandou.identifiers.interface import IdentifierKind
from biandou.linker.identify import Identified, Request, Unidentified, identify

VECTORS = json.loads((FilePath(__file__).parents[1] / "vectors" / "naming_rooms.json").read_text())["vectors"]
KINDS: dict[str, type[IdentifierKind]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (
        http.HeaderIdentifier,
        http.HeaderTokenIdentifier,
        http.MethodAndHostIdentifier,
        http.PathIdentifier,
        http.StaticIdentifier,
    )
}


def made(written: dict[str, Any]) -> IdentifierKind:
    return msgspec.convert(written, KINDS[written["kind"]])


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["group"] == "identifier.http"], ids=lambda v: v["id"])
def test_requests_are_identified_as_the_reference_does(vector: dict[str, Any]) -> None:
    given, expect = vector["input"], vector["expect"]
    request = Request(given["method"], given["uri"], tuple(given["headers"].items()), given["version"])
    outcome = identify([made(kind) for kind in given["identifiers"]], Path.read(given["dstPrefix"]), request)
    if expect["identified"]:
        assert isinstance(outcome, Identified), outcome
        assert (str(outcome.name), outcome.request.uri) == (expect["name"], expect["uri"])
    else:
        assert isinstance(outcome, Unidentified)
        assert outcome.reason == expect.get("reason", expect.get("message"))


@pytest.mark.parametrize(
    ("kind", "request_", "expected"),
    [
        ({"kind": "io.l5d.static", "path": "a/b"}, Request(), "/svc/a/b"),
        ({"kind": "io.l5d.header.token"}, Request(headers=(("host", "Web:80"), ("Host", "b"))), "/svc/Web:80"),
        ({"kind": "io.l5d.path"}, Request(uri="http://h/a/b?c"), "/svc/a"),
        ({"kind": "io.l5d.path", "segments": 0}, Request(uri="/"), "/svc"),
        ({"kind": "io.l5d.methodAndHost"}, Request(headers=(("Host", "A"),)), "/svc/1.1/GET/a"),
    ],
)
def test_names_of_requests(kind: dict[str, Any], request_: Request, expected: str) -> None:
    outcome = identify([made(kind)], Path.of("svc"), request_)
    assert isinstance(outcome, Identified)
    assert str(outcome.name) == expected


def test_an_empty_segment_is_refused_and_asks_nobody_else() -> None:
    kinds = [made({"kind": "io.l5d.path"}), made({"kind": "io.l5d.static", "path": "a"})]
    outcome = identify(kinds, Path.of("svc"), Request(uri="//a"))
    assert isinstance(outcome, Unidentified)
    assert outcome.final


def test_an_unknown_version_has_no_name() -> None:
    outcome = identify([made({"kind": "io.l5d.methodAndHost"})], Path.of("svc"), Request(version="2.0"))
    assert outcome == Unidentified("Unknown HTTP version HTTP/2.0")


def test_a_request_is_named_by_where_its_connection_was_going() -> None:
    """One that nobody redirected is the next identifier's, as in the engine (engine/src/identify/connection.rs)."""
    kinds = [OriginalDstIdentifier(), made({"kind": "io.l5d.header.token"})]
    headers = (("Host", "web"),)
    for original, name in (
        (("10.0.0.7", 8080), "/svc/10.0.0.7/8080"),
        (("fd00::7", 80), "/svc/fd00::7/80"),
        (None, "/svc/web"),
    ):
        outcome = identify(kinds, Path.of("svc"), Request(headers=headers, original=original))
        assert isinstance(outcome, Identified)
        assert str(outcome.name) == name
    outcome = identify([OriginalDstIdentifier()], Path.of("svc"), Request(headers=headers))
    assert outcome == Unidentified("the connection was not redirected here")
