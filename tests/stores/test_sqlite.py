"""`io.biandou.sqlite`: the contract, its history, and a file that cannot be used."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from biandou.dtab import Dtab
from biandou.errors import StoreDown
from biandou.live import Failed, Ok
from biandou.stores.interface import HistoricStore, Remark, StoreKind
from biandou.stores.sqlite import SqliteStoreKind
from tests.stores.contract import ONE, THREE, TWO, DurableContract


class TestSqlite(DurableContract):
    @pytest.fixture
    def kind(self, tmp_path: Path) -> StoreKind:
        return SqliteStoreKind(path=str(tmp_path / "state" / "namerd.db"))

    async def test_every_version_is_kept_with_its_time_author_and_message(self, kind: StoreKind) -> None:
        async with self.opened(kind) as store:
            assert isinstance(store, HistoricStore)
            first = await store.create("web", ONE, Remark("ann", "begin"))
            await store.update("web", TWO, first, Remark("bob", "shift"))
            await store.delete("web", Remark("ann", "end"))
            await store.put("other", THREE)
        async with self.opened(kind) as store:
            assert isinstance(store, HistoricStore)
            revisions = await store.history("web")
            assert [revision.dtab for revision in revisions] == [None, TWO, ONE]
            assert [revision.remark for revision in revisions] == [
                Remark("ann", "end"),
                Remark("bob", "shift"),
                Remark("ann", "begin"),
            ]
            assert revisions[2].version == first
            assert revisions == sorted(revisions, key=lambda revision: revision.time or 0.0, reverse=True)
            assert await store.history("web", 1) == revisions[:1]
            assert await store.history("never") == []

    async def test_while_another_process_holds_the_file_changes_fail_and_reading_goes_on(
        self, kind: SqliteStoreKind
    ) -> None:
        async with self.opened(kind) as store:
            await store.create("web", ONE)
            other = sqlite3.connect(str(kind.path), isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreDown):
                await store.put("web", TWO)
            assert store.trouble is not None
            known = store.watch("web").sample()
            assert isinstance(known, Ok)
            assert known.value is not None
            assert known.value.dtab == ONE
            other.execute("ROLLBACK")
            other.close()
            await store.put("web", TWO)
            assert store.trouble is None

    async def test_no_change_is_acknowledged_that_goes_into_a_deleted_file(
        self, kind: SqliteStoreKind, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with self.opened(kind) as store:
            await store.create("web", ONE)
            Path(str(kind.path)).unlink()
            with pytest.raises(StoreDown, match="the file has been deleted"):
                await store.put("web", TWO)
            await asyncio.sleep(1.5)
            assert store.trouble is not None
            assert caplog.text.count("has been deleted") == 1, "once, not at each look"
            known = store.watch("web").sample()
            assert isinstance(known, Ok)
            assert known.value is not None
            assert known.value.dtab == ONE
            Path(str(kind.path)).touch()
            with pytest.raises(StoreDown, match="is another file now"):
                await store.put("web", TWO)

    async def test_a_dtab_that_somebody_broke_in_the_file_fails_alone(self, kind: SqliteStoreKind) -> None:
        async with self.opened(kind) as store:
            await store.create("web", ONE)
            await store.create("good", TWO)
        other = sqlite3.connect(str(kind.path))
        other.execute("UPDATE revision SET dtab = '/svc =' WHERE namespace = 'web'")
        other.commit()
        other.close()
        async with self.opened(kind) as store:
            await store.put("new", Dtab())
            assert isinstance(store.watch("web").sample(), Failed)
            assert isinstance(store.watch("good").sample(), Ok)

    async def test_a_file_that_is_no_database_keeps_it_from_starting(self, kind: SqliteStoreKind) -> None:
        path = Path(str(kind.path))
        path.parent.mkdir()
        path.write_text("this is no database, and it is long enough to be sure of that " * 20)
        store = kind.store()
        with pytest.raises(StoreDown, match="not a database"):
            await store.start()
        await store.stop()

    async def test_a_file_of_a_newer_schema_is_left_alone(self, kind: SqliteStoreKind) -> None:
        path = Path(str(kind.path))
        path.parent.mkdir()
        newer = sqlite3.connect(path)
        newer.execute("PRAGMA user_version = 2")
        newer.close()
        store = kind.store()
        with pytest.raises(StoreDown, match="newer biandou"):
            await store.start()
        await store.stop()


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no file"):
        SqliteStoreKind(path=str(tmp_path))
