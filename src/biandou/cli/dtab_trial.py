"""`biandou dtab update --to 5%`, `abort` and `promote`: a dtab that some linkers try before all get it."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from biandou.cli.canary import read_seconds, read_share
from biandou.cli.dtab_forms import JSON, Sent, as_json
from biandou.cli.dtab_shared import Json, Name, Url, failed, given, run, tell, write
from biandou.cli.dtab_status import NOT_EVERYWHERE, describe, wait_in_force
from biandou.cli.namerd_http import Namerd, NamerdFailed

To = Annotated[str, typer.Option("--to", metavar="SHARE", help="Let so many of the linkers try it first: 5%.")]
For = Annotated[
    str, typer.Option("--for", metavar="TIME", help="How long they try it before all get it: 30s, 1h (5m).")
]
MaxErrorRise = Annotated[
    str, typer.Option(help="It is withdrawn if so many more of their requests fail than elsewhere and before.")
]
MinRequests = Annotated[int, typer.Option(help="It is not judged by fewer requests.")]

APPLIED: Final = "applied"


class Trial:
    """How a dtab is tried, as the command line says; ends the command if that cannot be read."""

    def __init__(self, share: str, seconds: str, max_error_rise: str, min_requests: int) -> None:
        try:
            self.terms = {
                "share": read_share(share),
                "seconds": read_seconds(seconds),
                "maxErrorRise": read_share(max_error_rise),
                "minRequests": min_requests,
            }
        except ValueError as error:
            raise failed(str(error)) from None
        self.share = share

    async def start(
        self,
        context: typer.Context,
        namerd: Namerd,
        name: str,
        sent: Sent,
        *,
        headers: dict[str, str],
        wait: float | None,
    ) -> None:
        """Begin, and wait for the end if that is asked for: status 1 if not all linkers have it in force then."""
        dtab = json.loads(sent.body) if sent.media == JSON else sent.body.decode()
        told = await namerd.ask("POST", _place(name), json.dumps({"dtab": dtab, **self.terms}).encode(), headers)
        begun = json.loads(told.body)
        tell(context, f"{self.share} of the linkers try it: biandou dtab status {name} says how it goes", begun)
        if wait is None:
            return
        known = await _end(namerd, name, begun["name"], wait)
        if known is None:
            tell(context, f"It is not over after {wait:g} s", {"over": False, "seconds": wait})
            raise typer.Exit(NOT_EVERYWHERE)
        tell(context, describe(known["rollout"]), known["rollout"])
        if known["rollout"]["phase"] != APPLIED:
            raise typer.Exit(NOT_EVERYWHERE)
        await wait_in_force(context, namerd, name, known["version"], wait)


async def _end(namerd: Namerd, name: str, rollout: str, seconds: float) -> Any:
    """Give how it stands when a rollout is over, `None` if that takes too long."""
    try:
        async with asyncio.timeout(seconds), namerd.watch(f"in-force/{quote(name, safe='')}") as documents:
            async for document in documents:
                known = json.loads(document)
                told = known["rollout"]
                if told is not None and told["name"] != rollout:
                    raise NamerdFailed("another dtab is being tried now")
                if told is not None and told["over"]:
                    return known
    except TimeoutError:
        return None
    raise NamerdFailed("namerd has ended the stream")


def abort(context: typer.Context, words: Name = None, *, url: Url = None, shown: Json = False) -> None:
    """End the trial of a new dtab of NAME: all linkers go by the one that it had."""
    _act(context, given(words, ("NAME",), "abort requires a name argument")[0], "abort", url, shown=shown)


def promote(context: typer.Context, words: Name = None, *, url: Url = None, shown: Json = False) -> None:
    """End the trial of a new dtab of NAME: all linkers get it, now."""
    _act(context, given(words, ("NAME",), "promote requires a name argument")[0], "promote", url, shown=shown)


def _act(context: typer.Context, name: str, action: str, url: str | None, *, shown: bool) -> None:
    async def work(namerd: Namerd) -> None:
        told = json.loads((await namerd.ask("PUT", _place(name), json.dumps({"action": action}).encode())).body)
        write(as_json(told) if shown or context.obj.json else f"{describe(told)}\n")

    run(context, url, work)


def _place(name: str) -> str:
    return f"rollouts/{quote(name, safe='')}"
