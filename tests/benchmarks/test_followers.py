"""The simulated linkers of the benchmark are linkers to namerd: they bind, follow, acknowledge, and count."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from biandou.dtab import Dtab
from biandou.testing.origin import exchange, get
from tests.interpreters.test_namerd_http import Namerd, store

ROOT = Path(__file__).parents[2]


async def test_simulated_linkers_follow_acknowledge_and_count() -> None:
    async with Namerd(store()) as namerd:
        followers = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.followers", str(namerd.port), "3", "4",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )  # fmt: skip
        assert followers.stdin is not None
        assert followers.stdout is not None
        try:
            async with asyncio.timeout(20):
                assert await followers.stdout.readline() == b"ready\n"
                for wanted, count in ((b'{"version"', 3), (b'"port":9', 12)):
                    followers.stdin.write(wanted + b" %d\n" % count)
                    assert await followers.stdout.readline() == b"counting\n"
                    await namerd.store.put("default", Dtab.read(f"/svc => /$/inet/127.0.0.1/{5 + count % 8}"))
                    assert abs(time.time() - float(await followers.stdout.readline())) < 5
                while True:
                    answer = await exchange("127.0.0.1", namerd.port, get("namerd", "/api/1/in-force/default"))
                    known = json.loads(answer.partition(b"\r\n\r\n")[2])
                    if known["inForce"] == len(known["linkers"]) == 3:
                        break
                    await asyncio.sleep(0.01)
        finally:
            followers.kill()
            await followers.wait()
