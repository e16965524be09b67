"""`/delegator.json`: how a name resolves, every branch shown (reference/linker.md §7.3)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final, NamedTuple, TypeVar

from biandou.admin.page import JSON, Page, Reply, Request, json_reply, text
from biandou.admin.sources import Delegate
from biandou.dtab import Dtab, DtabSyntaxError, Path
from biandou.dtab.bound import Addresses, AddressSet, Bound, LocalStatus
from biandou.dtab.explain import Alternatives, Delegation, Found, Shares, Step, Transformed, to_json
from biandou.errors import reason
from biandou.live import PENDING, Failed, Live, Ok, Pending, State

T = TypeVar("T")

PATIENCE_SECONDS: Final = 2.0
MAX_NAMES: Final = 1000
"""How many bound names' addresses are looked up for one answer."""
MAX_TEXT: Final = 8 * 1024 * 1024
"""How much text an answer may hold: every node repeats its dentry, and a short dtab can lead to thousands of nodes."""


class _Wanted(NamedTuple):
    namespace: str | None
    dtab: Dtab
    path: Path


def delegator_page(delegate: Delegate, seconds: float = PATIENCE_SECONDS) -> Page:
    """Give the page; `seconds` is how long it waits for namers."""

    async def handle(request: Request) -> Reply:
        wanted = _read_post(request) if request.method == "POST" else _read_get(request)
        if isinstance(wanted, Reply):
            return wanted
        return await _answer(delegate, wanted, seconds)

    return Page(handle, ("GET", "POST"))


def _read_get(request: Request) -> _Wanted | Reply:
    parameters = request.parameters
    try:
        dtab = Dtab.read(parameters.get("dtab", ""))
    except DtabSyntaxError as error:
        return text(f"Invalid dtab: {error}", 400)
    try:
        path = Path.read(parameters["path"])
    except KeyError:
        return text("Invalid path: null", 400)
    except ValueError as error:
        return text(f"Invalid path: {error}", 400)
    return _Wanted(parameters.get("namespace"), dtab, path)


def _read_post(request: Request) -> _Wanted | Reply:
    if request.headers.get("content-type") != JSON:
        return Reply(status=415)
    try:
        sent = json.loads(request.body)
        namespace, dtab, path = sent.get("namespace"), sent["dtab"], sent["path"]
        if not all(isinstance(value, str) for value in (namespace or "", dtab, path)):
            raise TypeError("the members are strings")
        return _Wanted(namespace, Dtab.read(dtab), Path.read(path))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return text(f"Malformed delegation request: {request.body.decode(errors='replace')}", 400)


async def _answer(delegate: Delegate, wanted: _Wanted, seconds: float) -> Reply:
    with ExitStack() as watches:
        try:
            async with asyncio.timeout(seconds):
                state = await _known(delegate(wanted.namespace, wanted.dtab, wanted.path), watches)
                if isinstance(state, Failed):
                    return text(reason(state.error), 500)
                if isinstance(state, Pending):
                    raise TimeoutError
                if _text(state.value) > MAX_TEXT:
                    return text("the delegation is too large to show", 500)
                addresses = {bound.id: await _known(bound.addresses, watches) for bound in _names(state.value).values()}
        except NotImplementedError:
            return text(f"Name Interpreter for {wanted.namespace} cannot show delegations", 501)
        except TimeoutError:
            return text("Request timed out.", 503)
        return json_reply(to_json(state.value, lambda bound: _address(addresses.get(bound.id, PENDING))))


async def _known(live: Live[T], watches: ExitStack) -> State[T]:
    """Give the first state that is not pending; the watch stays open with `watches`."""
    known: asyncio.Future[State[T]] = asyncio.get_running_loop().create_future()

    def look(state: State[T]) -> None:
        if not known.done() and not isinstance(state, Pending):
            known.set_result(state)

    watches.callback(live.observe(look).close)
    return await known


def _names(tree: Delegation) -> dict[Path, Bound]:
    """Give the bound names of a delegation by id, `MAX_NAMES` at most."""
    names: dict[Path, Bound] = {}
    for bound in _bound(tree):
        if len(names) == MAX_NAMES:
            break
        names.setdefault(bound.id, bound)
    return names


def _bound(tree: Delegation) -> Iterator[Bound]:
    for node in _nodes(tree):
        match node:
            case Found():
                yield node.bound
            case Transformed():
                yield node.before


def _text(tree: Delegation) -> int:
    """Give about how many characters of paths and dentries the answer would hold; stops counting beyond `MAX_TEXT`."""
    dentries: dict[int, int] = {}
    size = 0
    for node in _nodes(tree):
        size += sum(map(len, node.path.segments)) + len(node.path)
        if node.dentry is not None:
            known = dentries.get(id(node.dentry))
            if known is None:
                known = dentries[id(node.dentry)] = len(str(node.dentry.prefix)) + len(str(node.dentry.dst))
            size += known
        if size > MAX_TEXT:
            break
    return size


def _nodes(tree: Delegation) -> Iterator[Delegation]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        match node:
            case Transformed() | Step():
                waiting.append(node.tree)
            case Alternatives():
                waiting += reversed(node.trees)
            case Shares():
                waiting += [branch for _, branch in reversed(node.branches)]


def _address(state: State[Addresses]) -> dict[str, Any]:
    match state:
        case Ok(AddressSet(addresses, meta)):
            addrs = [{"ip": at.host, "port": at.port, "meta": dict(at.meta)} for at in addresses]
            return {"type": "bound", "addrs": addrs, "meta": dict(meta)}
        case Ok(LocalStatus()):
            # The reference has an address of its own making there; nobody can connect to ours.
            return {"type": "bound", "addrs": [], "meta": {}}
        case Ok(_):
            return {"type": "neg"}
        case Failed(error):
            return {"type": "failed", "cause": reason(error)}
    return {"type": "pending"}
