"""The benchmark's registry is a Consul to the namer, and says when who waited was told and asked again."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from biandou.dtab import Dtab
from biandou.dtab import Path as Name
from biandou.dtab.bound import AddressSet, Bound
from biandou.interpreters.local import LocalInterpreter
from biandou.live import Live, Ok
from biandou.namers.all import Namers
from biandou.namers.consul import ConsulNamerKind
from biandou.testing.observing import Observed

ROOT = Path(__file__).parents[2]


async def test_the_registry_tells_of_changes_and_says_when() -> None:
    registry = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.registry", "2",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )  # fmt: skip
    assert registry.stdin is not None
    assert registry.stdout is not None
    try:
        async with asyncio.timeout(20):
            first, second, port = map(int, (await registry.stdout.readline()).split())
            namer = ConsulNamerKind(host="127.0.0.1", port=port).namer()
            dtab = Live.ok(Dtab.read("/svc => /#/io.l5d.consul/dc1"))
            tree = LocalInterpreter(dtab, Namers([namer])).bind(Dtab(), Name.read("/svc/n1"))

            def bound(found: object) -> Live[object]:
                assert isinstance(found, Bound)
                return found.addresses.map(lambda known: known)

            ports = tree.flat_map(lambda found: bound(next(iter(found.leaves()))))
            with Observed(ports) as seen:
                await seen.until(lambda state: _ports(state) == {first})
                registry.stdin.write(b"n1 %d 300\n" % second)
                await seen.until(lambda state: _ports(state) == {second, 8080})
                told, asked = map(float, (await registry.stdout.readline()).split())
                assert time.time() - 10 < told < asked <= time.time()
    finally:
        registry.kill()
        await registry.wait()


def _ports(state: object) -> set[int]:
    if not isinstance(state, Ok) or not isinstance(state.value, AddressSet):
        return set()
    return {address.port for address in state.value.addresses}
