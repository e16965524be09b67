"""From the configuration to what the engine is told: the plan, and the policies of a service or client name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from biandou.classifiers.interface import PythonClassifierKind
from biandou.config.access_log import access_log_plan
from biandou.config.client import ClientKeys, HostConnectionPool
from biandou.config.linker import LinkerConfig
from biandou.config.plan import (
    BindingCachePlan,
    BudgetPlan,
    ClientAuthPlan,
    ClientPolicy,
    ClientTlsPlan,
    ForwardedPlan,
    HttpLimits,
    NotHttpPlan,
    OutlierPlan,
    Plan,
    PluginPlan,
    PoolPlan,
    RouterPlan,
    ServerPlan,
    ServerTlsPlan,
    ServicePolicy,
    SocketOptions,
)
from biandou.config.router import HttpRouter, Router
from biandou.config.server import ForwardedHeader, HttpServer, NotHttp, Server, Session
from biandou.config.server import SocketOptions as WrittenSocketOptions
from biandou.dtab import Path
from biandou.identifiers.interface import PythonIdentifierKind
from biandou.policies import (
    Budget,
    ClientTls,
    ConsecutiveFailures,
    FailureAccrualKind,
    NoFailureAccrual,
    ResponseClassifierKind,
    Retries,
    ServerTls,
)

_UNLIMITED = 2**31 - 1
_DEFAULT_SERVER = ServerPlan(ip="127.0.0.1", port=0)


def plan(config: LinkerConfig, workers: int) -> Plan:
    """Give the engine's plan; listening sockets that were handed over are put in by whoever holds them."""
    return Plan(workers=workers, routers=[router_plan(router) for router in config.routers])


def router_plan(router: Router) -> RouterPlan:
    """Give the plan of one router."""
    cache = router.binding_cache
    plan = RouterPlan(
        label=router.name,
        protocol=router.protocol,
        dst_prefix=str(router.dst_prefix),
        identifiers=_identifiers(router),
        servers=[_server_plan(server) for server in router.servers],
        base_dentries=[f"{dentry.prefix} => {dentry.dst}" for dentry in router.dtab],
        binding_timeout_ms=router.binding_timeout_ms,
        binding_cache=BindingCachePlan(
            paths=cache.paths,
            trees=cache.trees,
            bounds=cache.bounds,
            clients=cache.clients,
            idle_ttl_ms=cache.idle_ttl_secs * 1000,
        ),
        originator=router.originator,
    )
    return _http_plan(router, plan) if isinstance(router, HttpRouter) else plan


def _http_plan(router: HttpRouter, plan: RouterPlan) -> RouterPlan:
    return msgspec.structs.replace(
        plan,
        plugins=_plugins(router),
        http=HttpLimits(
            max_head_bytes=router.max_headers_kb * 1024,
            max_line_bytes=router.max_initial_line_kb * 1024,
            max_header_count=router.max_header_count,
            max_error_body_bytes=router.max_err_response_kb * 1024,
            replay_body_bytes=_replay_body_bytes(router),
        ),
        trace_propagator=_written(router.trace_propagator),
        access_log=access_log_plan(
            router.http_access_log,
            router.http_access_log_roll_policy,
            router.http_access_log_append,
            router.http_access_log_rotate_count,
        ),
    )


def _identifiers(router: Router) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = []
    in_python = 0
    for identifier in router.identifier:
        if isinstance(identifier, PythonIdentifierKind):
            written.append({"kind": "plugin", "index": in_python})
            in_python += 1
        else:
            written.append(_written(identifier))
    return written


def _plugins(router: HttpRouter) -> PluginPlan | None:
    if not router.has_python_plugins:
        return None
    return PluginPlan(
        timeout_ms=router.plugins.timeout_ms,
        max_waiting=router.plugins.max_waiting,
        sees_requests=router.shows_requests,
    )


