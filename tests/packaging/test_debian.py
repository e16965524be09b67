"""The Debian package that `make deb` has built installs, works at once, is upgraded, and goes without a trace."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted((ROOT / "dist").glob("biandou_*.deb"))

needs_package = pytest.mark.skipif(not PACKAGES, reason="no dist/biandou_*.deb: `make deb` builds it")


def said(*command: str) -> str:
    """Run a program that has to succeed, and give its output."""
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, f"{' '.join(command)}:\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@needs_package
def test_it_runs_where_it_is_unpacked_with_its_own_libraries_only(tmp_path: Path) -> None:
    said("dpkg", "--extract", str(PACKAGES[-1]), str(tmp_path))
    python = tmp_path / "usr" / "lib" / "biandou" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"the package is for {os.readlink(python)}, which is not installed")
    config = tmp_path / "linkerd.yaml"
    text = (tmp_path / "etc" / "biandou" / "linkerd.yaml").read_text()
    config.write_text(text.replace("/etc/biandou", f"{tmp_path}/etc/biandou"))
    program = (str(python), "-I", str(tmp_path / "usr" / "bin" / "biandou"))
    assert said(*program, "linker", "--validate", str(config)) == ""
    found = said(str(python), "-I", "-c", "import sys, biandou, grpc; print(sys.path, biandou.__file__, grpc.__file__)")
    assert "/dist-packages" not in found
    assert found.count(str(tmp_path)) == 3


@needs_package
def test_what_belongs_to_whom_and_what_dpkg_has_to_know() -> None:
    fields = said("dpkg-deb", "--field", str(PACKAGES[-1]))
    assert re.search(r"^Depends: .*\bpython3\.\d+$", fields, re.MULTILINE)
    listed = said("dpkg-deb", "--contents", str(PACKAGES[-1])).splitlines()
    assert [line for line in listed if " root/root " not in line] == []
    assert [line for line in listed if re.match(r"-.{7}w|d.{7}w|.{3}s|.{6}s", line)] == [], "for others to write"
    places = {line.split(maxsplit=5)[5] for line in listed}
    assert {"./etc/biandou/linkerd.yaml", "./usr/bin/biandou", "./usr/share/doc/biandou/copyright"} <= places
    units = {place.rpartition("/")[2] for place in places if place.startswith("./usr/lib/systemd/system/b")}
    assert units == {"biandou-linker.service", "biandou-linker.socket", "biandou-namerd.service"}
    conffiles = said("dpkg-deb", "--info", str(PACKAGES[-1]), "conffiles").split()
    assert conffiles == ["/etc/biandou/linkerd.yaml", "/etc/biandou/namerd.yaml"]


@needs_package
def test_its_pages_lead_to_pages_that_are_there(tmp_path: Path) -> None:
    """And what units and configurations say of them is true."""
    said("dpkg", "--extract", str(PACKAGES[-1]), str(tmp_path))
    pages = sorted((tmp_path / "usr/share/doc/biandou").rglob("*.md"))
    assert {"deployment.md", "io.l5d.fs.md", "differences.md"} <= {page.name for page in pages}
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#:\s]+)[)#]", page.read_text())]
    assert len(links) > 100
    assert [f"{page}: {link}" for page, link in links if not (page.parent / link).exists()] == []
    texts = [*(tmp_path / "usr/lib/systemd/system").iterdir(), *(tmp_path / "etc/biandou").glob("*.yaml")]
    places = {place for text in texts for place in re.findall(r"/usr/share/doc/[\w/.-]*\w", text.read_text())}
    assert len(places) == 2
    assert [place for place in sorted(places) if not (tmp_path / place[1:]).exists()] == []


@needs_package
def test_the_licenses_of_what_is_linked_into_the_engine_are_there(tmp_path: Path) -> None:
    said("dpkg", "--extract", str(PACKAGES[-1]), str(tmp_path))
    text = gzip.decompress((tmp_path / "usr/share/doc/biandou/crates.gz").read_bytes()).decode()
    linked = said(
        *("cargo", "tree", "--locked", "--package", "biandou-boundary", "--edges", "normal,no-proc-macro"),
        *("--prefix", "none", "--manifest-path", str(ROOT / "Cargo.toml")),
    )
    crates = {" ".join(line.split()[:2]) for line in linked.splitlines() if "(/" not in line}
    assert len(crates) > 10
    assert [crate for crate in sorted(crates) if f"{crate} (" not in text] == []
    assert "Permission is hereby granted, free of charge" in text
    assert "crates.gz" in (tmp_path / "usr/share/doc/biandou/copyright").read_text()


@needs_package
@pytest.mark.skipif(os.geteuid() != 0, reason="to install a package on a copy of this machine needs root")
def test_it_is_installed_used_upgraded_removed_and_purged(tmp_path: Path) -> None:
    probe = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child")
    allowed = subprocess.run((*probe, "true"), capture_output=True, text=True, check=False)
    if allowed.returncode != 0:
        pytest.skip(f"namespaces are refused: {allowed.stderr.strip()}")
    ran = subprocess.run(
        (*probe, str(Path(__file__).parent / "life.sh"), str(PACKAGES[-1]), str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    steps = dict(re.findall(r"^== (\w+)\n(.*?)(?=^== |\Z)", ran.stdout, re.MULTILINE | re.DOTALL))
    assert list(steps) == ["install", "linker", "namerd", "upgrade", "remove", "again", "purge"]
    assert re.search(r"uid=\d+\(biandou\) gid=\d+\(biandou\)", steps["install"])
    assert "it works\n" in steps["linker"]
    assert "/svc  => /#/io.l5d.fs ;" in steps["namerd"]
    assert "# mine\n" in steps["upgrade"], "what the administrator wrote stays"
    assert "namerd.db\n" in steps["upgrade"]
    assert "# mine\n" in steps["remove"]
    invoked = "systemd: start biandou-linker.socket biandou-linker.service\n"
    restarted = "systemd: try-restart biandou-namerd.service biandou-linker.service\n"
    # What systemd was asked for, in a row: installed for the first time, upgraded, removed, installed again.
    assert (invoked in steps["install"], restarted in steps["install"]) == (True, False)
    assert (invoked in steps["upgrade"], restarted in steps["upgrade"]) == (False, True)
    assert "systemd: stop biandou-linker.service biandou-linker.socket biandou-namerd.service\n" in steps["remove"]
    assert (invoked in steps["again"], restarted in steps["again"]) == (True, False)
    assert "# mine\n" in steps["again"]


needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@needs_analyze
@pytest.mark.parametrize("name", ["biandou-linker.service", "biandou-namerd.service"])
def test_a_unit_is_understood_and_leaves_little_to_attack(name: str, tmp_path: Path) -> None:
    for unit in (ROOT / "packaging" / "systemd").iterdir():
        # It asks whether the program is there.
        (tmp_path / unit.name).write_text(unit.read_text().replace("/usr/bin/biandou", "/bin/true"))
    verified = subprocess.run(
        ("systemd-analyze", "verify", "--man=no", str(tmp_path / name)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "biandou" not in verified.stderr, verified.stderr
    # 10 is a service without protection; what may be at most is given in tenths.
    said("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", str(tmp_path / name))


@needs_analyze
def test_the_unit_that_the_guide_has_for_redirect_is_understood(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "guides" / "transparent.md").read_text()
    [text] = re.findall(r"^```ini\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    unit = tmp_path / "biandou-redirect.service"
    unit.write_text(text.replace("/usr/bin/biandou", "/bin/true"))
    verified = subprocess.run(
        ("systemd-analyze", "verify", "--man=no", str(unit)), capture_output=True, text=True, timeout=60, check=False
    )
    assert "biandou" not in verified.stderr, verified.stderr


def test_both_programs_may_write_their_state_and_their_access_logs() -> None:
    for name in ("biandou-linker.service", "biandou-namerd.service"):
        unit = (ROOT / "packaging" / "systemd" / name).read_text().splitlines()
        assert {"StateDirectory=biandou", "LogsDirectory=biandou"} <= {*unit}, name


def test_every_server_of_the_default_configuration_has_its_socket() -> None:
    text = (ROOT / "packaging" / "etc" / "linkerd.yaml").read_text()
    servers = re.findall(r"^  - ip: (\S+)\n    port: (\d+)$", text, re.MULTILINE)
    socket = (ROOT / "packaging" / "systemd" / "biandou-linker.socket").read_text()
    assert re.findall(r"^ListenStream=(.*):(\d+)$", socket, re.MULTILINE) == servers
    assert len(servers) == 1
