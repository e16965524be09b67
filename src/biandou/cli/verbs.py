"""A group of verbs, `dtab` or `canary`: takes namerctl's spellings, and ends as its verbs do when it is called wrongly.

A click group ends with 2 then, which `plan --exit-code` and `apply --exit-code` have for changes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import typer
from typer.core import TyperGroup

from biandou.cli.dtab_shared import OutputFailed, failed

_MOVED: Final = ("--token-file", "--cacert", "--cert", "--key")
"""Options of the group, each with a value, that may also stand after the verb; `--json` may, too."""

_YES: Final = ("true", "t", "1")
_NO: Final = ("false", "f", "0")


class Verbs(TyperGroup):
    """A typer group, called as namerctl is."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words after the group; those after the verb are put in order for it."""
        if not args:
            return super().parse_args(ctx, args)
        try:
            return super().parse_args(ctx, spelled(args))
        except typer.TyperException as error:
            raise misused(error) from None

    def invoke(self, ctx: Any) -> Any:
        """Read the words of the verb, and do it."""
        try:
            return super().invoke(ctx)
        except typer.TyperException as error:
            raise misused(error) from None
        except OutputFailed as error:
            # Python would try once again at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(error.why, BrokenPipeError):
                raise failed(f"standard output: {error.why.strerror}") from None
            # Whoever read our output has read enough.
            return None


def misused(error: typer.TyperException) -> typer.Exit:
    """Say what is wrong with a command line, in one line, and give what has to be raised."""
    return failed(error.format_message())


def spelled(words: Sequence[str]) -> list[str]:
    """Give the words as click reads them: namerctl's flags, flags of the group after the verb, and `help`."""
    end = words.index("--") if "--" in words else len(words)
    before, after = list(words[:end]), list(words[end:])
    if before[:1] == ["help"]:
        before = [*before[1:], "--help"]
    moved: list[str] = []
    kept: list[str] = []
    index = 0
    while index < len(before):
        word = before[index]
        name, equals, value = word.partition("=")
        index += 1
        if name in _MOVED:
            moved.append(word)
            if not equals and index < len(before):
                moved.append(before[index])
                index += 1
        elif word == "--pretty":
            kept.append("--pretty=true")
        elif name == "--json" and (not equals or value.lower() in _YES):
            moved.append("--json")
        elif not (name == "--json" and value.lower() in _NO):
            kept.append(word)
    return [*moved, *kept, *after]
