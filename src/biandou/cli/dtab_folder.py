"""A folder of dtabs, `NAME.dtab` for the namespace NAME, and what was last applied of it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from biandou.dtab import Dtab, DtabSyntaxError

LOCK: Final = ".biandou-dtabs.json"
"""Beside the files: what each namespace was when it was last applied."""


class FolderFailed(ValueError):
    """The folder or its record cannot be used; the message says why."""


class Action(Enum):
    """What has to be done so that a namespace is what its file says."""

    NOTHING = "nothing"
    CREATE = "create"
    UPDATE = "update"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Applied:
    """What was applied last: the version that it got, and the digest of the dtab."""

    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class Present:
    """What a namespace is now."""

    version: str
    dtab: Dtab


def read_folder(folder: Path) -> dict[str, Dtab]:
    """Read every file of a folder, by namespace; raises `FolderFailed` with all mistakes."""
    found: dict[str, Dtab] = {}
    problems: list[str] = []
    if not folder.is_dir():
        raise FolderFailed(f"{folder} is no folder")
    for file in sorted(folder.glob("*.dtab")):
        try:
            found[file.stem] = Dtab.read(file.read_text())
        except DtabSyntaxError as error:
            problems.append(f"{file}:{error.line}:{error.column}: {error}")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{file}: {error}")
    if problems:
        raise FolderFailed("\n".join(problems))
    return found


def read_lock(file: Path) -> dict[str, Applied]:
    """Read what was applied last, nothing if there is no record; raises `FolderFailed`."""
    try:
        sent = json.loads(file.read_text())["namespaces"]
        return {name: Applied(str(one["version"]), str(one["sha256"])) for name, one in sent.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FolderFailed(f"{file} is no record of what was applied: {error!r}") from error


def write_lock(file: Path, applied: dict[str, Applied]) -> None:
    """Write the record, all or nothing; raises `OSError`."""
    shown = {name: {"version": one.version, "sha256": one.digest} for name, one in sorted(applied.items())}
    text = json.dumps({"namespaces": shown}, indent=2, ensure_ascii=False) + "\n"
    if file.exists() and file.read_text() == text:
        return
    beside = file.with_name(f"{file.name}.{os.getpid()}")
    beside.write_text(text)
    beside.replace(file)


def digest(dtab: Dtab) -> str:
    """Give what is equal for equal dtabs, however they are written."""
    return hashlib.sha256(str(dtab).encode()).hexdigest()


def action(wanted: Dtab, present: Present | None, base: str | None) -> Action:
    """Say what to do; `base` is the digest of what was applied last, `None` if nothing was.

    A namespace may be changed when it is what was applied last: then nobody else has changed it since.
    """
    if present is None:
        return Action.CREATE if base is None else Action.CONFLICT
    if present.dtab == wanted:
        return Action.NOTHING
    return Action.UPDATE if base == digest(present.dtab) else Action.CONFLICT
