"""Single values: ports, addresses, patterns."""

from __future__ import annotations

import pytest

from biandou.config.linker import parse
from biandou.errors import ConfigError


@pytest.mark.parametrize(
    ("written", "read"), [("127.0.0.1", "127.0.0.1"), ("'::1'", "::1"), ("'0:0:0:0:0:0:0:1'", "::1")]
)
def test_addresses_are_literals(written: str, read: str) -> None:
    config = parse(f"routers: [{{protocol: http, servers: [{{ip: {written}}}]}}]")
    assert config.routers[0].servers[0].ip == read


@pytest.mark.parametrize(
    "written", ["localhost", "127.1", "0x7f000001", "127.0.0.1:80", "'[::1]'", "300.0.0.1", "1", "''"]
)
def test_what_is_no_literal_is_no_address(written: str) -> None:
    with pytest.raises(ConfigError, match="is not an IP string literal"):
        parse(f"routers: [{{protocol: http, servers: [{{ip: {written}}}]}}]")


@pytest.mark.parametrize("port", [0, 1, 65535])
def test_ports_are_numbers_up_to_65535(port: int) -> None:
    assert parse(f"routers: [{{protocol: http, servers: [{{port: {port}}}]}}]").routers[0].servers[0].port == port
