"""The five steps for one request, without a running linker: what `biandou explain` shows.

The same rooms walk the same road; they only stop after each step to tell. Nothing is sent anywhere but to what the
namers themselves ask (files, DNS).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec

from biandou.boundary import Advice, GoOn, NamedPath, NotNamed, OwnReply, PluginFailed
from biandou.dtab import Dtab, DtabSyntaxError, NameTree, Path
from biandou.dtab.bound import Addresses, AddressSet, Bound, LocalStatus, Negative
from biandou.dtab.explain import (
    Absent,
    Alternatives,
    Broken,
    Delegation,
    Found,
    Refused,
    Shares,
    Step,
    Transformed,
    Vacant,
)
from biandou.errors import reason
from biandou.identifiers.interface import IdentifierKind, PythonIdentifierKind
from biandou.kinds import kind_name
from biandou.linker.answers import shares
from biandou.linker.identify import Identified, Request, Unidentified, identify_by, request_dtab
from biandou.linker.router import Router
from biandou.live import PENDING, Failed, Live, Ok, Pending, State
from biandou.namers.interface import Namer

T = TypeVar("T")


class Shown(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Something that is shown, as text or as JSON."""


class Attempt(Shown, frozen=True, kw_only=True):
    """What one identifier said: a name, or why it has none."""

    kind: str
    name: str | None = None
    reason: str | None = None


class Node(Shown, frozen=True, kw_only=True):
    """A place in the delegation.

    `prefix` and `dst` are the dentry that led here (neither: the request, or a namer); `outcome` is `bound`, `~`, `!`,
    `$`, `failed` or `pending`; `taken` whether requests go this way, and `why` not, or what was found.
    """

    path: str
    outcome: str
    taken: bool
    prefix: str | None = None
    dst: str | None = None
    weight: float | None = None
    why: str = ""
    next: list[Node] = []


class Client(Shown, frozen=True, kw_only=True):
    """A client name: its part of the requests, and where it is."""

    client: str
    share: float
    state: str
    residual: str = "/"
    endpoints: list[str] = []
    source: str | None = None
    authority: str | None = None


class Transformation(Shown, frozen=True, kw_only=True):
    """What one transformer made of the client names before it."""

    transformer: str
    after: list[Client]


class Balancing(Shown, frozen=True, kw_only=True):
    """Who chooses among a client's endpoints."""

    client: str
    share: float
    balancer: str
    endpoints: list[str]


class Explanation(Shown, frozen=True, kw_only=True):
    """All five steps as far as they go; `problem` is why they went no further."""

    router: str
    request: str
    identification: list[Attempt]
    name: str | None = None
    override: str = ""
    binding: Node | None = None
    resolution: list[Client] = []
    transformation: list[Transformation] = []
    balancing: list[Balancing] = []
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """The router that is explained: what its steps are made of."""

    router: Router
    identifiers: Sequence[IdentifierKind]
    dst_prefix: Path
    base: Dtab
    namers: Sequence[Namer] = ()
    seconds: float = 10.0
    edge: bool = False
    """The request comes in by a server that believes no `l5d-` header (`clearContext`, `trust: none`)."""


async def explain(subject: Subject, request: Request, advice: Advice | None = None) -> Explanation:
    """Walk the five steps for one request; waits at most `subject.seconds` for what the namers find out.

    `advice` is what the router's plugins say of it, if they were run.
    """
    told = Explanation(
        router=subject.router.label,
        request=f"{request.method} {request.uri} HTTP/{request.version}",
        identification=[],
    )
    # ① identification
    names: list[NamedPath | NotNamed] = []
    match advice:
        case OwnReply(status=status):
            return msgspec.structs.replace(told, problem=f"{status}: a filter answers itself")
        case PluginFailed(message=message):
            return msgspec.structs.replace(told, problem=f"500: {message}")
        case GoOn(remove=gone, add=added, names=names):
            kept = [field for field in request.headers if field[0].lower() not in gone]
            request = replace(request, headers=(*kept, *added))
    if subject.edge:
        request = replace(request, headers=tuple(f for f in request.headers if not f[0].lower().startswith("l5d-")))
    attempts, identified = _identify(subject, request, names)
    told = msgspec.structs.replace(told, identification=attempts)
    if isinstance(identified, Unidentified):
        return msgspec.structs.replace(told, problem=f"400: Unknown destination / {identified.reason}")
    name = identified.name
    told = msgspec.structs.replace(told, name=str(name))
    try:
        local = request_dtab(request)
    except DtabSyntaxError as error:
        return msgspec.structs.replace(told, problem=f"400: {error}")
    told = msgspec.structs.replace(told, override=str(local))
    with ExitStack() as watches:
        patience = _Patience(watches, subject.seconds)
        # ② binding
        delegation = await _delegation(subject, local, name, patience)
        bound = await patience.known(subject.router.interpreter.bind(local, name))
        told = msgspec.structs.replace(told, binding=delegation and judged(delegation, subject.namers))
        if not isinstance(bound, Ok):
            return msgspec.structs.replace(told, problem=_unbound(bound, name, subject.seconds))
        # ③ resolution
        tree = bound.value
        clients = await _clients(subject, tree, patience)
        told = msgspec.structs.replace(told, resolution=clients)
        # ④ transformation
        transformations = []
        for transformer in subject.router.transformers:
            state = await patience.known(transformer.apply(Live.ok(tree)))
            if not isinstance(state, Ok):
                return msgspec.structs.replace(told, problem=_unbound(state, name, subject.seconds))
            tree = state.value
            clients = await _clients(subject, tree, patience)
            transformations.append(Transformation(transformer=str(transformer.prefix), after=clients))
        told = msgspec.structs.replace(told, transformation=transformations)
        # ⑤ load balancing
        told = msgspec.structs.replace(told, balancing=_balancing(subject, tree, clients))
    return msgspec.structs.replace(told, problem=_unusable(clients))


