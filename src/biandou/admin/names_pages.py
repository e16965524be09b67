"""What names mean now: delegations, bound names, clients and their endpoints, the namers' own state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from biandou.admin.delegator import delegator_page
from biandou.admin.page import Page, Pages, Reply, Request, json_reply
from biandou.admin.sources import AdminSources, ClientSeen

T = TypeVar("T")


def names_pages(sources: AdminSources) -> Pages:
    """Give the pages of the sources that are there."""
    pages: Pages = {}
    if sources.delegate is not None:
        pages["/delegator.json"] = delegator_page(sources.delegate)
    if sources.bound_names is not None:
        pages["/bound-names.json"] = _page(sources.bound_names, list)
    if sources.clients is not None:
        pages["/client_state.json"] = _page(sources.clients, _client_states)
        pages["/admin/endpoints.json"] = _page(sources.clients, _endpoints)
    for path, state in sources.namer_states.items():
        pages[f"/namer_state/{path}.json"] = _page(state, _as_it_is)
    return pages


def _page(read: Callable[[], T], show: Callable[[T], Any]) -> Page:
    def handle(_request: Request) -> Reply:
        return json_reply(show(read()))

    return Page(handle)


def _as_it_is(value: T) -> T:
    return value


def _client_states(clients: Sequence[ClientSeen]) -> dict[str, Any]:
    """Give the reference's shape; of a client that two routers have the state is the last one's."""
    return {
        client.client: {"state": client.state, "addresses": [endpoint.address for endpoint in client.endpoints]}
        for client in clients
    }


def _endpoints(clients: Sequence[ClientSeen]) -> dict[str, Any]:
    """Give each router's clients with what the balancer knows of their endpoints."""
    routers: dict[str, Any] = {}
    for client in clients:
        routers.setdefault(client.router, {})[client.client] = {
            "state": client.state,
            "endpoints": [
                {
                    "address": endpoint.address,
                    "weight": endpoint.weight,
                    "pending": endpoint.pending,
                    "state": endpoint.state,
                }
                for endpoint in client.endpoints
            ],
        }
    return routers
