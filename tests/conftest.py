"""What every test begins with."""

from __future__ import annotations

import itertools

import pytest

from biandou.clients.kept import KEPT, Kept

_NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What was known in one test is no knowledge in the next: it is kept for the whole process, and in files."""
    monkeypatch.setattr(KEPT, "records", Kept().records)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / f"state-{next(_NUMBERS)}"))
