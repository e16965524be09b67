"""`io.l5d.inMemory`: the contract, and the namespaces it starts with."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from biandou.dtab import Dtab
from biandou.live import Ok
from biandou.stores.in_memory import InMemoryStoreKind
from biandou.stores.interface import StoreKind, Versioned
from tests.stores.contract import StoreContract


class TestInMemory(StoreContract):
    @pytest.fixture
    def kind(self, tmp_path: Path) -> StoreKind:
        return InMemoryStoreKind()


def test_it_starts_with_the_configured_namespaces_at_version_one() -> None:
    store = InMemoryStoreKind(namespaces={"default": "/svc => /#/io.l5d.fs ;"}).store()
    assert store.namespaces().sample() == Ok(frozenset({"default"}))
    version = base64.b64decode("AAAAAAAAAAE=")
    assert store.watch("default").sample() == Ok(Versioned(Dtab.read("/svc=>/#/io.l5d.fs"), version))


def test_a_dtab_that_cannot_be_read_is_a_mistake_that_names_its_namespace() -> None:
    with pytest.raises(ValueError, match="the dtab of broken: "):
        InMemoryStoreKind(namespaces={"broken": "/svc = /x"})
