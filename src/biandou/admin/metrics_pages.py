"""`/admin/metrics.json`, and what telemeters add."""

from __future__ import annotations

from functools import partial
from typing import Final

from biandou.admin.page import Page, Pages, Reply, Request, json_reply, json_text
from biandou.admin.sources import AdminSources
from biandou.telemeters.json_export import flat_json, subtree, tree_json
from biandou.telemeters.metrics import ProcessTelemetry
from biandou.telemeters.prometheus import CONTENT_TYPE, PrometheusTelemeter

_TRUE: Final = ("1", "t", "true")


def metrics_pages(sources: AdminSources) -> Pages:
    """Give the pages that show what was counted."""
    telemetry = sources.telemetry
    pages = {"/admin/metrics.json": Page(partial(_json, telemetry))}
    for telemeter in sources.prometheus:
        pages[telemeter.path] = Page(partial(_prometheus, telemetry, telemeter))
    return pages


def _json(telemetry: ProcessTelemetry, request: Request) -> Reply:
    parameters = request.parameters
    node = telemetry.tree()
    query = parameters.get("q")
    if query:
        found = subtree(node, query)
        if found is None:
            return json_reply({"error": f"No such subtree: {query}"}, 404)
        node = found
    if parameters.get("tree") in _TRUE:
        return json_text(tree_json(node))
    return json_text(flat_json(node, pretty=parameters.get("pretty") in _TRUE))


def _prometheus(telemetry: ProcessTelemetry, telemeter: PrometheusTelemeter, _request: Request) -> Reply:
    return Reply(telemeter.render(telemetry.tree()).encode(errors="replace"), content_type=CONTENT_TYPE)
