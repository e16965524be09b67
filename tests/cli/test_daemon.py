"""What a program that stays says when it fails, before and after it has come up."""

from __future__ import annotations

from pathlib import Path

import pytest

from biandou.cli.daemon import EXIT_FAILED, run_daemon
from biandou.cli.linker_flags import parse_flags


class _Failing:
    def __init__(self, *, started: bool) -> None:
        self.started = started

    async def run(self) -> int:
        raise RuntimeError("the disk is full")


@pytest.mark.parametrize("started", [False, True])
def test_only_a_failure_before_the_start_is_told_as_one_to_start(tmp_path: Path, *, started: bool) -> None:
    log = tmp_path / "log"
    flags = parse_flags([f"-log.output={log}", "linkerd.yaml"])
    assert run_daemon("linker", flags, "hello", lambda: _Failing(started=started)) == EXIT_FAILED
    told = log.read_text()
    assert ("cannot start: the disk is full" in told) is not started
    assert ("failed while it ran: RuntimeError: the disk is full" in told) is started
