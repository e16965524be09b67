"""How this process fares, under the names that Linkerd's dashboards ask for (`jvm/…`, reference/linker.md §8.6)."""

from __future__ import annotations

import gc
import os
import resource
import time
from pathlib import Path
from typing import Any, Final

from biandou.telemeters.model import Counted

_PROC: Final = Path("/proc/self")
_STAT_START: Final = 21
_STAT_THREADS: Final = 19


class ProcessMetrics:
    """What /proc and the collector say; `close` when nobody reads it any more."""

    def __init__(self) -> None:
        self.started = _started()
        self._cycles = 0
        self._seconds = 0.0
        self._began: float | None = None
        gc.callbacks.append(self._collected)

    def close(self) -> None:
        """Stop watching the collector."""
        if self._collected in gc.callbacks:
            gc.callbacks.remove(self._collected)

    @property
    def uptime_ms(self) -> int:
        """How long this process has been running."""
        return max(0, int((time.time() - self.started) * 1000))

    def counted(self) -> Counted:
        """Give everything as it is now; times are milliseconds, memory bytes."""
        resident = int((_PROC / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return Counted(
            ("jvm",),
            gauges={
                "uptime": float(self.uptime_ms),
                "start_time": float(int(self.started * 1000)),
                "num_cpus": float(len(os.sched_getaffinity(0))),
                "thread/count": float(_stat_fields()[_STAT_THREADS]),
                "mem/current/used": float(resident),
                # One is the directory that is being read.
                "fd_count": float(len(os.listdir(_PROC / "fd")) - 1),
                "fd_limit": float(limit) if limit != resource.RLIM_INFINITY else float("inf"),
                "gc/cycles": float(self._cycles),
                "gc/msec": float(int(self._seconds * 1000)),
            },
        )

    def _collected(self, phase: str, _info: dict[str, Any]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        elif self._began is not None:
            self._seconds += time.perf_counter() - self._began
            self._cycles += 1
            self._began = None


def _started() -> float:
    """Give the start of this process in seconds since the epoch."""
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - uptime + float(_stat_fields()[_STAT_START]) / os.sysconf("SC_CLK_TCK")


def _stat_fields() -> list[str]:
    """Give the fields of proc_pid_stat(5), the state being number 2: the name before them may hold anything."""
    text = (_PROC / "stat").read_text()
    return ["", "", *text[text.rindex(")") + 1 :].split()]