def _identify(
    subject: Subject, request: Request, names: Sequence[NamedPath | NotNamed]
) -> tuple[list[Attempt], Identified | Unidentified]:
    attempts: list[Attempt] = []
    outcome: Identified | Unidentified = Unidentified("no identifier is configured")
    said = iter(names)
    for kind in subject.identifiers:
        named = next(said, None) if isinstance(kind, PythonIdentifierKind) else None
        match named:
            case NamedPath(path=path):
                outcome = Identified(subject.dst_prefix + Path.read(path or "/"), request)
            case NotNamed(reason=why):
                outcome = Unidentified(why)
            case None:
                outcome = identify_by(kind, subject.dst_prefix, request)
        if isinstance(outcome, Identified):
            attempts.append(Attempt(kind=kind_name(type(kind)), name=str(outcome.name)))
            break
        attempts.append(Attempt(kind=kind_name(type(kind)), reason=outcome.reason))
        if outcome.final:
            break
    return attempts, outcome


class _Patience:
    """Waits for what is pending, once in all, and keeps observing what it has seen."""

    def __init__(self, watches: ExitStack, seconds: float) -> None:
        self._watches = watches
        self._deadline = asyncio.get_running_loop().time() + seconds

    async def known(self, live: Live[T]) -> State[T]:
        """Give the first state that is not pending, or pending if time is up."""
        known = asyncio.Event()
        latest: list[State[T]] = [PENDING]

        def notify(state: State[T]) -> None:
            latest[0] = state
            if not isinstance(state, Pending):
                known.set()

        self._watches.callback(live.observe(notify).close)
        try:
            async with asyncio.timeout_at(self._deadline):
                await known.wait()
        except TimeoutError:
            return PENDING
        return latest[0]


async def _delegation(subject: Subject, local: Dtab, name: Path, patience: _Patience) -> Node | None:
    try:
        delegation = subject.router.interpreter.delegate(subject.base + local, name)
    except NotImplementedError:
        return None
    state = await patience.known(delegation)
    if isinstance(state, Ok):
        return _node(state.value, None, outcome(state.value), taken=True, why="")
    why = reason(state.error) if isinstance(state, Failed) else "no namer has answered yet"
    return Node(path=str(name), outcome="failed" if isinstance(state, Failed) else "pending", taken=False, why=why)


def outcome(tree: Delegation) -> str:
    """Give what a branch comes to when names are bound, not shown: `bound`, `~`, `!`, `$` or `failed`."""
    match tree:
        case Found():
            return "bound"
        case Absent():
            return "~"
        case Refused():
            return "!"
        case Vacant():
            return "$"
        case Step() | Transformed():
            return outcome(tree.tree)
        case Alternatives():
            return next((found for found in map(outcome, tree.trees) if found != "~"), "~")
        case Shares():
            found = [outcome(branch) for _, branch in tree.branches]
            for wanted in ("bound", "$"):
                if wanted in found:
                    return wanted
            return "~" if "~" in found or "!" in found else "failed"
    return "failed"


def judged(node: Node, namers: Sequence[Namer]) -> Node:
    """Give the same delegation with the reasons of namers that choose, each at the first place where it is asked."""
    path = Path.read(node.path)
    for namer in namers:
        tell = getattr(namer, "verdict", None)
        why = tell(path) if tell is not None and path.starts_with(namer.prefix) else None
        if why is not None:
            return msgspec.structs.replace(node, why=f"{node.why}; {why}" if node.why else why)
    return msgspec.structs.replace(node, next=[judged(following, namers) for following in node.next])


