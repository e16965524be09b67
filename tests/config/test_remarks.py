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
