"""The demonstration's traffic: a steady stream of requests through the outgoing linker, and what became of them."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from biandou.demo.hosts import Host
from biandou.demo.service import INSTANCE_HEADER

CALLERS: Final = 8
REQUESTS_PER_SECOND: Final = 160.0
WINDOW_SECONDS: Final = 2.0
TIMEOUT: Final = aiohttp.ClientTimeout(total=5.0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request: when it ended (monotonic), how long it took, and who answered (`None` for a failure)."""

    ended: float
    seconds: float
    instance: str | None


@dataclass(frozen=True, slots=True)
class Recent:
    """The last two seconds."""

    requests_per_second: float
    success: float
    p50_ms: float
    p99_ms: float
    instances: Counter[str]


class Traffic:
    """Calls `web` three times as often as `users`; counts every request, and remembers the latest for the view.

    It calls from `host`, if that is given, and else from here.
    """

    def __init__(self, port: int, host: Host | None = None) -> None:
        self._host = host
        self._url = f"http://127.0.0.1:{port}/"
        self._recent: deque[Outcome] = deque()
        self.requests = 0
        self.failures: Counter[str] = Counter()
        self.by_phase: dict[str, Counter[str]] = {}
        self.phase = ""

    async def run(self) -> None:
        """Call until cancelled."""
        connector = aiohttp.TCPConnector(limit=CALLERS, socket_factory=self._open_socket if self._host else None)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session,
            asyncio.TaskGroup() as callers,
        ):
            for number in range(CALLERS):
                callers.create_task(self._call(session, number))

    def recent(self) -> Recent:
        """Sum up the last two seconds."""
        now = time.monotonic()
        while self._recent and self._recent[0].ended < now - WINDOW_SECONDS:
            self._recent.popleft()
        outcomes = list(self._recent)
        latencies = sorted(outcome.seconds * 1000 for outcome in outcomes)
        answered = [outcome.instance for outcome in outcomes if outcome.instance is not None]
        return Recent(
            requests_per_second=len(outcomes) / WINDOW_SECONDS,
            success=len(answered) / len(outcomes) if outcomes else 1.0,
            p50_ms=latencies[len(latencies) // 2] if latencies else 0.0,
            p99_ms=latencies[len(latencies) * 99 // 100] if latencies else 0.0,
            instances=Counter(answered),
        )

    def _open_socket(self, address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol = address[:3]
        return (self._host.open_socket if self._host else socket.socket)(family, kind, protocol)

    async def _call(self, session: aiohttp.ClientSession, number: int) -> None:
        pause = CALLERS / REQUESTS_PER_SECOND
        await asyncio.sleep(pause * number / CALLERS)
        while True:
            number += 1
            began = time.monotonic()
            await self._ask(session, "users" if number % 4 == 0 else "web")
            await asyncio.sleep(max(0.0, began + pause - time.monotonic()))

    async def _ask(self, session: aiohttp.ClientSession, service: str) -> None:
        began = time.monotonic()
        instance: str | None = None
        failure = ""
        try:
            async with session.get(self._url, headers={"Host": service}) as answer:
                text = await answer.text()
                instance = answer.headers.get(INSTANCE_HEADER)
                if answer.status != 200 or instance is None:
                    instance = None
                    failure = f"{answer.status} {answer.headers.get('l5d-err', '') or text}".strip()
        except (aiohttp.ClientError, TimeoutError) as error:
            failure = f"{type(error).__name__}: {error}"
        ended = time.monotonic()
        self.requests += 1
        if failure:
            self.failures[failure[:200]] += 1
        else:
            self.by_phase.setdefault(self.phase, Counter())[instance or ""] += 1
        self._recent.append(Outcome(ended, ended - began, instance))
