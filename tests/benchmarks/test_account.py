"""CPU time and memory of a process are those that it used, its children's included."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks import account

BUSY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; block = b'x' * (20 << 20); time.sleep(60)"])
end = time.process_time() + 0.3
while time.process_time() < end: pass
sys.stdout.write("done\\n"); sys.stdout.flush()
sys.stdin.read()
child.kill(); child.wait()
"""


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has computed for 0.3 s and has a child that holds 20 MiB."""
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        yield process


def test_the_time_that_a_process_computed_is_counted(busy: subprocess.Popen[bytes]) -> None:
    used = account.cpu_time(busy.pid)
    assert 0.3 <= used.total < 5
    assert 0 < used.user <= used.total
    assert used.since(used).total == 0


def test_a_family_is_a_process_and_its_descendants(busy: subprocess.Popen[bytes]) -> None:
    members = account.family(busy.pid)
    assert members[0] == busy.pid
    assert len(members) == 2
    assert account.resident_mib(busy.pid) > 20


def test_a_process_that_has_ended_has_used_nothing() -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    assert account.cpu_time(done.pid).total == 0
    assert account.resident_mib(done.pid) == 0
    assert os.getpid() in account.family(os.getpid())
