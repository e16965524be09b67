"""Where a program keeps what outlives it."""

from __future__ import annotations

import pytest

from biandou.clients.state_directory import state_directory


def test_the_state_directory_is_systemds_or_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/biandou:/var/lib/other")
    assert state_directory() == "/var/lib/biandou"
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", "/home/ann/state")
    assert state_directory() == "/home/ann/state/biandou"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/ann")
    assert state_directory() == "/home/ann/.local/state/biandou"