def service_policy(router: Router, service: str) -> ServicePolicy:
    """Give what holds for a service name (`/svc/web`): of the entries that match, the last that says something."""
    said: dict[str, Any] = {}
    for keys in router.service.applying(_path(service)):
        if keys.total_timeout_ms is not None:
            said["total_timeout_ms"] = _limit(keys.total_timeout_ms)
        if keys.rate_limit is not None:
            said["rate_limit"] = keys.rate_limit.plan
        if keys.response_classifier is not None:
            said["classifier"] = _classifier(keys.response_classifier)
        # Its two keys override those of earlier entries one by one (reference/linker.md §2.6).
        retries = keys.retries or Retries()
        if retries.backoff is not None:
            said["retry_backoff"] = _written(retries.backoff)
        if retries.budget is not None:
            said["retry_budget"] = _budget(retries.budget)
    return ServicePolicy(**said)


def _classifier(kind: ResponseClassifierKind) -> dict[str, Any]:
    if isinstance(kind, PythonClassifierKind):
        return {"kind": "plugin", "number": kind.number}
    return _written(kind)


def client_policy(router: Router, client: str) -> ClientPolicy:
    """Give what holds for a client name (`/#/io.l5d.fs/web`): each key whole from the last matching entry with it."""
    keys = _merge(router.client.applying(_path(client)))
    session = keys.client_session or Session()
    policy = ClientPolicy(
        outliers=_outliers(keys),
        pool=_pool(keys.host_connection_pool or HostConnectionPool()),
        socket=_socket(keys.socket_options or WrittenSocketOptions()),
        request_attempt_timeout_ms=_limit(keys.request_attempt_timeout_ms),
        requeue_budget=_budget(keys.requeue_budget or Budget()),
        forward_client_cert=bool(keys.forward_client_cert),
        tls=_client_tls(keys.tls),
        idle_timeout_ms=session.idle_time_ms,
        life_timeout_ms=session.life_time_ms,
    )
    said: dict[str, Any] = {}
    if keys.load_balancer is not None:
        said["balancer"] = _written(keys.load_balancer)
    if keys.failure_accrual is not None:
        said["failure_accrual"] = _failure_accrual(keys.failure_accrual)
    if keys.connect_timeout_ms is not None:
        said["connect_timeout_ms"] = keys.connect_timeout_ms
    return msgspec.structs.replace(policy, **said)


def _merge(applying: Iterable[ClientKeys]) -> ClientKeys:
    merged: dict[str, Any] = {}
    for keys in applying:
        for name in ClientKeys.__struct_fields__:
            value = getattr(keys, name)
            if value is not None:
                merged[name] = value
    return ClientKeys(**merged)


def _path(text: str) -> Path | None:
    try:
        return Path.read(text)
    except ValueError:
        return None


def _server_plan(server: Server) -> ServerPlan:
    idle = server.server_session.idle_time_ms
    plan = ServerPlan(
        ip=server.ip,
        port=server.port,
        socket=_socket(server.socket_options),
        max_concurrent_requests=server.max_concurrent_requests,
        head_timeout_ms=server.head_timeout_ms,
        max_connections=server.max_connections,
        idle_timeout_ms=_DEFAULT_SERVER.idle_timeout_ms if idle is None else idle,
        life_timeout_ms=server.server_session.life_time_ms,
        tls=_server_tls(server.tls),
    )
    return _http_server_plan(server, plan) if isinstance(server, HttpServer) else plan


def _http_server_plan(server: HttpServer, plan: ServerPlan) -> ServerPlan:
    return msgspec.structs.replace(
        plan,
        clear_context=server.clear_context or server.trust == "none",
        withhold_errors=server.trust == "none",
        max_call_depth=server.max_call_depth,
        timestamp_header=server.timestamp_header,
        request_timeout_ms=_limit(server.timeout_ms),
        rate_limit=server.rate_limit.plan if server.rate_limit else None,
        forwarded=_forwarded(server.add_forwarded_header),
        not_http=_not_http(server.not_http),
    )


