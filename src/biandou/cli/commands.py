"""The commands for people, drawn by typer; `linker` and `namerd` are listed here and run by their own files."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import biandou
from biandou.cli import linker as linker_command
from biandou.cli import namerd as namerd_command
from biandou.cli.canary import canary
from biandou.cli.demo import demo
from biandou.cli.dtab import dtab
from biandou.cli.explain import explain
from biandou.cli.redirect import redirect

application = typer.Typer(
    name="biandou",
    help="A service mesh for virtual machines, bare metal and Kubernetes, compatible with Linkerd 1.x and namerd.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"biandou {biandou.__version__}\n")
        raise typer.Exit


@application.callback()
def _common(
    context: typer.Context,
    base_url: Annotated[str | None, typer.Option("--base-url", hidden=True)] = None,
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    # namerctl takes it here; of our commands, dtab and canary do.
    context.obj = base_url


@application.command(
    "linker",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def _linker(context: typer.Context) -> None:
    """Run the data plane: biandou linker linkerd.yaml."""
    raise typer.Exit(linker_command.run(context.args))


@application.command(
    "namerd",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def _namerd(context: typer.Context) -> None:
    """Run the control plane: biandou namerd namerd.yaml, or without a file."""
    raise typer.Exit(namerd_command.run(context.args))


application.command("explain")(explain)
application.add_typer(dtab)
application.add_typer(canary)
application.add_typer(redirect)
application.command("demo")(demo)
