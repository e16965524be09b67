"""`biandou dtab lint`: probable mistakes in dtabs, of files and of namespaces."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path as File
from typing import Annotated, Any

import typer

from biandou.cli.dtab_forms import JSON, as_json, pretty
from biandou.cli.dtab_shared import Files, Json, Url, failed, place, run, write
from biandou.cli.namerd_http import Namerd
from biandou.dtab import DtabSyntaxError, Path
from biandou.dtab.lint import Finding, Served
from biandou.dtab.lint import lint as find
from biandou.errors import ConfigError


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is looked at, and what it is called in findings."""

    name: str
    text: str
    served: Served


def lint(
    context: typer.Context,
    words: Files = None,
    *,
    config: Annotated[
        str | None, typer.Option("--config", help="A linkerd.yaml or namerd.yaml: which namers there are.")
    ] = None,
    url: Url = None,
    shown: Json = False,
) -> None:
    """Look for probable mistakes in files, or in namespaces; ends with 1 if there are any.

    A word that is the name of a file, has a slash or ends in .dtab is a file, `-` standard input (also without words),
    any other word a namespace.
    """
    served = Served(_system()) if config is None else _configured(config)
    subjects: list[_Subject] = []
    asked = [word for word in words or ["-"] if not _is_file(word)]

    async def work(namerd: Namerd) -> None:
        known = served if config is not None else _served(json.loads((await namerd.ask("GET", "namers")).body))
        for name in asked:
            told = await namerd.ask("GET", place(name), headers={"Accept": JSON})
            subjects.append(_Subject(name, pretty(json.loads(told.body), told.version), known))

    if asked:
        run(context, url, work)
    by_name = {subject.name: subject for subject in subjects}
    found: list[tuple[str, Finding]] = []
    for word in words or ["-"]:
        subject = by_name.get(word) or _Subject("<stdin>" if word == "-" else word, _read(word), served)
        found += [(subject.name, finding) for finding in _findings(subject)]
    if shown or context.obj.json:
        write(as_json([{"file": name, **asdict(finding)} for name, finding in found]))
    else:
        for name, finding in found:
            write(f"{name}:{finding.line}:{finding.column}: {finding.code}: {finding.message}\n")
    if found:
        raise typer.Exit(1)


def _findings(subject: _Subject) -> list[Finding]:
    try:
        return find(subject.text, subject.served)
    except DtabSyntaxError as error:
        return [Finding(error.line, error.column, "syntax", f"{error.expected} expected but {error.found} found.")]


def _is_file(word: str) -> bool:
    return word == "-" or "/" in word or word.endswith(".dtab") or File(word).is_file()


def _read(word: str) -> str:
    try:
        return (sys.stdin.buffer.read() if word == "-" else File(word).read_bytes()).decode()
    except OSError as error:
        raise failed(f"{word}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise failed(f"{word}: byte {error.start + 1} is not UTF-8; a dtab is text") from None


def _configured(file: str) -> Served:
    # Not above: no other command needs them.
    from biandou.config import linker, namerd  # noqa: PLC0415

    try:
        text = File(file).read_text()
        namers: tuple[Any, ...] = (
            namerd.parse(text, file).namers if _is_namerds(text) else linker.parse(text, file).namers
        )
    except (OSError, ValueError, ConfigError) as error:
        raise failed(f"{file}: {error.strerror}" if isinstance(error, OSError) else str(error)) from None
    return Served(_system(), tuple(namer.full_prefix for namer in namers))


def _system() -> frozenset[bytes]:
    from biandou.namers.system import SystemNamer  # noqa: PLC0415 - as above

    return SystemNamer().names


def _is_namerds(text: str) -> bool:
    import yaml  # noqa: PLC0415 - as above

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        # The configuration's own reader says what is wrong with it.
        return False
    return isinstance(document, dict) and "routers" not in document and "storage" in document


def _served(document: dict[str, list[str]]) -> Served:
    system = frozenset(Path.read(name).segments[1] for name in document["system"])
    return Served(system, tuple(Path.read(prefix) for prefix in document["configured"]))
