"""Where a program of ours keeps what outlives it."""

from __future__ import annotations

import os


def state_directory() -> str:
    """Give systemd's `StateDirectory`, else `$XDG_STATE_HOME/biandou`, else `~/.local/state/biandou`."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return given
    home = os.environ.get("XDG_STATE_HOME", "")
    # The specification says that a relative path is to be ignored.
    return os.path.join(home if os.path.isabs(home) else os.path.expanduser("~/.local/state"), "biandou")
