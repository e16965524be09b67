"""What a measured proxy is: a name, and how it is started for one upstream."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.children import MissingProgramError

HEADERS = {
    "l5d-dst-service": "/svc/web",
    "l5d-dst-client": "/#/io.l5d.fs/web",
    "l5d-reqid": "0f1e2d3c4b5a6978",
}


@dataclass(frozen=True)
class Proxy:
    """A proxy; `prepare(directory, port, upstream)` writes its configuration and gives the command that runs it.

    It raises `MissingProgramError` if the program isn't installed.
    """

    name: str
    title: str
    prepare: Callable[[Path, int, int], list[str]]
    version: Callable[[], list[str]]


def program(name: str, package: str) -> str:
    """Find a program on the path; raises `MissingProgramError` naming its Debian package."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise MissingProgramError(f"{name} is not installed (apt-get install {package})")
    return found
