"""gRPC's library writes lines of its own to standard error: a stranger's failed handshake would fill our log."""

from __future__ import annotations

import os


def hush_grpc() -> None:
    """Keep gRPC's library silent unless `GRPC_VERBOSITY` says otherwise; to be called before it is imported."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
