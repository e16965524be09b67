"""The commands that talk to a namerd, for themselves: nothing of a linker or the demonstration is loaded for them."""

from __future__ import annotations

import typer

from biandou.cli.canary import canary
from biandou.cli.dtab import dtab

application = typer.Typer(name="biandou", add_completion=False, pretty_exceptions_enable=False)
application.add_typer(dtab)
application.add_typer(canary)
