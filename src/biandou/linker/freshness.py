"""How fresh what is known of each client's endpoints is, as metrics."""

from __future__ import annotations

import time
from collections.abc import Iterator

from biandou.linker.binder import Binder
from biandou.telemeters.model import Counted


def freshness(binder: Binder) -> Iterator[Counted]:
    """Give, below each client's scope, for how long nobody has confirmed its endpoints, and what had to be mended."""
    now = time.time()
    for (router, client), origin in binder.origins():
        age = origin.age(now)
        gauges = {} if age is None else {"discovery/age_seconds": age}
        yield Counted(
            ("rt", router, "client", client.removeprefix("/")),
            {"discovery/corrections": origin.corrections, "discovery/holds": origin.holds},
            {
                **gauges,
                "discovery/held": float(origin.held_until is not None),
                "discovery/remembered": float(origin.remembered),
            },
        )
