"""What the host lets the process use."""

import os
import resource
from pathlib import Path

import pytest

from biandou.linker.resources import cpu_quota, default_workers, raise_file_limit


def cgroup(tmp_path: Path, **limits: str) -> tuple[Path, Path]:
    """Make a cgroup tree `/system.slice/linker.service`; `limits` gives `cpu.max` of `root`, `slice` and `service`."""
    root = tmp_path / "cgroup"
    groups = {
        "root": root,
        "slice": root / "system.slice",
        "service": root / "system.slice" / "linker.service",
    }
    groups["service"].mkdir(parents=True)
    for name, text in limits.items():
        (groups[name] / "cpu.max").write_text(text)
    own = tmp_path / "own"
    own.write_text("0::/system.slice/linker.service\n")
    return root, own


@pytest.mark.parametrize(
    ("limits", "quota"),
    [
        ({}, None),
        ({"service": "max 100000\n"}, None),
        ({"service": "150000 100000\n"}, 1.5),
        ({"slice": "50000 100000\n", "service": "max 100000\n"}, 0.5),
        ({"slice": "50000 100000\n", "service": "200000 100000\n"}, 0.5),
        ({"service": "nonsense\n"}, None),
        ({"service": "100 0\n"}, None),
    ],
)
def test_the_tightest_quota_on_the_way_to_the_root_counts(
    tmp_path: Path, limits: dict[str, str], quota: float | None
) -> None:
    assert cpu_quota(*cgroup(tmp_path, **limits)) == quota


def test_without_a_cgroup_file_there_is_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path, tmp_path / "missing") is None


def test_cgroup_version_1_alone_gives_no_quota(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("4:cpu,cpuacct:/docker/abc\n")
    assert cpu_quota(tmp_path, own) is None


def test_workers_follow_affinity_and_a_quota_that_is_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2, 5})
    assert default_workers(*cgroup(tmp_path)) == 4
    (tmp_path / "b").mkdir()
    assert default_workers(*cgroup(tmp_path / "b", service="150000 100000")) == 2
    (tmp_path / "c").mkdir()
    assert default_workers(*cgroup(tmp_path / "c", service="10000 100000")) == 1


def test_the_limit_on_open_files_is_raised_to_the_hard_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lower = min(256, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lower, hard))
    try:
        assert raise_file_limit() == hard
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
