"""Changes several namespaces, all or none: what was written is undone if a later one is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from biandou.cli.dtab_folder import Present
from biandou.cli.dtab_forms import DTAB, JSON
from biandou.cli.dtab_shared import place, remark
from biandou.cli.namerd_http import Namerd, NamerdFailed, NamerdRefused
from biandou.dtab import Dentry, Dtab, NameTree, Prefix


@dataclass(frozen=True, slots=True)
class Write:
    """One namespace's new dtab; `before` is what it has to be then, `None` if it must not be there."""

    name: str
    dtab: Dtab
    before: Present | None


class NotApplied(NamerdFailed):
    """Not all could be written; the message says why, and what became of the rest."""


async def presently(namerd: Namerd, names: Sequence[str]) -> dict[str, Present]:
    """Give what those of the namespaces are that are there; raises `NamerdFailed`."""
    there = set(json.loads((await namerd.ask("GET", "dtabs")).body))
    return {name: await _present(namerd, name) for name in names if name in there}


async def write_all(namerd: Namerd, writes: Sequence[Write], message: str) -> dict[str, str]:
    """Write all and give the new versions; raises `NotApplied` after undoing what was written before."""
    written: dict[str, str] = {}
    for index, one in enumerate(writes):
        try:
            written[one.name] = await _write(namerd, one, message)
        except (NamerdFailed, asyncio.CancelledError) as error:
            left = await _undo(namerd, writes[:index], written, message)
            if not isinstance(error, NamerdRefused):
                # It may have been done all the same: only the answer is missing.
                left += await _undo_unanswered(namerd, one, message)
            why = str(error) or "interrupted"
            told = [f"{one.name} could not be written: {why}"]
            told += left or ["Nothing was changed: what had been written before is as it was."]
            raise NotApplied("\n".join(told)) from error
    return written


async def _write(namerd: Namerd, one: Write, message: str) -> str:
    headers = {"Content-Type": DTAB, **remark(message)}
    if one.before is None:
        return (await namerd.ask("POST", place(one.name), str(one.dtab).encode(), headers)).version
    headers["If-Match"] = one.before.version
    return (await namerd.ask("PUT", place(one.name), str(one.dtab).encode(), headers)).version


async def _undo(namerd: Namerd, writes: Sequence[Write], written: dict[str, str], message: str) -> list[str]:
    """Undo the last first; gives a line about each that is not as it was."""
    left = []
    for one in reversed(writes):
        try:
            now = (await presently(namerd, [one.name])).get(one.name)
            if now is None or now.version != written[one.name]:
                left.append(f"{one.name} was written, and somebody else has changed it since: it is left so.")
            else:
                await _restore(namerd, one, now, message)
        except NamerdFailed as error:
            left.append(f"{one.name} was written and could not be undone: {error}")
    return left


async def _undo_unanswered(namerd: Namerd, one: Write, message: str) -> list[str]:
    try:
        now = (await presently(namerd, [one.name])).get(one.name)
        if now is not None and now.dtab == one.dtab and (one.before is None or now.version != one.before.version):
            await _restore(namerd, one, now, message)
            return []
    except NamerdFailed:
        # What is said below is all that is known then.
        pass
    return [f"It is not known whether {one.name} is still written: look at it."]


async def _restore(namerd: Namerd, one: Write, now: Present, message: str) -> None:
    why = remark(f"undone: {message}")
    if one.before is None:
        await namerd.ask("DELETE", place(one.name), headers=why)
        return
    headers = {"Content-Type": DTAB, "If-Match": now.version, **why}
    await namerd.ask("PUT", place(one.name), str(one.before.dtab).encode(), headers)


async def _present(namerd: Namerd, name: str) -> Present:
    told = await namerd.ask("GET", place(name), headers={"Accept": JSON})
    dentries = [Dentry(Prefix.read(one["prefix"]), NameTree.read(one["dst"])) for one in json.loads(told.body)]
    return Present(told.version, Dtab(dentries))
