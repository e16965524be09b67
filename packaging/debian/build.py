"""Builds the Debian package: `python packaging/debian/build.py dist/biandou-….whl dist` (`make deb` does all of it).

The wheel and the locked dependencies go into a virtual environment under /usr/lib/biandou, of the Debian Python that is
installed here; this needs dpkg-deb, and the package index for the dependencies. Root is not needed.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from email.utils import formatdate
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGING: Final = ROOT / "packaging"
SCRIPTS: Final = ("postinst", "prerm", "postrm")
PAGES: Final = ("docs/guides", "docs/kinds", "docs/differences.md", "examples")
"""What is in the package's documentation, as it lies here, so that links between pages lead where they should."""
LICENSES: Final = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)([-._].*)?", re.IGNORECASE)
"""The files in which crates have their licenses."""

COPYRIGHT: Final = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: biandou

Files: *
Copyright: 2026 The Biandou authors
License: Apache-2.0
 On Debian systems the text of this license is in /usr/share/common-licenses/Apache-2.0.
 .
 The libraries under /usr/lib/biandou have licenses of their own, which are beside them (*.dist-info). Those of the
 Rust crates in the engine are in /usr/share/doc/biandou/crates.gz.
"""

OVERRIDES: Final = """\
# Compiled for the one Python that the libraries are for: who runs them can not write there.
biandou: package-installs-python-pycache-dir
biandou: absolute-symlink-in-top-level-folder
# The libraries are those of the lock, as their authors built them.
biandou: embedded-library
biandou: unstripped-binary-or-object
# A service that was stopped stays so, which deb-systemd-invoke has no word for.
biandou: maintainer-script-calls-systemctl
# There is no Debian maintainer yet.
biandou: bogus-mail-host
biandou: bogus-mail-host-in-debian-changelog
biandou: initial-upload-closes-no-bugs
# `biandou --help` and the pages in /usr/share/doc/biandou.
biandou: no-manual-page
# The virtual environment's.
biandou: unusual-interpreter
"""

DEBIAN_CHANGES: Final = """\
biandou ({version}) unstable; urgency=medium

  * The package of this version: changelog.gz says what is in it.

 -- The Biandou authors <biandou@localhost>  {date}
"""


def main() -> None:
    """Build the package that the command line asks for, and print its place."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path, help="the wheel of biandou")
    parser.add_argument("into", type=Path, help="the directory that gets the package")
    parser.add_argument("--python", type=Path, default=Path("/usr/bin/python3"), help="Debian's Python")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="biandou-deb-") as temporary:
        stage = Path(temporary) / "biandou"
        stage.mkdir(mode=0o755)
        python = options.python.resolve()
        _environment(stage, python, options.wheel)
        _files(stage)
        _control(stage, python)
        version, architecture = _version(), _said("dpkg", "--print-architecture")
        package = options.into / f"biandou_{version}_{architecture}.deb"
        options.into.mkdir(exist_ok=True)
        _run("dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(stage), str(package))
    sys.stdout.write(f"{package}\n")


def _environment(stage: Path, python: Path, wheel: Path) -> None:
    """Make the virtual environment, as `venv` would at its place on the host that installs the package."""
    home = stage / "usr" / "lib" / "biandou"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").symlink_to(python)
    version = _said(str(python), "-c", "import platform; print(platform.python_version())")
    (home / "pyvenv.cfg").write_text(
        f"home = {python.parent}\ninclude-system-site-packages = false\nversion = {version}\n"
    )
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--quiet", "--no-compile"]
    _run(*pip, "--only-binary", ":all:", "--require-hashes", "--requirement", str(ROOT / "requirements.lock"))
    _run(*pip, "--no-deps", str(wheel))
    for script in (home / "bin").iterdir():
        # They name the directory in which we have built.
        if script.name != "python":
            script.unlink()
    # Where packages came from is this machine's matter.
    for file in home.rglob("direct_url.json"):
        file.unlink()
    # The user who runs it can't write there: it is compiled now, with the paths that the files will have.
    _run(str(home / "bin" / "python"), "-m", "compileall", "-q", "-s", str(stage), "-p", "/",
         "--invalidation-mode", "unchecked-hash", str(home / "lib"))  # fmt: skip


def _files(stage: Path) -> None:
    """Put everything beside the environment where Debian has it."""
    _copy(PACKAGING / "debian" / "biandou", stage / "usr/bin/biandou", 0o755)
    for unit in sorted((PACKAGING / "systemd").iterdir()):
        _copy(unit, stage / "usr/lib/systemd/system" / unit.name)
    for name in _configurations():
        _copy(PACKAGING / "etc" / name, stage / "etc/biandou" / name)
    (stage / "etc/biandou/disco").mkdir()
    pages = stage / "usr/share/doc/biandou"
    _pages(pages)
    (pages / "copyright").write_text(COPYRIGHT)
    _compress((ROOT / "CHANGELOG.md").read_text(), pages / "changelog.gz")
    _compress(_crate_licenses(), pages / "crates.gz")
    _compress(DEBIAN_CHANGES.format(version=_version(), date=formatdate()), pages / "changelog.Debian.gz")
    overrides = stage / "usr/share/lintian/overrides/biandou"
    overrides.parent.mkdir(parents=True)
    overrides.write_text(OVERRIDES)
    for place in [stage, *stage.rglob("*")]:
        if not place.is_symlink():
            executable = place.is_dir() or place == stage / "usr/bin/biandou"
            place.chmod(0o755 if executable else 0o644)


def _pages(target: Path) -> None:
    """Copy the documentation, and what else its links lead to."""
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in PAGES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=unwanted)
        else:
            _copy(ROOT / name, target / name)
    for page in sorted(target.rglob("*.md")):
        for link in re.findall(r"\]\(([^)#:\s]+)[)#]", page.read_text()):
            name = os.path.normpath(page.parent.relative_to(target) / link)
            if (target / name).exists():
                continue
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target / name, ignore=unwanted)
            else:
                _copy(ROOT / name, target / name)


