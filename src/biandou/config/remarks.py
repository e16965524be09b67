"""Keys of a sound configuration that have another effect than in Linkerd, or none: an operator should know."""

from __future__ import annotations

from collections.abc import Iterator

from biandou.config.admin import Admin
from biandou.config.client import GlobalClient
from biandou.config.linker import LinkerConfig
from biandou.config.router import HttpRouter
from biandou.config.server import SocketOptions


def remarks(config: LinkerConfig) -> list[str]:
    """Give a line for each such key that is written; docs/differences.md has the reasons."""
    found = [line for router in config.routers for line in _of_router(router)]
    return found + list(_of_admin(config.admin))


def _of_router(router: HttpRouter) -> Iterator[str]:
    where = f"router {router.name}"
    if not router.streaming_enabled:
        yield f"{where}: streamingEnabled: false: bodies are streamed all the same; short ones can be sent again"
    if router.compression_level > 0:
        yield f"{where}: compressionLevel: {router.compression_level}: responses go on as endpoints made them"
    clients = (router.client,) if isinstance(router.client, GlobalClient) else router.client.configs
    written = [server.socket_options for server in router.servers] + [keys.socket_options for keys in clients]
    if any(options is not None and not options.reuse_addr for options in written):
        yield f"{where}: reuseAddr: false: a restart must not wait for old connections, so it stays on"


def _of_admin(admin: Admin) -> Iterator[str]:
    if admin.socket_options != SocketOptions():
        yield "admin: socketOptions: the admin server has limits of its own, which can't be changed"