_WHY = {
    "~": "nothing there",
    "!": "fails on purpose (!)",
    "$": "there, without endpoints ($)",
    "failed": "failed",
    "bound": "",
}


def _node(tree: Delegation, weight: float | None, comes_to: str, *, taken: bool, why: str) -> Node:
    following: list[Node] = []
    match tree:
        case Found():
            why = why or f"bound: {tree.bound.id}, residual {tree.bound.residual}"
        case Broken():
            why = why or tree.message
        case Step() | Transformed():
            following = [_node(tree.tree, None, comes_to, taken=taken, why="")]
        case Alternatives():
            following = _alternatives(tree, taken=taken)
        case Shares():
            for share, branch in tree.branches:
                part = outcome(branch)
                used = taken and part in ("bound", "$")
                following.append(_node(branch, share, part, taken=used, why="" if used else _WHY[part]))
        case Absent() | Refused() | Vacant():
            why = why or _WHY[comes_to]
    return Node(
        path=str(tree.path),
        outcome=comes_to,
        taken=taken and comes_to == "bound",
        prefix=None if tree.dentry is None else str(tree.dentry.prefix),
        dst=None if tree.dentry is None else str(tree.dentry.dst),
        weight=weight,
        why=why,
        next=following,
    )


def _alternatives(tree: Alternatives, *, taken: bool) -> list[Node]:
    nodes = []
    open_still = taken
    for branch in tree.trees:
        comes_to = outcome(branch)
        chosen = open_still and comes_to != "~"
        why = ""
        if not chosen:
            why = _WHY["~"] if open_still or comes_to == "~" else "not tried: a branch before it is taken"
        nodes.append(_node(branch, None, comes_to, taken=chosen, why="" if chosen and comes_to == "bound" else why))
        open_still = open_still and not chosen
    return nodes


async def _clients(subject: Subject, tree: NameTree[Bound], patience: _Patience) -> list[Client]:
    return [
        Client(client="$", share=share, state="empty")
        if bound is None
        else _client(bound, share, await patience.known(bound.addresses), _source(subject.namers, bound.id))
        for share, bound in shares(tree) or ()
    ]


def _client(bound: Bound, share: float, state: State[Addresses], source: str | None) -> Client:
    shown: dict[str, Any] = {"state": "pending"}
    match state:
        case Ok(AddressSet(addresses, meta)):
            shown = {
                "state": "known" if addresses else "empty",
                "endpoints": [f"{a}" if a.weight == 1.0 else f"{a} * {a.weight:g}" for a in addresses],
                "authority": meta.get("authority"),
            }
        case Ok(Negative()):
            shown = {"state": "negative"}
        case Ok(LocalStatus(code)):
            shown = {"state": f"answered with status {code}"}
        case Failed(error):
            shown = {"state": f"failed: {reason(error)}"}
    return Client(client=str(bound.id), share=share, residual=str(bound.residual), source=source, **shown)


def _source(namers: Sequence[Namer], client: Path) -> str | None:
    """Say where a namer has a client's endpoints from, if it can say; transformers' prefixes are looked through."""
    segments = client.segments
    while b"%" in segments[:1]:
        at = next((index for index, segment in enumerate(segments) if segment in (b"#", b"$")), len(segments))
        segments = segments[at:]
    bare = Path(segments)
    for namer in reversed(namers):
        tell = getattr(namer, "source", None)
        if tell is not None and bare.starts_with(namer.prefix):
            return str(tell(bare))
    return None


def _balancing(subject: Subject, tree: NameTree[Bound], clients: Sequence[Client]) -> list[Balancing]:
    chosen = []
    for (share, bound), client in zip(shares(tree) or (), clients, strict=True):
        if bound is not None and client.endpoints:
            kind = str(subject.router.client_policy(bound.id).balancer.get("kind", "p2c"))
            chosen.append(Balancing(client=client.client, share=share, balancer=kind, endpoints=client.endpoints))
    return chosen


def _unbound(state: State[Any], name: Path, seconds: float) -> str:
    if isinstance(state, Failed):
        return f"502: {reason(state.error)}"
    return f"502: Exceeded {seconds:g} seconds binding timeout while resolving name: {name}"


def _unusable(clients: Sequence[Client]) -> str | None:
    if any(client.endpoints or client.state.startswith("answered") for client in clients):
        return None
    failures = [client.state for client in clients if client.state.startswith("failed: ")]
    return "502: " + (failures[0].removeprefix("failed: ") if failures else "Unable to route request!")
