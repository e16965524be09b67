"""`biandou namerd [FILE]`: reads the flags and the configuration, and runs the control plane."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Sequence
from typing import Final

import biandou
from biandou.cli.daemon import EX_CONFIG, EX_USAGE, run_daemon
from biandou.cli.linker_flags import LinkerFlags, UsageError, parse_flags
from biandou.config.namerd import WITHOUT_FILE, NamerdConfig, load, parse
from biandou.config.naming_remarks import namer_remarks
from biandou.config.read import STANDARD_INPUT
from biandou.errors import ConfigError
from biandou.linker.systemd import notify

_log = logging.getLogger(__name__)

USAGE: Final = """\
usage: biandou namerd [--log-level LEVEL] [--log-format text|json] [--validate] [FILE]
       FILE is a namerd.yaml, or - for standard input; without one, dtabs are kept in SQLite in the state
       directory ($STATE_DIRECTORY, $XDG_STATE_HOME/biandou), the HTTP API listens on 127.0.0.1:4180 and the
       gRPC API for linkers (io.l5d.mesh) on 4321

  --log-level LEVEL    OFF, FATAL, CRITICAL, ERROR, WARNING, INFO (default), DEBUG, TRACE or ALL
  --log-format FORMAT  text (default) or json; one line an event, on standard error
  --validate           read the file, say what is wrong with it, and exit: 0 when nothing is, 78 otherwise
  --example            print a first configuration, with comments
  --version, --help

namerd's own flags are understood too: -validate, -log.level=INFO, -log.output=FILE, -log.append=false, -help.
"""

EXAMPLE: Final = """\
# A first configuration: biandou namerd namerd.yaml, then
#   echo '/svc => /$/inet/127.0.0.1/8080 ;' | biandou dtab create default -
#   biandou dtab get default

admin:
  port: 9991                # curl http://127.0.0.1:9991/admin/metrics.json

storage:
  kind: io.biandou.sqlite
  path: namerd.db           # every version of every dtab is kept in this file

interfaces:
- kind: io.l5d.httpController
  port: 4180
  ip: 127.0.0.1             # 0.0.0.0 to serve other hosts; then give it tls and tokens

# With names in files:
#   namers:
#   - kind: io.l5d.fs
#     rootDir: disco        # the file disco/web holds the endpoints of web
# and in a dtab:
#   /svc => /#/io.l5d.fs ;
"""


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments after `biandou namerd` say; gives the exit status."""
    try:
        flags = parse_flags(list(arguments))
        if flags.workers is not None:
            raise UsageError("there is no flag --workers")
    except UsageError as error:
        sys.stderr.write(f"biandou namerd: {error}\nbiandou namerd --help shows the flags\n")
        return EX_USAGE
    match flags.show:
        case "help":
            sys.stdout.write(USAGE)
            return 0
        case "example":
            sys.stdout.write(EXAMPLE)
            return 0
        case "version":
            sys.stdout.write(f"biandou {biandou.__version__}\n")
            return 0
    try:
        config = load(flags.file) if flags.file is not None else parse(WITHOUT_FILE, "<without a file>")
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return EX_CONFIG
    if flags.validate:
        for line in namer_remarks(config.namers):
            sys.stderr.write(f"{line}\n")
        return 0
    return _serve(config, flags)


def _serve(config: NamerdConfig, flags: LinkerFlags) -> int:
    """Run a namerd until it is told to stop; gives the exit status."""
    from biandou.cli.namerd_admin import open_admin  # noqa: PLC0415 - --validate and --help need no admin server
    from biandou.linker.resources import raise_file_limit  # noqa: PLC0415 - nor any file
    from biandou.namerd.process import Namerd  # noqa: PLC0415 - nor the process

    opened = functools.partial(open_admin, window_seconds=flags.window_seconds)

    def read_again() -> NamerdConfig:
        if flags.file is None:
            raise ConfigError("namerd was started without a file, so that there is none to read again")
        if flags.file == STANDARD_INPUT:
            raise ConfigError("the configuration came from standard input, which can't be read again")
        return load(flags.file)

    def make() -> Namerd:
        return Namerd(config, opened, _tell_systemd, read_again)

    hello = f"biandou {biandou.__version__}, {raise_file_limit()} files may be open"
    return run_daemon("namerd", flags, hello, make)


def _tell_systemd(state: str) -> None:
    try:
        notify(os.environ, state)
    except OSError as error:
        _log.warning("cannot tell systemd %s: %s", state, error)
