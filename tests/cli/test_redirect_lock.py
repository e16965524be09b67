"""Only one `biandou redirect install` holds rules in a network namespace, and `remove` ends it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from biandou.cli.redirect_kernel import RedirectError
from biandou.cli.redirect_lock import alone, end_holder

HOLDER = """
import sys, time
from pathlib import Path
from biandou.cli.redirect_lock import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(run: Path) -> subprocess.Popen[str]:
    """Start a process that holds the place, and ends at the first SIGTERM."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(run)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_one_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(RedirectError, match=rf"process {process.pid} holds rules here already"), alone(tmp_path):
            pass
        process.kill()
    with alone(tmp_path):
        pass
    assert [*tmp_path.iterdir()] == [], "nothing is left behind"


def test_whoever_holds_the_place_is_ended(tmp_path: Path) -> None:
    assert end_holder(tmp_path) is False
    with holder(tmp_path) as process:
        assert end_holder(tmp_path) is True
        assert process.wait(10) != 0
        assert [*tmp_path.iterdir()] != [], "it had no time to take its file away"
    assert end_holder(tmp_path) is False, "a file that a killed one has left is nobody"
    assert [*tmp_path.iterdir()] == []


def test_one_that_does_not_end_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        stopped = subprocess.run(["kill", "-STOP", str(process.pid)], check=True)
        assert stopped.returncode == 0
        with pytest.raises(RedirectError, match="does not end"):
            end_holder(tmp_path, 0.1)
        process.kill()


def test_where_there_is_no_place_for_it_the_reason_is_told(tmp_path: Path) -> None:
    with pytest.raises(RedirectError, match="No such file"), alone(tmp_path / "nowhere"):
        pass
