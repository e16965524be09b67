"""Kills writers of a store at random moments, and looks whether the next one finds what the last one was told.

`python -m tests.stores.kills MODULE:CLASS CONFIGURATION KILLS [SEED]`: prints how many kills and acknowledged changes
there were, and ends with 1 at the first state that cannot be. Each writer is a fork of this process, which holds no
thread and no store itself, so a kill costs milliseconds: it opens the store, says what it finds, then says before each
change what it is about to do, and after it that it was acknowledged.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import random
import select
import signal
import sys
import time
from typing import Any

import msgspec

from biandou.dtab import Dtab
from biandou.live import Ok
from biandou.stores.interface import HistoricStore, Store, StoreKind
from tests.stores.contract import until

NAMESPACES = ("a", "b", "c")
LONGEST_SECONDS = float(os.environ.get("BIANDOU_KILL_SECONDS", "0.03"))
OPEN_SECONDS = 30.0

Known = dict[str, str]
"""The text of each namespace that is there."""


def main(arguments: list[str]) -> int:
    """Kill as often as was asked for; gives the exit status."""
    module, _, name = arguments[0].partition(":")
    kind = msgspec.convert(json.loads(arguments[1]), getattr(importlib.import_module(module), name))
    # What the store imports is imported here, once for all forks.
    kind.store()
    kills = int(arguments[2])
    random.seed(arguments[3] if len(arguments) > 3 else None)
    allowed: list[Known] = [{}]
    acknowledged = 0
    for number in range(kills + 1):
        lines = outlive(kind, number, random.random() * LONGEST_SECONDS)
        found = lines[0]["found"]
        if found not in allowed:
            sys.stderr.write(f"kill {number}: found {found}, and only these can be: {allowed}\n")
            return 1
        # Whatever was found is what the next writer went on from.
        known, pending = found, None
        for line in lines[1:]:
            if "try" in line:
                pending = applied(known, line["try"])
            elif pending is not None:
                acknowledged += 1
                known, pending = pending, None
        allowed = [known] if pending is None else [known, pending]
    sys.stdout.write(json.dumps({"kills": kills, "acknowledged": acknowledged}))
    return 0 if acknowledged >= kills else 1


def applied(known: Known, change: dict[str, Any]) -> Known:
    """Give what is known after a change."""
    others = {name: text for name, text in known.items() if name != change["namespace"]}
    return others if change["text"] is None else {**others, change["namespace"]: change["text"]}


def outlive(kind: StoreKind, number: int, seconds: float) -> list[dict[str, Any]]:
    """Fork a writer, kill it `seconds` after it has opened the store, and give the lines that it said."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        try:
            asyncio.run(write(kind.store(), number, writing))
        finally:
            os._exit(status)
    os.close(writing)
    said = b""
    deadline: float | None = None
    until_opened = time.monotonic() + OPEN_SECONDS
    while True:
        left = (deadline or until_opened) - time.monotonic()
        if left <= 0:
            break
        if select.select([reading], [], [], left)[0]:
            chunk = os.read(reading, 65536)
            if not chunk:
                break
            said += chunk
            if deadline is None and b"\n" in said:
                deadline = time.monotonic() + seconds
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    while chunk := os.read(reading, 65536):
        said += chunk
    os.close(reading)
    if not os.WIFSIGNALED(status) or deadline is None:
        raise RuntimeError(f"writer {number} ended by itself or never opened the store: {status}, {said!r}")
    # What was not written to its end was not said.
    return [json.loads(line) for line in said.split(b"\n")[:-1]]


async def write(store: Store, number: int, pipe: int) -> None:
    """Say what the store holds, then change it until killed."""

    def say(**line: Any) -> None:
        os.write(pipe, json.dumps(line).encode() + b"\n")

    await store.start()
    names = await until(store.namespaces(), lambda _: True)
    found: Known = {}
    for name in names:
        state = await until(store.watch(name), lambda _: True)
        if state is not None:
            found[name] = str(state.dtab)
    if isinstance(store, HistoricStore):
        await check_history(store, found)
    say(found=found)
    known = dict(found)
    for step in range(1_000_000):
        namespace = random.choice(NAMESPACES)
        dtab = Dtab.read(f"/svc => /{number}/{step}")
        here = store.watch(namespace).sample()
        if random.random() < 0.2:
            if namespace in known:
                say(**{"try": {"namespace": namespace, "text": None}})
                await store.delete(namespace)
                del known[namespace]
                say(done=step)
            continue
        say(**{"try": {"namespace": namespace, "text": str(dtab)}})
        if namespace not in known:
            await store.create(namespace, dtab)
        elif random.random() < 0.5 and isinstance(here, Ok) and here.value is not None:
            await store.update(namespace, dtab, here.value.version)
        else:
            await store.put(namespace, dtab)
        known[namespace] = str(dtab)
        say(done=step)


async def check_history(store: HistoricStore, found: Known) -> None:
    """The newest revision of each namespace is what it is."""
    for name in NAMESPACES:
        revisions = await store.history(name, 1)
        newest = revisions[0].dtab if revisions else None
        if (None if newest is None else str(newest)) != found.get(name):
            raise AssertionError(f"{name} is {found.get(name)}, and its history says {newest}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
