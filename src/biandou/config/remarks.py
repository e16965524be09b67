"""Keys of a sound configuration that have another effect than in Linkerd, or none: an operator should know."""

from __future__ import annotations

from collections.abc import Iterator

from biandou.config.admin import Admin
from biandou.config.linker import LinkerConfig
from biandou.config.naming_remarks import naming_remarks
from biandou.config.router import HttpRouter


def remarks(config: LinkerConfig) -> list[str]:
    """Give a line for each such key that is written; docs/differences.md has the reasons."""
    found = [line for router in config.routers if isinstance(router, HttpRouter) for line in _of_router(router)]
    return [*found, *_of_admin(config.admin), *naming_remarks(config)]


def _of_router(router: HttpRouter) -> Iterator[str]:
    where = f"router {router.name}"
    if not router.streaming_enabled:
        yield f"{where}: streamingEnabled: false: bodies are streamed all the same; short ones can be sent again"
    if router.compression_level > 0:
        yield f"{where}: compressionLevel: {router.compression_level}: responses go on as endpoints made them"


def _of_admin(admin: Admin) -> Iterator[str]:
    options = admin.socket_options
    if not options.no_delay or options.read_timeout_ms is not None or options.write_timeout_ms is not None:
        yield "admin: socketOptions: it always sends at once, and has time limits of its own, which can't be changed"
