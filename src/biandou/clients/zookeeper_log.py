"""What kazoo has to say, for those who look closely: it says every attempt to connect, and not of which registry.

That a registry is away is told once for each of its names, by whoever follows them.
"""

from __future__ import annotations

import logging
from typing import Any, Final


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    """Warnings are debugging; errors stay what they are."""

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        super().log(level if level >= logging.ERROR else min(level, logging.DEBUG), msg, *args, **kwargs)


KAZOO_LOG: Final = _Quiet(logging.getLogger("kazoo"), {})
