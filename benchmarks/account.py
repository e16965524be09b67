"""What processes have used, read from /proc: CPU time with its user part, resident memory, system calls."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class ThreadTime:
    """CPU time of one thread, in seconds; `total` is exact, `user` and `system` are counted in ticks."""

    name: str
    total: float
    user: float
    system: float


@dataclass(frozen=True)
class CpuTime:
    """CPU time of some processes, in seconds, with its user part."""

    total: float
    user: float
    threads: dict[int, ThreadTime] = field(default_factory=dict)

    def since(self, earlier: CpuTime) -> CpuTime:
        """Give what was used between two readings."""
        threads = {
            number: ThreadTime(
                now.name,
                now.total - (before.total if (before := earlier.threads.get(number)) else 0.0),
                now.user - (before.user if before else 0.0),
                now.system - (before.system if before else 0.0),
            )
            for number, now in self.threads.items()
        }
        return _sum(threads)


def family(pid: int) -> list[int]:
    """Give a process and all its descendants."""
    found = [pid]
    for parent in found:
        for task in _tasks(parent):
            found.extend(int(child) for child in _read(Path(f"/proc/{parent}/task/{task}/children")).split())
    return found


def cpu_time(pid: int) -> CpuTime:
    """Read the CPU time of a process and its descendants."""
    threads: dict[int, ThreadTime] = {}
    for member in family(pid):
        for task in _tasks(member):
            place = Path(f"/proc/{member}/task/{task}")
            schedule, stat = _read(place / "schedstat").split(), _read(place / "stat")
            if not schedule or not stat:
                continue
            after_name = stat.rpartition(")")[2].split()
            threads[task] = ThreadTime(
                _read(place / "comm").strip(),
                int(schedule[0]) / 1e9,
                int(after_name[11]) / TICKS_PER_SECOND,
                int(after_name[12]) / TICKS_PER_SECOND,
            )
    return _sum(threads)


def resident_mib(pid: int) -> float:
    """Read the resident memory of a process and its descendants, in MiB; pages they share count once for each."""
    total = 0
    for member in family(pid):
        match = re.search(r"^VmRSS:\s+(\d+) kB", _read(Path(f"/proc/{member}/status")), re.MULTILINE)
        total += int(match[1]) if match else 0
    return total / 1024


def start_syscall_count(pid: int, seconds: float) -> subprocess.Popen[str] | None:
    """Begin to count the system calls of a process and its descendants; gives `None` where perf isn't installed."""
    if shutil.which("perf") is None:
        return None
    pids = ",".join(str(member) for member in family(pid))
    command = [
        "perf",
        "stat",
        "-x",
        ";",
        "-e",
        "raw_syscalls:sys_enter",
        "-p",
        pids,
        "--timeout",
        str(int(seconds * 1000)),
    ]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def syscall_count(counter: subprocess.Popen[str]) -> int | None:
    """Wait for the count; gives `None` if the kernel didn't let perf count."""
    _, printed = counter.communicate()
    match = re.search(r"^(\d+);", printed, re.MULTILINE)
    return int(match[1]) if match else None


def _sum(threads: dict[int, ThreadTime]) -> CpuTime:
    total = sum(thread.total for thread in threads.values())
    user, system = (sum(getattr(thread, part) for thread in threads.values()) for part in ("user", "system"))
    share = user / (user + system) if user + system else 0.0
    return CpuTime(total, total * share, threads)


def _tasks(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except FileNotFoundError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
