"""`/admin/metrics.json`, and what telemeters add."""

from __future__ import annotations

from functools import partial
from typing import Final

from biandou.admin.page import JSON, Page, Pages, Reply, Request, json_reply
from biandou.admin.sources import AdminSources
from biandou.telemeters.json_export import flat_json, tree_json
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
    asked = parameters.get("q")
    query = asked.split("/") if asked else ()
    scopes = telemetry.read()
    if parameters.get("tree") in _TRUE:
        body = tree_json(scopes, query=query)
    else:
        body = flat_json(scopes, query=query, pretty=parameters.get("pretty") in _TRUE)
    if body is None:
        return json_reply({"error": f"No such subtree: {asked}"}, 404)
    return Reply(body, content_type=JSON)


def _prometheus(telemetry: ProcessTelemetry, telemeter: PrometheusTelemeter, _request: Request) -> Reply:
    return Reply(telemeter.render(telemetry.read()), content_type=CONTENT_TYPE)
