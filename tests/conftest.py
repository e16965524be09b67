"""What every test begins with."""

from __future__ import annotations

import pytest

from biandou.clients.kept import KEPT, Kept


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a registry said in one test is no knowledge in the next: that is kept for the whole process."""
    monkeypatch.setattr(KEPT, "records", Kept().records)
