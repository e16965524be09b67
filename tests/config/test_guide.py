"""The guide to the configuration file names every key, and what it shows is taken."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Annotated, Any, get_args, get_origin

import msgspec
import pytest

from biandou.config.linker import LinkerConfig, parse
from biandou.config.plan import Letter
from biandou.config.router import HttpRouter, TcpRouter
from biandou.config.schema import keys
from biandou.kinds import Kind

GUIDE = (FilePath(__file__).parents[2] / "docs" / "guides" / "configuration.md").read_text()

# Refused as a whole: what is in it is told when it is built.
REFUSED = {"kind"}


def structs(hint: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        if not issubclass(hint, Kind | Letter):
            yield hint
    else:
        for part in get_args(hint) if get_origin(hint) is not Annotated else get_args(hint)[:1]:
            yield from structs(part)


def known_keys(struct: type[msgspec.Struct]) -> Iterator[str]:
    for key, field in keys(struct).items():
        yield key
        if key not in REFUSED:
            for inner in structs(field.hint):
                yield from known_keys(inner)


@pytest.mark.parametrize("key", sorted({*known_keys(LinkerConfig), *known_keys(HttpRouter), *known_keys(TcpRouter)}))
def test_every_key_is_named(key: str) -> None:
    assert f"`{key}`" in GUIDE


def test_the_walk_reaches_the_deepest_keys() -> None:
    assert {"idleTtlSecs", "pathBlacklist", "maxWaiters", "backlog", "orgId", "prefix"} <= {
        *known_keys(LinkerConfig),
        *known_keys(HttpRouter),
    }


def test_what_it_shows_is_taken() -> None:
    blocks = re.findall(r"^```yaml\n((?:servers|client):.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        servers = "" if block.startswith("servers:") else "  servers: [{}]\n"
        parse("routers:\n- protocol: http\n" + servers + textwrap.indent(block, "  "))
