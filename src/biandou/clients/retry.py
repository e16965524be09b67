"""How long to wait before something that failed is tried again: at random, so that many do not come at one moment."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

FIRST_SECONDS: Final = 1.0
"""Within so long is tried again what went well until now."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How long to wait, in seconds: from half of `base` on, doubled up to `longest`."""

    base: float
    longest: float

    def wait(self, failures: int) -> float:
        """Give how long to wait after so many failures in a row; none means that it went well until now."""
        if failures == 0:
            return random.uniform(0, min(FIRST_SECONDS, self.base))  # noqa: S311 - no secret
        most = min(self.longest, self.base * 2 ** min(failures - 1, 30))
        return random.uniform(most / 2, most)  # noqa: S311 - no secret
