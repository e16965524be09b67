"""Whole files: what is taken, and for each mistake exactly what is said about it."""

from __future__ import annotations

import re
from pathlib import Path as FilePath

import msgspec
import pytest

from biandou.config.linker import LinkerConfig, load, parse
from biandou.config.router import HttpRouter
from biandou.errors import ConfigError

ALL_KEYS = (FilePath(__file__).parent / "all_keys.yaml").read_text()
HEAD = "routers:\n- protocol: http\n  servers: [{port: 4140}]\n"


def test_the_smallest_file_has_all_defaults() -> None:
    config = parse("routers: [{protocol: http, servers: [{}]}]")
    (router,) = config.routers
    assert isinstance(router, HttpRouter)
    (server,) = router.servers
    assert (router.name, str(router.dst_prefix), str(router.dtab)) == ("http", "/svc", "")
    assert (server.ip, server.port, server.max_call_depth, server.clear_context) == ("127.0.0.1", 4140, 1000, False)
    assert (router.binding_timeout_ms, router.max_headers_kb, router.max_initial_line_kb) == (10_000, 8, 4)
    assert (config.admin.ip, config.admin.port, config.admin.shutdown_grace_ms) == ("127.0.0.1", 9990, 10_000)
    assert msgspec.to_builtins(router.identifier) == ({"kind": "io.l5d.header.token", "header": "Host"},)


def test_every_supported_key_is_taken(tmp_path: FilePath) -> None:
    config = parse(ALL_KEYS.replace("ROOT", str(tmp_path)))
    (router,) = config.routers
    assert isinstance(router, HttpRouter)
    (server,) = router.servers
    assert (router.label, str(router.dst_prefix), str(router.dtab)) == ("all", "/http", "/http=>/#/files")
    assert [kind.__struct_config__.tag for kind in router.identifier] == [
        "io.l5d.methodAndHost",
        "io.l5d.path",
        "io.l5d.header",
        "io.l5d.header.token",
        "io.l5d.static",
    ]
    assert (server.ip, server.timestamp_header, server.socket_options.backlog) == ("::1", "x-request-start", 3)
    assert (server.server_session.life_time_ms, server.server_session.idle_time_ms) == (5, 6)
    assert [namer.prefix for namer in config.namers] == ["/files", "/r"]
    assert len(config.namers[0].transformers) == 5
    assert len(router.interpreter.transformers) == 1
    assert config.admin.security is not None
    assert config.admin.security.path_blacklist == ("/config.json",)
    assert config.usage.org_id == "us"


def test_json_is_taken_as_well() -> None:
    assert parse('{"routers": [{"protocol": "http", "servers": [{"port": 1}]}]} ').routers[0].servers[0].port == 1


def test_null_means_the_default() -> None:
    config = parse("routers: [{protocol: http, label: ~, dtab: null, client: , servers: [{port: ~}]}]\nadmin:\nnamers:")
    assert config == msgspec.structs.replace(
        parse("routers: [{protocol: http, servers: [{}]}]"), written=config.written
    )


def test_the_default_kind_of_client_and_service_is_global() -> None:
    router = parse(HEAD + "  client: {connectTimeoutMs: 5}\n  service: {totalTimeoutMs: '7'}").routers[0]
    assert [keys.connect_timeout_ms for keys in router.client.applying(None)] == [5]
    assert [keys.total_timeout_ms for keys in router.service.applying(None)] == [7]


def test_two_servers_may_share_a_port_on_different_addresses_and_port_zero() -> None:
    text = "routers: [{protocol: http, servers: [{port: 1}, {port: 1, ip: 0.0.0.0}, {port: 0}, {port: 0}]}]"
    assert len(parse(text).routers[0].servers) == 4


def test_a_file_is_loaded_by_its_path(tmp_path: FilePath) -> None:
    file = tmp_path / "linker.yaml"
    file.write_text(HEAD)
    assert isinstance(load(file), LinkerConfig)
    file.write_text("routers: x")
    with pytest.raises(ConfigError, match=re.escape(f"{file}:1:10: routers: expected a list")):
        load(str(file))
