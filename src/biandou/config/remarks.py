"""Keys of a sound configuration that have another effect than in Linkerd, or none: an operator should know."""

from __future__ import annotations

import os
from collections.abc import Iterator

from biandou.config.admin import Admin
from biandou.config.client import ClientKeys, GlobalClient
from biandou.config.linker import LinkerConfig
from biandou.config.naming_remarks import naming_remarks
from biandou.config.plan import NeverRoll
from biandou.config.router import HttpRouter, Router, TcpRouter
from biandou.config.server import SocketOptions
from biandou.config.service import ServiceKeys


def remarks(config: LinkerConfig) -> list[str]:
    """Give a line for each such key that is written; docs/differences.md has the reasons."""
    found = [line for router in config.routers for line in _of_router(router)]
    return [*found, *_of_access_logs(config), *_of_admin(config.admin), *naming_remarks(config)]


def _of_router(router: Router) -> Iterator[str]:
    if isinstance(router, HttpRouter):
        yield from _of_requests(router)
    if isinstance(router, TcpRouter):
        keys = dict.fromkeys(_of_connections(router))
        yield from (
            f"router {router.name}: {key}: it is about requests, and has no effect on connections" for key in keys
        )


def _of_access_logs(config: LinkerConfig) -> Iterator[str]:
    """Tell of a file that several routers write to: lines stay whole, but each router opens and rolls it by itself."""
    sharing: dict[str, list[HttpRouter]] = {}
    for router in config.routers:
        if isinstance(router, HttpRouter) and router.http_access_log is not None:
            sharing.setdefault(os.path.realpath(router.http_access_log), []).append(router)
    for routers in sharing.values():
        if len(routers) > 1 and any(_changes_its_log(router) for router in routers):
            names = " and ".join(router.name for router in routers)
            yield (
                f"routers {names}: httpAccessLog: {routers[0].http_access_log}: each moves or empties the file under "
                "the other's hands; give each a file of its own"
            )


def _changes_its_log(router: HttpRouter) -> bool:
    return not router.http_access_log_append or not isinstance(router.http_access_log_roll_policy, NeverRoll)


def _of_requests(router: HttpRouter) -> Iterator[str]:
    where = f"router {router.name}"
    if not router.streaming_enabled:
        yield f"{where}: streamingEnabled: false: bodies are streamed all the same; short ones can be sent again"
    if router.compression_level > 0:
        yield f"{where}: compressionLevel: {router.compression_level}: responses go on as endpoints made them"


def _of_connections(router: TcpRouter) -> Iterator[str]:
    """Give the keys of a router of connections that say something of requests, or of connections between them."""
    for service in router.service.entries:
        yield from _of_service(service)
    clients = (router.client,) if isinstance(router.client, GlobalClient) else router.client.configs
    for client in clients:
        yield from _of_client(client)
    for server in router.servers:
        yield from (f"servers: {key}" for key in _of_socket(server.socket_options))
        if server.server_session.life_time_ms is not None:
            yield "servers: serverSession: lifeTimeMs"


def _of_service(service: ServiceKeys) -> Iterator[str]:
    if service.response_classifier is not None:
        yield "service: responseClassifier"
    if service.rate_limit is not None and service.rate_limit.by_header is not None:
        yield "service: rateLimit: byHeader"


def _of_client(client: ClientKeys) -> Iterator[str]:
    for key, written in (
        ("requestAttemptTimeoutMs", client.request_attempt_timeout_ms),
        ("clientSession", client.client_session),
        ("forwardClientCert", client.forward_client_cert),
        ("requestAuthorizers", client.request_authorizers),
    ):
        if written is not None:
            yield f"client: {key}"
    pool = client.host_connection_pool
    if pool is not None and (pool.min_size > 0 or pool.idle_time_ms is not None):
        yield "client: hostConnectionPool: minSize and idleTimeMs"
    if client.socket_options is not None:
        yield from (f"client: {key}" for key in _of_socket(client.socket_options))


def _of_socket(options: SocketOptions) -> Iterator[str]:
    if options.read_timeout_ms is not None or options.write_timeout_ms is not None:
        yield "socketOptions: readTimeoutMs and writeTimeoutMs"


def _of_admin(admin: Admin) -> Iterator[str]:
    options = admin.socket_options
    if not options.no_delay or options.read_timeout_ms is not None or options.write_timeout_ms is not None:
        yield "admin: socketOptions: it always sends at once, and has time limits of its own, which can't be changed"