def _crate_licenses() -> str:
    """Give the text of every license of every crate in the engine, each text once; needs `cargo` and the sources.

    Raises `ValueError` for a crate that comes without a license.
    """
    host = _said("rustc", "-vV").partition("host: ")[2].split()[0]
    known = json.loads(_cargo("metadata", "--format-version", "1", "--filter-platform", host))["packages"]
    packages = {f"{one['name']} v{one['version']}": one for one in known}
    holders: dict[str, list[str]] = {}
    for crate in sorted({" ".join(line.split()[:2]) for line in _linked().splitlines()}):
        package = packages[crate]
        if package["source"] is None:
            # Our own.
            continue
        texts = [
            file.read_text() for file in sorted(Path(package["manifest_path"]).parent.iterdir()) if _is_license(file)
        ]
        if not texts:
            raise ValueError(f"{crate} ({package['license']}) comes without the text of its license")
        for text in texts:
            holders.setdefault(text.strip(), []).append(f"{crate} ({package['license']})")
    parts = ("\n".join([*crates, "", text]) for text, crates in sorted(holders.items(), key=lambda one: one[1]))
    return f"\n\n{'=' * 80}\n".join(["The engine is made of these crates, too.", *parts]) + "\n"


def _is_license(file: Path) -> bool:
    return file.is_file() and LICENSES.fullmatch(file.name) is not None


def _linked() -> str:
    """Give what is linked for this machine, a crate a line: `bytes v1.12.2`."""
    return _cargo("tree", "--package", "biandou-boundary", "--edges", "normal,no-proc-macro", "--prefix", "none")


def _cargo(*words: str) -> str:
    return _said("cargo", *words, "--locked", "--manifest-path", str(ROOT / "Cargo.toml"))


def _control(stage: Path, python: Path) -> None:
    """Write what dpkg reads: fields, checksums, configuration files and scripts."""
    files = sorted(file for file in stage.rglob("*") if file.is_file() and not file.is_symlink())
    sums = [
        f"{hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()}  {file.relative_to(stage)}\n"
        for file in files
    ]
    fields = {
        "version": _version(),
        "architecture": _said("dpkg", "--print-architecture"),
        "size": sum(file.stat().st_size for file in files) // 1024,
        # The engine was linked with this one.
        "libc": os.confstr("CS_GNU_LIBC_VERSION").removeprefix("glibc "),  # type: ignore[union-attr] # Debian has glibc
        "python": python.name,
    }
    control = stage / "DEBIAN"
    control.mkdir()
    (control / "control").write_text((PACKAGING / "debian" / "control").read_text().format_map(fields))
    (control / "md5sums").write_text("".join(sums))
    (control / "conffiles").write_text("".join(f"/etc/biandou/{name}\n" for name in _configurations()))
    for name in SCRIPTS:
        _copy(PACKAGING / "debian" / name, control / name, 0o755)


def _configurations() -> list[str]:
    return sorted(file.name for file in (PACKAGING / "etc").iterdir())


def _version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return f"{project['project']['version']}-1"


def _compress(text: str, target: Path) -> None:
    with gzip.GzipFile(target, "wb", mtime=0) as file:
        file.write(text.encode())


def _copy(source: Path, target: Path, mode: int = 0o644) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603 - our own words, no shell


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603 - as above


if __name__ == "__main__":
    main()
