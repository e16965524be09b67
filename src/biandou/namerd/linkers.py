"""What one namerd knows of its linkers: what they have in force, and how they do while a dtab is tried."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from biandou.namerd.in_force import InForce
from biandou.namerd.live_names import LiveNames
from biandou.namerd.outcomes import Outcomes
from biandou.namerd.reports import BUSY_SECONDS, IDLE_SECONDS


@dataclass(frozen=True, slots=True)
class Linkers:
    """Everything that is heard from linkers besides what canaries are judged by."""

    in_force: InForce = field(default_factory=InForce)
    outcomes: Outcomes = field(default_factory=Outcomes)
    names: LiveNames = field(default_factory=LiveNames)

    def hear(self, namespace: str, document: bytes, answer: dict[str, Any]) -> dict[str, Any]:
        """Take in a report, and give what it is answered: `answer`, and what else is wanted. Raises `ValueError`."""
        seconds = answer["seconds"]
        self.in_force.report(namespace, document, seconds)
        wanted = {}
        if self.outcomes.wants(namespace):
            self.outcomes.take(namespace, document)
            wanted["served"] = True
        if self.names.wants(namespace):
            self.names.take(namespace, document)
            wanted["names"] = True
        if not wanted:
            return answer
        return {**answer, **wanted, "seconds": BUSY_SECONDS if seconds == IDLE_SECONDS else seconds}
