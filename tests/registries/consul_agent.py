"""What a Consul agent does with services that register themselves: strict about how they do, and about their time.

From Consul's documentation: api-docs/agent/service ("Register Service", "Deregister Service") and api-docs/agent/check
("Register Check" for the keys of a check, "TTL Check Pass"); an id that is not known is answered by 404 since 1.11.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tests.registries.consul_state import ConsulState, Instance

SERVICE = {"ID", "Name", "Address", "Port", "Tags", "Meta", "Check"}
CHECK = {"CheckID", "Name", "TTL", "Status", "Notes", "DeregisterCriticalServiceAfter"}


class NotAService(Exception):
    """Something that Consul would not register."""


@dataclass
class Registered:
    """A service of the agent's; `late` has its check become critical."""

    instance: Instance
    check: str
    ttl: float
    late: asyncio.TimerHandle


class Agent:
    """The services of one agent; `passes` are the times at which a check was passed, by its id."""

    def __init__(self, state: Callable[[], ConsulState], changed: Callable[[], None]) -> None:
        self.services: dict[str, Registered] = {}
        self.passes: dict[str, list[float]] = {}
        self._state = state
        self._changed = changed

    def register(self, document: bytes) -> None:
        """Take in a service; raises `NotAService`."""
        told = json.loads(document)
        unknown = {*told} - SERVICE
        check = told.get("Check", {})
        unknown |= {*check} - CHECK
        if unknown:
            raise NotAService(f"the keys {sorted(unknown)}")
        if not told.get("Name") or not isinstance(told.get("Port"), int):
            raise NotAService(f"{told}")
        forget = check.get("DeregisterCriticalServiceAfter", "1m")
        if seconds(forget) < 60:
            raise NotAService(f"DeregisterCriticalServiceAfter is a minute at least: {forget}")
        id = told.get("ID", told["Name"])
        self.deregister(id)
        check_id = check.get("CheckID", f"service:{id}")
        instance = Instance(
            told["Name"],
            told["Port"],
            service_address=told.get("Address", ""),
            tags=tuple(told.get("Tags") or ()),
            checks=(("serfHealth", "passing"), (check_id, check.get("Status", "critical"))),
            meta=told.get("Meta") or {},
            given_id=id,
        )
        ttl = seconds(check["TTL"])
        self.services[id] = Registered(instance, check_id, ttl, self._timer(id, ttl))
        self._state().register(instance)
        self._changed()

    def deregister(self, id: str) -> bool:
        """Forget a service, and say whether there was one."""
        known = self.services.pop(id, None)
        if known is None:
            return False
        known.late.cancel()
        self._state().deregister(known.instance)
        self._changed()
        return True

    def passed(self, check: str) -> bool:
        """Have a check pass, and say whether it is known."""
        for id, known in self.services.items():
            if known.check == check:
                self.passes.setdefault(check, []).append(asyncio.get_running_loop().time())
                known.late.cancel()
                known.late = self._timer(id, known.ttl)
                self._become(id, "passing")
                return True
        return False

    def lose_all(self) -> None:
        """Forget every service, as an agent does whose data directory was lost."""
        for id in [*self.services]:
            self.deregister(id)

    def status(self, id: str) -> str | None:
        """Give how a service's own check is, `None` for one that is not known."""
        known = self.services.get(id)
        return None if known is None else dict(known.instance.checks)[known.check]

    def _timer(self, id: str, ttl: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(ttl, self._become, id, "critical")

    def _become(self, id: str, status: str) -> None:
        known = self.services[id]
        checks = tuple((check, status if check == known.check else other) for check, other in known.instance.checks)
        if checks != known.instance.checks:
            known.instance = replace(known.instance, checks=checks)
            self._state().register(known.instance)
            self._changed()


def seconds(text: Any) -> float:
    """Read a duration of Go's, as far as one unit goes."""
    found = re.fullmatch(r"([0-9]+)(s|m|h)", text)
    if found is None:
        raise NotAService(f"the duration {text}")
    return int(found[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0}[found[2]]
