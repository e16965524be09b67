"""What the host lets this process use: CPUs and file descriptors."""

from __future__ import annotations

import math
import os
import resource
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def default_workers(root: Path = CGROUP_ROOT, own: Path = OWN_CGROUP) -> int:
    """Give how many CPUs this process may use: its affinity, and no more than its cgroup's quota, rounded up."""
    allowed = len(os.sched_getaffinity(0))
    quota = cpu_quota(root, own)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def cpu_quota(root: Path = CGROUP_ROOT, own: Path = OWN_CGROUP) -> float | None:
    """Give the smallest `cpu.max` between our cgroup (version 2) and the root, in CPUs; `None` is no limit."""
    quotas = [quota for group in _groups(root, own) if (quota := _read_cpu_max(group / "cpu.max")) is not None]
    return min(quotas, default=None)


def _groups(root: Path, own: Path) -> list[Path]:
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    # Version 2 is the line `0::/path`; inside a container's cgroup namespace the path is `/`.
    path = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    if path is None:
        return []
    group = root / path.lstrip("/")
    return [group, *(parent for parent in group.parents if parent == root or root in parent.parents)]


def _read_cpu_max(file: Path) -> float | None:
    """Read `<quota> <period>` in microseconds; `max` is no limit (kernel's cgroup-v2.rst, "cpu.max")."""
    try:
        quota, period = file.read_text().split()
        return None if quota == "max" or int(period) <= 0 else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def raise_file_limit() -> int:
    """Raise the limit on open files to what the host allows at most; gives the limit that now holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        return soft
    return hard
