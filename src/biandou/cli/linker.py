"""`biandou linker FILE`: reads the flags and the configuration, and runs the data plane."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import Final

import biandou
from biandou.cli.daemon import EX_CONFIG, EX_USAGE, run_daemon
from biandou.cli.linker_flags import USAGE, LinkerFlags, UsageError, parse_flags
from biandou.config.linker import LinkerConfig, load
from biandou.config.read import STANDARD_INPUT
from biandou.config.remarks import remarks
from biandou.errors import ConfigError
from biandou.linker.resources import default_workers

EXAMPLE: Final = """\
# A first configuration: biandou linker linkerd.yaml, then
#   curl -H 'Host: web' http://127.0.0.1:4140/
# reaches whatever answers on 127.0.0.1:8080 (try: python3 -m http.server 8080).

admin:
  port: 9990                # curl http://127.0.0.1:9990/admin/metrics.json

routers:
- protocol: http
  # A request for the host `web` asks for the service /svc/web. The dtab says what that means here;
  # the last line that matches is tried first.
  dtab: |
    /svc/web => /$/inet/127.0.0.1/8080 ;
  servers:
  - port: 4140
    ip: 127.0.0.1           # 0.0.0.0 to serve other hosts

# With names in files instead, one `host port` a line (changes are noticed at once):
#   namers:
#   - kind: io.l5d.fs
#     rootDir: disco        # the file disco/web holds the endpoints of web
# and in the dtab:
#   /svc => /#/io.l5d.fs ;
"""

NO_FILE: Final = """\
biandou linker: which configuration? Give it a file:

  biandou linker --example > linkerd.yaml    writes a first one, with comments
  biandou linker linkerd.yaml                runs it
  biandou linker --help                      shows the flags

A linkerd.yaml of Linkerd 1.x works as it is; --validate FILE tells whether everything in it is built.
"""


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments after `biandou linker` say; gives the exit status."""
    try:
        flags = parse_flags(list(arguments))
    except UsageError as error:
        sys.stderr.write(f"biandou linker: {error}\nbiandou linker --help shows the flags\n")
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
    if flags.file is None:
        sys.stderr.write(NO_FILE)
        return EX_USAGE
    try:
        config = load(flags.file)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return EX_CONFIG
    if flags.validate:
        for line in remarks(config):
            sys.stderr.write(f"{line}\n")
        return 0
    return _serve(config, flags)


def _serve(config: LinkerConfig, flags: LinkerFlags) -> int:
    """Run a linker until it is told to stop; gives the exit status."""
    from biandou.cli.linker_admin import open_admin  # noqa: PLC0415 - --validate and --help need no admin server
    from biandou.linker.process import Linker  # noqa: PLC0415 - nor the process

    opened = functools.partial(open_admin, window_seconds=flags.window_seconds)

    def read_again() -> LinkerConfig:
        if flags.file is None or flags.file == STANDARD_INPUT:
            raise ConfigError("the configuration came from standard input, which can't be read again")
        return load(flags.file)

    def make() -> Linker:
        return Linker(config, flags.workers or default_workers(), opened, read_again)

    return run_daemon("linker", flags, f"biandou {biandou.__version__}", make)
