"""However many names strangers bring, the linker keeps within its bounds, and names in use don't notice."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from typing import Final

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.callers import Traffic, status_of
from tests.mesh.observing import becomes
from tests.mesh.unharmed import config, unharmed

PLATEAU_KIB: Final = 20 * 1024
"""20,000 strangers' names leave a linker with 200 names at most 15 MiB larger, and 2,000 nearly as much: the most that
it held at once, in an allocator that gives little back."""


async def test_names_in_use_neither_fail_nor_lose_their_place_while_strangers_name_thousands() -> None:
    async with Origin() as origin:
        text = config(origin.port, "bindingCache: {paths: 200}")
        async with LinkerProcess(text) as linker, unharmed(linker, PLATEAU_KIB):
            async with AsyncExitStack() as stack:
                served = [f"served-{nth}" for nth in range(10)]
                regulars = [await stack.enter_async_context(Traffic(linker.port(), host)) for host in served]
                for regular in regulars:
                    await regular.more(10)
                for first in range(0, 2000, 50):
                    answers = await asyncio.gather(*(linker.get(f"host-{nth}") for nth in range(first, first + 50)))
                    assert {status_of(answer) for answer in answers} == {200}
                assert [regular.failed for regular in regulars] == [[]] * len(served)
                # The counts of a name that was given up would begin anew.
                answered = [regular.answers.total() for regular in regulars]
                metrics = await linker.metrics()
            assert metrics["rt/http/bindcache/path/evicts"] >= 1800
            counted = [metrics[f"rt/http/service/svc/{host}/requests"] for host in served]
            assert all(count >= seen for count, seen in zip(counted, answered, strict=True)), (counted, answered)


async def test_clients_stay_within_their_bound() -> None:
    async with Origin() as origin:
        text = config(origin.port, "bindingCache: {clients: 50}")

        async def clients(linker: LinkerProcess) -> int:
            return sum(
                re.fullmatch(r"rt/http/client/((?!/service/).)*/requests", name) is not None
                for name in await linker.metrics()
            )

        async with LinkerProcess(text) as linker, unharmed(linker):
            for first in range(0, 500, 25):
                answers = await asyncio.gather(
                    *(
                        linker.get("web", "/", f"l5d-dtab: /svc/web => /$/io.buoyant.rinet/{origin.port}/127.1.{a}.{b}")
                        for a, b in (divmod(number, 200) for number in range(first, first + 25))
                    )
                )
                assert {status_of(answer) for answer in answers} <= {200, 502}, "not everybody listens there"
            await becomes("clients are forgotten", lambda: clients(linker), lambda count: count <= 50)
            metrics = await linker.metrics()
            assert metrics["rt/http/bindcache/client/evicts"] >= 400
            assert metrics["rt/http/bindcache/client/misses"] >= 500
