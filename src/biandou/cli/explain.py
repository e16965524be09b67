"""`biandou explain`: the five steps for one request, as text or JSON, without a running linker."""

from __future__ import annotations

import asyncio
import sys
from ipaddress import ip_address
from typing import Annotated

import msgspec
import typer

from biandou.boundary import Advice
from biandou.cli.daemon import EX_CONFIG, EX_USAGE
from biandou.config.linker import LinkerConfig, load
from biandou.config.router import HttpRouter
from biandou.config.server import HttpServer
from biandou.errors import ConfigError
from biandou.linker.assembly import assemble
from biandou.linker.explain import Client, Explanation, Node, Subject
from biandou.linker.explain import explain as walk
from biandou.linker.identify import Request
from biandou.linker.request_plugins import RouterPlugins
from biandou.requests import Headers, PluginRequest


def explain(
    config: Annotated[str, typer.Argument(help="A linkerd.yaml, or - for standard input.")],
    method: Annotated[str, typer.Argument(help="The request's method.")] = "GET",
    target: Annotated[str, typer.Argument(help="The request's target.")] = "/",
    *,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", help="A header as in curl: 'Host: web'. Repeatable.")
    ] = None,
    original: Annotated[
        str | None, typer.Option(help="Where its connection was going before it was redirected: 10.0.0.7:8080.")
    ] = None,
    router: Annotated[str | None, typer.Option(help="The router's label; without it the first router.")] = None,
    server: Annotated[int, typer.Option(min=1, help="By which of the router's servers the request comes in.")] = 1,
    plugins: Annotated[bool, typer.Option("--plugins", help="Run its filters and identifiers in Python, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the five steps for one request: biandou explain linkerd.yaml -H 'Host: web' GET /."""
    if method.startswith("/") and target == "/":
        method, target = "GET", method
    try:
        loaded = load(config)
        request = _request(method, target, header or [], original)
        told = asyncio.run(_explain(loaded, router, server, request, plugins=plugins))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(EX_CONFIG) from None
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(EX_USAGE) from None
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
    else:
        sys.stdout.write(render(told, colour=sys.stdout.isatty()))
    raise typer.Exit(0 if told.problem is None else 1)


def _request(method: str, target: str, headers: list[str], original: str | None) -> Request:
    pairs = []
    for line in headers:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ValueError(f"not a header, `Name: value` is: {line}")
        pairs.append((name.strip(), value.strip()))
    return Request(method, target, tuple(pairs), original=None if original is None else _address(original))


def _address(text: str) -> tuple[str, int]:
    ip, _, port = text.rpartition(":")
    try:
        address = str(ip_address(ip.removeprefix("[").removesuffix("]")))
    except ValueError:
        address = ""
    if not address or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ValueError(f"{text} is not where a connection can go, as 10.0.0.7:8080 and [fd00::7]:80 are")
    return address, int(port)


async def _explain(
    config: LinkerConfig, label: str | None, server: int, request: Request, *, plugins: bool
) -> Explanation:
    assembled = assemble(config)
    labels = [router.name for router in config.routers]
    if label is None:
        label = labels[0]
    if label not in labels:
        raise ValueError(f"no router is called {label}; there are: {', '.join(labels)}")
    index = labels.index(label)
    written = config.routers[index]
    if not isinstance(written, HttpRouter):
        raise ValueError(f"{label} is a router of connections; this explains requests")
    subject = Subject(
        router=assembled.routers[index],
        identifiers=written.identifier,
        dst_prefix=written.dst_prefix,
        base=written.dtab,
        namers=assembled.namers,
        seconds=written.binding_timeout_ms / 1000,
        edge=_is_edge(written, server),
    )
    return await walk(subject, request, await _advice(written, request) if plugins else None)


def _is_edge(router: HttpRouter, server: int) -> bool:
    servers = router.servers or (HttpServer(),)
    if server > len(servers):
        raise ValueError(f"{router.name} has {len(servers)} servers")
    return servers[server - 1].clear_context or servers[server - 1].trust == "none"


async def _advice(router: HttpRouter, request: Request) -> Advice | None:
    if not router.shows_requests:
        return None
    running = RouterPlugins(router)
    try:
        here = "127.0.0.1:0"
        seen = PluginRequest(router.name, request.method, request.uri, Headers(request.headers), here, here)
        return await running.advise(seen)
    finally:
        running.close()


def render(told: Explanation, *, colour: bool) -> str:
    """Give an explanation as text, a line a fact; with colour, what is not taken is dim and what is wrong is red."""
    paint = _Paint(colour)
    lines = [f"{told.request}   router {told.router}   (+ taken, - not taken)", "", paint.title("1 identification")]
    width = max((len(attempt.kind) for attempt in told.identification), default=0)
    for attempt in told.identification:
        said = attempt.name if attempt.name is not None else paint.dim(f"no name: {attempt.reason}")
        lines.append(f"  {attempt.kind:<{width}}  {said}")
    if told.override:
        lines.append(f"  the request's own dtab: {told.override}")
    if told.binding is not None:
        lines += ["", paint.title("2 binding"), *_tree(told.binding, paint)]
    if told.name is not None and told.binding is not None:
        lines += ["", paint.title("3 resolution"), *_clients(told.resolution, paint)]
        lines += ["", paint.title("4 transformation")]
        before = told.resolution
        for step in told.transformation:
            lines += [f"  {step.transformer}", *_clients(step.after, paint, "    ", before)]
            before = step.after
        if not told.transformation:
            lines.append(paint.dim("  none"))
        lines += ["", paint.title("5 load balancing")]
        for chosen in told.balancing:
            lines.append(f"  {chosen.client}  {chosen.balancer} of {_count(len(chosen.endpoints), 'endpoint')}")
        if not told.balancing:
            lines.append(paint.dim("  nothing to choose from"))
    if told.problem is not None:
        lines += ["", paint.wrong(told.problem)]
    return "\n".join(lines) + "\n"


def _tree(root: Node, paint: _Paint) -> list[str]:
    rows: list[tuple[str, Node]] = []
    stack = [(root, 0)]
    while stack:
        node, depth = stack.pop()
        mark = "+" if node.taken else "-"
        weight = "" if node.weight is None else f"{node.weight:g} * "
        rows.append((f"  {'  ' * depth}{mark} {weight}{node.path}", node))
        stack.extend((following, depth + 1) for following in reversed(node.next))
    width = min(max(len(text) for text, _ in rows), 60)
    lines = []
    for text, node in rows:
        by = "" if node.prefix is None else f"{node.prefix} => {node.dst}"
        line = f"{text:<{width}}  {by}" if by else text
        if node.why:
            line += f"   ({node.why})"
        lines.append(line if node.taken else paint.dim(line))
    return lines


def _clients(clients: list[Client], paint: _Paint, indent: str = "  ", before: list[Client] | None = None) -> list[str]:
    lines = []
    for index, client in enumerate(clients):
        line = f"{indent}{client.share:7.2%}  {client.client}"
        if client.residual != "/":
            line += f"  residual {client.residual}"
        if client.source is not None:
            line += f"  from {client.source}"
        if client.state != "known":
            line += f"  {paint.wrong(client.state)}"
        lines.append(line)
        lines += [f"{indent}         {endpoint}" for endpoint in client.endpoints]
        if before is not None and len(before) == len(clients) and before[index].endpoints != client.endpoints:
            lines.append(paint.dim(f"{indent}         was {', '.join(before[index].endpoints) or 'empty'}"))
    return lines or [paint.dim(f"{indent}nothing there")]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


class _Paint:
    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def title(self, text: str) -> str:
        return self._in("1", text)

    def dim(self, text: str) -> str:
        return self._in("2", text)

    def wrong(self, text: str) -> str:
        return self._in("31", text)

    def _in(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text
