"""The flags of `biandou linker`: our own with two dashes, and Linkerd's with one (reference/linker.md §1.4)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from biandou.admin.durations import duration_ms
from biandou.linker.log import LEVELS, LogSettings
from biandou.telemeters.window import WINDOW_SECONDS

USAGE: Final = """\
usage: biandou linker [--workers N] [--log-level LEVEL] [--log-format text|json] [--validate] FILE
       FILE is a linkerd.yaml, or - for standard input

  --workers N          threads that forward traffic (default: the CPUs this process may use)
  --log-level LEVEL    OFF, FATAL, CRITICAL, ERROR, WARNING, INFO (default), DEBUG, TRACE or ALL
  --log-format FORMAT  text (default) or json; one line an event, on standard error
  --validate           read the file, say what is wrong with it, and exit: 0 when nothing is, 78 otherwise
  --example            print a first configuration, with comments
  --version, --help

Linkerd's own flags are understood too: -validate, -log.level=INFO, -log.output=FILE, -log.append=false,
-log.async.maxsize=4096, -help.
"""

MAX_WORKERS: Final = 1024
MIN_SNAPSHOT_SECONDS: Final = 1
DEPTH: Final = 100


class UsageError(Exception):
    """The command line can't be followed; the message says why in one sentence."""


@dataclass(frozen=True, slots=True)
class LinkerFlags:
    """What the command line asks for; `file` is `None` when it names none, `warnings` is for the log."""

    file: str | None = None
    workers: int | None = None
    validate: bool = False
    log: LogSettings = field(default_factory=LogSettings)
    window_seconds: float = WINDOW_SECONDS
    show: str | None = None
    warnings: tuple[str, ...] = ()


_OWN_SWITCHES: Final = {"--validate", "--example", "--help", "-h", "--version"}
_OWN_VALUES: Final = {"--workers", "--log-level", "--log-format"}
_LINKERD_SWITCHES: Final = {"validate", "help", "log.async", "log.append", "log.async.inferClassNames"}
_LINKERD_VALUES: Final = {
    "log.level",
    "log.output",
    "log.async.maxsize",
    "log.rollPolicy",
    "log.rotateCount",
    "io.buoyant.telemetry.admin.histogramSnapshotInterval",
    "com.twitter.finagle.naming.namerMaxDepth",
}
_GLOBAL_PREFIX: Final = "com.twitter."


def parse_flags(arguments: list[str]) -> LinkerFlags:
    """Read the arguments after `biandou linker`; raises `UsageError`."""
    flags = LinkerFlags()
    files: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            files += rest
            break
        if argument == "-" or not argument.startswith("-"):
            files.append(argument)
            continue
        name, has_value, value = argument.partition("=")
        own = name.startswith("--") or name == "-h"
        key = name if own else name[1:]
        if key in (_OWN_SWITCHES if own else _LINKERD_SWITCHES):
            flags = _switch(flags, name, key, _boolean(name, value) if has_value else True)
        elif key in (_OWN_VALUES if own else _LINKERD_VALUES):
            if not has_value:
                if not rest:
                    raise UsageError(f"{name} needs a value")
                value = rest.pop(0)
            flags = _set(flags, name, key, value)
        elif not own and key.startswith(_GLOBAL_PREFIX):
            flags = _warn(flags, f"{name} is a setting of Finagle and changes nothing here")
        else:
            raise UsageError(f"there is no flag {name}")
    if len(files) > 1:
        raise UsageError(f"one configuration file is needed, and here are {len(files)}: {', '.join(files)}")
    return replace(flags, file=files[0] if files else None)


def _switch(flags: LinkerFlags, name: str, key: str, on: bool) -> LinkerFlags:
    match key.lstrip("-"):
        case "validate":
            return replace(flags, validate=on)
        case "help" | "h":
            return replace(flags, show="help" if on else None)
        case "example" | "version" as shown:
            return replace(flags, show=shown if on else None)
        case "log.append":
            return replace(flags, log=replace(flags.log, append=on))
        case "log.async" if not on:
            return _warn(flags, f"{name}=false changes nothing: log lines never hold up the linker")
        case _:
            # log.async and log.async.inferClassNames: our lines name no threads or classes.
            return flags


def _set(flags: LinkerFlags, name: str, key: str, value: str) -> LinkerFlags:
    match key:
        case "--workers":
            return replace(flags, workers=_integer(name, value, 1, MAX_WORKERS))
        case "--log-level" | "log.level":
            level = value.upper() if key == "--log-level" else value
            if level not in LEVELS:
                raise UsageError(f"Invalid log level: {value} (known: {', '.join(LEVELS)})")
            return replace(flags, log=replace(flags.log, level=level))
        case "--log-format":
            if value not in {"text", "json"}:
                raise UsageError(f"--log-format is text or json, not {value!r}")
            return replace(flags, log=replace(flags.log, form="json" if value == "json" else "text"))
        case "log.output":
            return replace(flags, log=replace(flags.log, output=value))
        case "log.async.maxsize":
            return replace(flags, log=replace(flags.log, queued=_integer(name, value, 1, 1_000_000)))
        case "com.twitter.finagle.naming.namerMaxDepth":
            if value != str(DEPTH):
                raise UsageError(f"{name}={value} is known but not built yet; only {DEPTH} is")
            return flags
        case "log.rollPolicy" if value != "never":
            raise UsageError(
                f"{name}={value} is known but not built yet; only never is (let logrotate or journald roll)"
            )
        case "io.buoyant.telemetry.admin.histogramSnapshotInterval":
            return replace(flags, window_seconds=_seconds(name, value))
        case _:
            # log.rollPolicy=never, and log.rotateCount, which has nothing to count then.
            return flags


def _warn(flags: LinkerFlags, warning: str) -> LinkerFlags:
    return replace(flags, warnings=(*flags.warnings, warning))


def _boolean(name: str, value: str) -> bool:
    if value not in {"true", "false"}:
        raise UsageError(f"{name} is true or false, not {value!r}")
    return value == "true"


def _seconds(name: str, value: str) -> float:
    try:
        seconds = duration_ms(value) / 1000
    except ValueError as error:
        raise UsageError(f"{name}: {error} (1.minutes and 10.seconds are)") from None
    if seconds < MIN_SNAPSHOT_SECONDS:
        raise UsageError(f"{name} is at least {MIN_SNAPSHOT_SECONDS}.second, not {value}")
    return seconds


def _integer(name: str, value: str, least: int, most: int) -> int:
    if not value.isascii() or not value.isdecimal() or not least <= int(value) <= most:
        raise UsageError(f"{name} is a whole number from {least} to {most}, not {value!r}")
    return int(value)
