"""`io.l5d.fs`: a dtab in a watched file."""

from __future__ import annotations

import logging
import os
from pathlib import Path as FilePath

import msgspec
import pytest

from biandou.dtab import Dtab, Leaf, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.interpreters.fs import FsInterpreterKind
from biandou.live import PENDING, Failed, Live, Ok, Source, State
from biandou.namers.all import Namers
from biandou.testing.observing import Observed


@pytest.fixture
def dtab_file(tmp_path: FilePath) -> FilePath:
    """A directory of its own holds the file, since directories are what is watched."""
    file = tmp_path / "names" / "dtab"
    file.parent.mkdir()
    file.write_text("/svc => /$/inet/127.0.0.1 ;\n")
    return file


def bind(file: FilePath, path: str, base: Live[Dtab] | None = None, local: str = "") -> Live[NameTree[Bound]]:
    kind = FsInterpreterKind(dtab_file=str(file))
    return kind.interpreter(base or Live.ok(Dtab()), Namers()).bind(Dtab.read(local), Path.read(path))


def client(state: State[NameTree[Bound]]) -> str | None:
    """Give the client name that a name came to, if it came to one."""
    if isinstance(state, Ok) and isinstance(state.value, Leaf):
        return str(state.value.value.id)
    return None


def replace(file: FilePath, text: str) -> None:
    """Put a new file in the old one's place, as careful editors and `mv` do."""
    beside = file.with_name("beside")
    beside.write_text(text)
    os.replace(beside, file)


async def test_names_are_bound_with_the_dtab_of_the_file(dtab_file: FilePath) -> None:
    with Observed(bind(dtab_file, "/svc/8080")) as name:
        assert client(name.now) == "/$/inet/127.0.0.1/8080"


@pytest.mark.parametrize("in_place", [False, True])
async def test_an_edit_is_in_force_at_once(dtab_file: FilePath, in_place: bool) -> None:
    with Observed(bind(dtab_file, "/svc/8080")) as name:
        changed = "/svc => /$/inet/127.0.0.2 ;"
        if in_place:
            dtab_file.write_text(changed)
        else:
            replace(dtab_file, changed)
        await name.until(lambda state: client(state) == "/$/inet/127.0.0.2/8080")


async def test_the_routers_own_dtab_and_then_the_requests_override_the_file(dtab_file: FilePath) -> None:
    base = Source[Dtab](Ok(Dtab.read("/svc => /$/inet/127.0.0.3 ;")))
    with Observed(bind(dtab_file, "/svc/8080", base)) as name:
        assert client(name.now) == "/$/inet/127.0.0.3/8080"
        base.set(Dtab())
        assert client(name.now) == "/$/inet/127.0.0.1/8080"
    with Observed(bind(dtab_file, "/svc/8080", base, local="/svc => /$/inet/127.0.0.4 ;")) as name:
        assert client(name.now) == "/$/inet/127.0.0.4/8080"


async def test_a_mistake_in_the_file_is_logged_and_the_last_good_dtab_stays(
    dtab_file: FilePath, caplog: pytest.LogCaptureFixture
) -> None:
    with Observed(bind(dtab_file, "/svc/8080")) as name, caplog.at_level(logging.WARNING, "biandou"):
        replace(dtab_file, "/svc => /$/inet/127.0.0.2 ;\n/svc/web => (")
        replace(dtab_file, "/other => /$/inet/127.0.0.2 ; /svc => /$/inet/127.0.0.5 ;")
        await name.until(lambda state: client(state) == "/$/inet/127.0.0.5/8080")
        dtab_file.write_text("/svc => (")
        dtab_file.unlink()
        replace(dtab_file, "/svc => /$/inet/127.0.0.6 ;")
        await name.until(lambda state: client(state) == "/$/inet/127.0.0.6/8080")
        assert [client(state) for state in name.states if client(state) is None] == []


async def test_the_log_names_file_line_and_column_of_a_mistake(
    dtab_file: FilePath, caplog: pytest.LogCaptureFixture
) -> None:
    dtab_file.write_text("/svc => /a ;\n/svc/web => (")
    with caplog.at_level(logging.WARNING, "biandou"), Observed(bind(dtab_file, "/svc/8080")) as name:
        assert isinstance(name.now, Failed), "before the first good dtab a mistake fails the names"
        assert f"{dtab_file}:2:" in str(name.now.error)
        assert f"{dtab_file}:2:" in caplog.text
        replace(dtab_file, "/svc => /$/inet/127.0.0.1 ;")
        await name.until(lambda state: client(state) == "/$/inet/127.0.0.1/8080")


async def test_bytes_that_are_no_text_are_a_mistake(dtab_file: FilePath) -> None:
    dtab_file.write_bytes(b"/svc => \xff ;")
    with Observed(bind(dtab_file, "/svc/8080")) as name:
        assert isinstance(name.now, Failed)
        assert "is not UTF-8 text (byte 8)" in str(name.now.error)


async def test_while_the_file_is_gone_names_wait_for_it(dtab_file: FilePath) -> None:
    binding = bind(dtab_file, "/svc/8080")
    dtab_file.unlink()
    with Observed(binding) as name:
        assert name.now is PENDING
        dtab_file.write_text("/svc => /$/inet/127.0.0.1 ;")
        await name.until(lambda state: client(state) == "/$/inet/127.0.0.1/8080")


def test_the_file_must_exist_when_the_configuration_is_read(tmp_path: FilePath) -> None:
    with pytest.raises(msgspec.ValidationError, match="is not a file"):
        msgspec.convert({"kind": "io.l5d.fs", "dtabFile": str(tmp_path / "none")}, FsInterpreterKind)
    with pytest.raises(msgspec.ValidationError, match="is not a file"):
        msgspec.convert({"kind": "io.l5d.fs", "dtabFile": str(tmp_path)}, FsInterpreterKind)
