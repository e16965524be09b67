"""`biandou dtab test`: unit tests of dtabs (`testing/dtab_tests.py`)."""

from __future__ import annotations

from typing import Annotated

import typer

from biandou.cli.dtab_forms import as_json
from biandou.cli.dtab_shared import Files, Json, Url, failed, namerd_access, read_file, write
from biandou.cli.dtab_stored import stored
from biandou.cli.namerd_http import NamerdFailed
from biandou.dtab import Dtab


def try_tests(
    context: typer.Context,
    words: Files = None,
    *,
    dtab: Annotated[
        str | None, typer.Option("--dtab", help="A file (- for standard input): this dtab instead of the files' own.")
    ] = None,
    url: Url = None,
    shown: Json = False,
) -> None:
    """Try the tests of files, and end with 1 if any fails."""
    if not words:
        raise failed("test requires a file")
    # Not above: no other command needs it.
    from biandou.testing.dtab_tests import load  # noqa: PLC0415

    results = []
    try:
        other = None if dtab is None else Dtab.read(read_file(dtab).body.decode())
        for word in words:
            tests = load(word, lambda name: stored(name, namerd_access(context, url)), other)
            results += [(one, one.failure(tests.dtab)) for one in tests.tests]
    except (ValueError, NamerdFailed) as error:
        raise failed(str(error)) from None
    wrong = sum(failure is not None for _, failure in results)
    if shown or context.obj.json:
        write(
            as_json(
                [
                    {"file": one.file, "line": one.line, "name": str(one.name), "ok": not failure, "failure": failure}
                    for one, failure in results
                ]
            )
        )
    else:
        for one, failure in results:
            write(f"{'ok    ' if failure is None else 'FAILED'}  {one.file}:{one.line}  {one.name}\n")
            if failure is not None:
                write("".join(f"          {line}\n" for line in failure.splitlines()))
        write(f"{len(results) - wrong} of {len(results)} as expected\n")
    if wrong:
        raise typer.Exit(1)
