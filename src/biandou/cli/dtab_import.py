"""`biandou dtab import`: namespaces that namerd 1.x kept in etcd's version 2 become namespaces of this namerd."""

from __future__ import annotations

from typing import Annotated

import typer

from biandou.cli.dtab_forms import as_json
from biandou.cli.dtab_shared import Json, Message, Url, failed, given, namerd_access, run, write
from biandou.cli.dtab_writes import Write, presently, write_all
from biandou.cli.namerd_http import Namerd, NamerdFailed
from biandou.dtab import Dtab, DtabSyntaxError


def import_etcd(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="ETCD_URL", hidden=True)] = None,
    *,
    prefix: Annotated[str, typer.Option("--path-prefix", help="Where they are: namerd's pathPrefix.")] = (
        "/namerd/dtabs"
    ),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    message: Message = "",
    url: Url = None,
    shown: Json = False,
) -> None:
    """Create the namespaces that are found at ETCD_URL (version 2 of etcd's API); those that exist are left alone.

    All are created or, if one cannot be, none; etcd itself is not changed.
    """
    (etcd,) = given(words, ("ETCD_URL",), "import requires the URL of an etcd: http://127.0.0.1:2379")
    if not etcd.startswith(("http://", "https://")) or not prefix.startswith("/"):
        raise failed("ETCD_URL begins with http:// or https://, and --path-prefix with a slash")
    tls = namerd_access(context, url).context()

    async def work(namerd: Namerd) -> None:
        # Not above: no other command needs it.
        from biandou.clients.etcd import EtcdError  # noqa: PLC0415
        from biandou.clients.etcd_v2 import read_v2  # noqa: PLC0415

        try:
            found = await read_v2(etcd, prefix.rstrip("/"), tls)
        except EtcdError as error:
            raise NamerdFailed(str(error)) from error
        dtabs = {name: _read(name, text) for name, text in sorted(found.items())}
        there = await presently(namerd, list(dtabs))
        writes = [Write(name, dtab, None) for name, dtab in dtabs.items() if name not in there]
        differing = sorted(name for name, known in there.items() if known.dtab != dtabs[name])
        if not dry_run:
            await write_all(namerd, writes, message or f"import from {etcd}{prefix}")
        done = {
            "created": [one.name for one in writes],
            "unchanged": sorted(there.keys() - set(differing)),
            "differing": differing,
            "applied": not dry_run,
        }
        if shown or context.obj.json:
            write(as_json(done))
            return
        for one in writes:
            write(f"{'Would create' if dry_run else 'Created'} {one.name}\n")
        for name in sorted(there):
            write(f"{name} exists" + (" with another dtab, which stays\n" if name in differing else " already\n"))
        if not dtabs:
            write(f"there is nothing at {etcd}{prefix}\n")

    run(context, url, work)


def _read(name: str, text: str) -> Dtab:
    try:
        return Dtab.read(text)
    except DtabSyntaxError as error:
        raise NamerdFailed(f"{name}: line {error.line}, column {error.column}: {error}") from None
