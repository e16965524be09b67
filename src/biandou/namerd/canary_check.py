"""Whether the old version of a canary is where its name leads: the first step gives it nearly all traffic.

A misspelt old version has no endpoints, and the new one would get everything at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from biandou.dtab import Dtab
from biandou.namerd.canary import WHOLE, Plan, begin, dtab_at
from biandou.namerd.names import Names
from biandou.namerd.plan import changes

BIND_SECONDS: Final = 2.0
"""How long namers may take to say where the name leads; who says nothing is believed."""


async def misled(names: Names, namespace: str, plan: Plan, present: Dtab) -> str | None:
    """Say what is wrong if all requests that find an endpoint now would go elsewhere by the old version alone."""
    swapped = replace(plan, old=plan.new, new=plan.old)
    only_old = dtab_at(begin(swapped, present, 0.0), WHOLE)
    for change in await changes(names, namespace, only_old, {plan.path: 1}, BIND_SECONDS):
        if change.kind == "unroutable" or (change.kind == "moved" and change.moves == 1):
            return f"{plan.path} leads to {change.before.tree} now, and the old version to {change.after.tree}"
    return None
