"""Kinds of other packages: found by entry points, loaded when named, refused when they clash."""

from __future__ import annotations

import importlib.metadata
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from biandou.config.linker import parse
from biandou.errors import ConfigError
from biandou.kinds import Register
from biandou.namers.fs import FsNamerKind
from biandou.namers.interface import NamerKind
from biandou.plugins import PluggableRegister
from biandou.standard import ROOMS


class NomadNamerKind(NamerKind, frozen=True, kw_only=True, tag="com.example.nomad"):
    """A namer of a third party that has to be switched on."""

    needs_experimental = True
    address: str = "localhost"


class NotItsName(NamerKind, frozen=True, kw_only=True, tag="com.example.other"):
    """A class whose tag is not the entry point's name."""


def offer(monkeypatch: pytest.MonkeyPatch, **values: str) -> PluggableRegister[Any]:
    """Give a register of namers beside which these entry points are installed; `_` stands for `.`."""
    entries = EntryPoints(EntryPoint(name.replace("_", "."), value, "biandou.namers") for name, value in values.items())
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: entries.select(group=group))
    return PluggableRegister("namers", (FsNamerKind,), planned=("io.l5d.consul",))


HERE = __name__


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "nomad_plugin", sys.modules[HERE])


def configuration(namer: str) -> str:
    return f"namers: [{namer}]\nrouters: [{{protocol: http, servers: [{{}}]}}]"


def registers(register: Register[Any]) -> dict[str, Register[Any]]:
    return {**ROOMS, "namers": register}


def test_a_third_partys_kind_is_read_like_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    register = offer(monkeypatch, com_example_nomad="nomad_plugin:NomadNamerKind")
    text = configuration("{kind: com.example.nomad, address: here, experimental: true}")
    (namer,) = parse(text, registers=registers(register)).namers
    assert namer == NomadNamerKind(address="here", experimental=True)
    assert register.names == ["com.example.nomad", "io.l5d.fs"]


def test_an_experimental_kind_must_be_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    register = offer(monkeypatch, com_example_nomad="nomad_plugin:NomadNamerKind")
    with pytest.raises(ConfigError) as caught:
        parse(configuration("{kind: com.example.nomad}"), "f", registers=registers(register))
    assert str(caught.value) == (
        "f:1:10: namers[0].experimental: The /#/com.example.nomad namer is experimental and must be explicitly enabled "
        "by setting the `experimental' parameter to `true'."
    )


def test_packages_are_asked_only_for_what_is_not_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    register = offer(monkeypatch)
    monkeypatch.delattr(importlib.metadata, "entry_points")
    assert register.get("io.l5d.fs") is FsNamerKind


def test_a_built_in_kind_cannot_be_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    register = offer(monkeypatch, io_l5d_fs="nomad_plugin:NomadNamerKind")
    with pytest.raises(
        ConfigError, match=r"namers: two classes claim the kind io\.l5d\.fs: biandou\.namers\.fs:FsNamer"
    ):
        register.get("other")


def test_two_packages_cannot_claim_one_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    register = offer(monkeypatch)
    entries = EntryPoints(EntryPoint("x", value, "biandou.namers") for value in ("a:A", "b:B"))
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: entries.select(group=group))
    with pytest.raises(ConfigError, match="two classes claim the kind x: a:A and b:B"):
        register.get("x")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_module:X", "the kind x (no_such_module:X) cannot be loaded: No module named 'no_such_module'"),
        ("nomad_plugin:NotItsName", "nomad_plugin:NotItsName is no class of the kind x"),
        ("nomad_plugin:HERE", "nomad_plugin:HERE is no class of the kind x"),
    ],
)
def test_a_kind_that_cannot_be_loaded_is_a_mistake_in_its_place(
    monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    register = offer(monkeypatch, x=value)
    with pytest.raises(ConfigError) as caught:
        parse(configuration("{kind: x}"), "f", registers=registers(register))
    assert str(caught.value) == f"f:1:17: namers[0].kind: namers: {message}"


def test_a_kind_that_linkerd_has_may_come_from_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    class ConsulNamerKind(NamerKind, frozen=True, kw_only=True, tag="io.l5d.consul"):
        """A third party's Consul."""

    import sys

    monkeypatch.setattr(sys.modules[HERE], "Consul", ConsulNamerKind, raising=False)
    register = offer(monkeypatch, io_l5d_consul="nomad_plugin:Consul")
    assert register.get("io.l5d.consul") is ConsulNamerKind
