"""What names mean now: delegations, bound names, clients and their endpoints, the namers' own state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from biandou.admin.delegator import delegator_page
from biandou.admin.page import Page, Pages, Reply, Request, json_reply
from biandou.admin.sources import AdminSources, Clients, Origins
from biandou.boundary import ClientView, EndpointView, Withheld

T = TypeVar("T")


def names_pages(sources: AdminSources) -> Pages:
    """Give the pages of the sources that are there."""
    pages: Pages = {}
    if sources.delegate is not None:
        pages["/delegator.json"] = delegator_page(sources.delegate)
    if sources.bound_names is not None:
        pages["/bound-names.json"] = _page(sources.bound_names, list)
    if sources.clients is not None:
        pages["/client_state.json"] = _page(partial(sources.clients, "", ""), _client_states)
        pages["/admin/endpoints.json"] = Page(partial(_endpoints, sources.clients, sources.origins))
    if sources.withheld is not None:
        pages["/admin/errors.json"] = Page(partial(_errors, sources.withheld))
    for path, state in sources.namer_states.items():
        pages[f"/namer_state/{path}.json"] = _page(state, _as_it_is)
    for path, state in sources.states.items():
        pages[path] = _page(state, _as_it_is)
    return pages


def _page(read: Callable[[], T], show: Callable[[T], Any]) -> Page:
    def handle(_request: Request) -> Reply:
        return json_reply(show(read()))

    return Page(handle)


def _as_it_is(value: T) -> T:
    return value


def _client_states(clients: Sequence[ClientView]) -> dict[str, Any]:
    """Give the reference's shape; of a client that two routers have the state is the last one's."""
    return {
        client.client: {"state": client.state, "addresses": [endpoint.address for endpoint in client.endpoints]}
        for client in clients
    }


def _errors(withheld: Callable[[], Iterable[Withheld]], request: Request) -> Reply:
    """Give what callers were not told of their errors, the newest first; `id` asks for one of them."""
    wanted = request.parameters.get("id", "")
    found = [msgspec.structs.asdict(error) for error in withheld() if wanted in ("", error.id)]
    return json_reply(found[::-1])


def _endpoints(clients: Clients, origins: Origins | None, request: Request) -> Reply:
    """Give each router's clients with what is known of their endpoints; `router` and `client` ask for some of them."""
    parameters, now = request.parameters, time.time()
    known = dict(origins()) if origins is not None else {}
    routers: dict[str, Any] = {}
    for client in clients(parameters.get("router", ""), parameters.get("client", "")):
        shown: dict[str, Any] = {
            "state": client.state,
            "balancer": client.balancer,
            "panic": client.panic,
            "endpoints": [_known(endpoint) for endpoint in client.endpoints],
        }
        origin = known.get((client.router, client.client))
        if origin is not None:
            shown["origin"] = origin.shown(now)
        if client.left_out:
            shown["left_out"] = client.left_out
        routers.setdefault(client.router, {})[client.client] = shown
    return json_reply(routers)


def _known(endpoint: EndpointView) -> dict[str, Any]:
    """Give what is known of an endpoint, rates and times to three digits."""
    return {
        key: round(value, 3) if isinstance(value, float) and key != "weight" else value
        for key, value in msgspec.structs.asdict(endpoint).items()
        if value is not None
    }
