"""`/delegator.json`: how a name resolves, every branch shown (reference/linker.md §7.3)."""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from biandou.admin.page import JSON, Page, Reply, Request, json_reply, text
from biandou.admin.sources import Delegate
from biandou.dtab import Dtab, DtabSyntaxError, Path
from biandou.dtab.wire import delegation_json
from biandou.errors import reason

PATIENCE_SECONDS: Final = 2.0


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
    try:
        return json_reply(await delegation_json(delegate(wanted.namespace, wanted.dtab, wanted.path), seconds))
    except NotImplementedError:
        return text(f"Name Interpreter for {wanted.namespace} cannot show delegations", 501)
    except TimeoutError:
        return text("Request timed out.", 503)
    except Exception as error:
        return text(reason(error), 500)
