"""The command `biandou`: a file a subcommand.

`biandou linker` and `biandou namerd` are dispatched by hand: they run for months, and shall not carry the libraries
that draw the other commands' help.
"""

from __future__ import annotations

import sys

import biandou


def main() -> None:
    """Run the command line of this process; ends it with the subcommand's exit status."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["linker"]:
        from biandou.cli import linker  # noqa: PLC0415 - each command loads only what it uses

        sys.exit(linker.run(arguments[1:]))
    if arguments[:1] == ["namerd"]:
        from biandou.cli import namerd  # noqa: PLC0415

        sys.exit(namerd.run(arguments[1:]))
    if arguments in (["--version"], ["-version"], ["version"]):
        sys.stdout.write(f"biandou {biandou.__version__}\n")
        return
    if arguments[:1] in (["dtab"], ["canary"]):
        from biandou.cli.control import application as control  # noqa: PLC0415 - half the time of all commands

        control()
    if arguments[:1] == ["help"]:
        sys.argv[1:] = [*arguments[1:], "--help"]
    from biandou.cli.commands import application  # noqa: PLC0415 - typer and rich, which a linker does without

    application()
