"""The `stateFile` section: what is kept of what was known, for a start while a registry or namerd is away."""

from __future__ import annotations

import os

from biandou.clients.state_directory import state_directory
from biandou.config.values import PositiveCount
from biandou.policies import Keys, Milliseconds


class StateFile(Keys, frozen=True, kw_only=True):
    """Where that is kept, for how long it may be used, and how long others have to answer before it is.

    Without `path` it is a file in the state directory, called after the first server's port; no file if that is 0.
    """

    enabled: bool = True
    path: str | None = None
    max_age_secs: PositiveCount = 86_400
    patience_ms: Milliseconds = 1000

    def __post_init__(self) -> None:
        """Raise `ValueError` for a path that can be no file."""
        if self.path is None:
            return
        # The file is replaced as a whole: whoever means `enabled: false` by `/dev/null` would lose that.
        if not self.path or "\0" in self.path or (os.path.exists(self.path) and not os.path.isfile(self.path)):
            raise ValueError(f"{self.path!r} is no file")

    def place(self, program: str, port: int) -> str | None:
        """Give the file's path, or `None` if none is to be kept; `port` is that of the first server."""
        if not self.enabled:
            return None
        if self.path is not None:
            return os.path.abspath(self.path)
        # With a port that is another one each time nobody can tell whose file it would be.
        return os.path.join(state_directory(), f"{program}-{port}.json") if port else None