def _not_http(others: NotHttp | None) -> NotHttpPlan | None:
    return None if others is None else NotHttpPlan(router=others.router, silence_ms=others.silence_ms)


def _forwarded(header: ForwardedHeader | None) -> ForwardedPlan | None:
    return None if header is None else ForwardedPlan(by=_written(header.by), for_=_written(header.for_))


def _server_tls(tls: ServerTls | None) -> ServerTlsPlan | None:
    if tls is None:
        return None
    return ServerTlsPlan(
        cert_path=tls.cert_path,
        key_path=tls.key_path,
        intermediate_certs_path=tls.intermediate_certs_path,
        ca_cert_path=tls.ca_cert_path,
        require_client_auth=tls.require_client_auth,
        ciphers=list(tls.ciphers),
        protocols=list(tls.protocols),
    )


def _client_tls(tls: ClientTls | None) -> ClientTlsPlan | None:
    if tls is None or not tls.enabled:
        return None
    auth = tls.client_auth
    return ClientTlsPlan(
        common_name=tls.common_name,
        disable_validation=tls.disable_validation,
        trust_certs=list(tls.trust_certs) if tls.trust_certs_bundle is None else [tls.trust_certs_bundle],
        client_auth=None
        if auth is None
        else ClientAuthPlan(
            cert_path=auth.cert_path, key_path=auth.key_path, intermediate_certs_path=auth.intermediate_certs_path
        ),
        protocols=list(tls.protocols),
    )


def _socket(options: WrittenSocketOptions) -> SocketOptions:
    return SocketOptions(
        no_delay=options.no_delay,
        reuse_addr=options.reuse_addr,
        reuse_port=options.reuse_port,
        keep_alive=options.keep_alive,
        backlog=options.backlog,
        read_timeout_ms=_limit(options.read_timeout_ms),
        write_timeout_ms=_limit(options.write_timeout_ms),
    )


def _outliers(keys: ClientKeys) -> OutlierPlan:
    names = OutlierPlan.__struct_fields__
    said = {name: value for name in names if (value := getattr(keys, name)) is not None}
    return OutlierPlan(**said)


def _pool(pool: HostConnectionPool) -> PoolPlan:
    return PoolPlan(
        min_size=pool.min_size,
        max_size=None if pool.max_size == _UNLIMITED else pool.max_size,
        idle_time_ms=pool.idle_time_ms,
        max_waiters=None if pool.max_waiters == _UNLIMITED else pool.max_waiters,
    )


def _budget(budget: Budget) -> BudgetPlan:
    return BudgetPlan(
        min_retries_per_sec=budget.min_retries_per_sec,
        percent_can_retry=budget.percent_can_retry,
        ttl_ms=budget.ttl_secs * 1000,
    )


def _replay_body_bytes(router: HttpRouter) -> int:
    if not router.streaming_enabled:
        # All that there is room for.
        return _UNLIMITED
    kilobytes = router.stream_after_content_length_kb
    return HttpLimits().replay_body_bytes if kilobytes is None else kilobytes * 1024


def _failure_accrual(accrual: FailureAccrualKind) -> dict[str, Any]:
    if isinstance(accrual, ConsecutiveFailures):
        # Dead after no failures at all and dead after one are the same: nothing is asked before a failure.
        accrual = msgspec.structs.replace(accrual, failures=max(1, accrual.failures))
    if isinstance(accrual, NoFailureAccrual):
        # It has no rests; a backoff that is written is not looked at.
        accrual = NoFailureAccrual()
    return _written(accrual)


def _limit(milliseconds: int | None) -> int | None:
    """Give a time limit; zero or less is none, as in Finagle's timeout filters."""
    return milliseconds if milliseconds is not None and milliseconds > 0 else None


def _written(kind: msgspec.Struct) -> dict[str, Any]:
    """Give a kind as the operator would write it in full, without what is nothing."""
    return {key: value for key, value in msgspec.to_builtins(kind).items() if value is not None}
