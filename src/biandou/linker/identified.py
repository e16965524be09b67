"""What the identifiers make of a request, for `admin.httpIdentifierPort` (reference/linker.md §7.4)."""

from __future__ import annotations

from collections.abc import Iterable

from biandou.config.router import HttpRouter
from biandou.dtab import Dtab, DtabSyntaxError
from biandou.linker.identify import Request, Unidentified, identify


def identified(routers: Iterable[HttpRouter], request: Request) -> dict[str, dict[str, str]]:
    """Give the service name and the request's own dtab, or the reason why there is none, by the router's label."""
    return {router.name: _identified(router, request) for router in routers}


def _identified(router: HttpRouter, request: Request) -> dict[str, str]:
    try:
        dtab = request_dtab(request)
    except DtabSyntaxError as error:
        return {"error": str(error)}
    found = identify(router.identifier, router.dst_prefix, request)
    if isinstance(found, Unidentified):
        return {"error": found.reason}
    shown = {"path": str(found.name)}
    return {**shown, "dtab": str(dtab)} if len(dtab) else shown


def request_dtab(request: Request) -> Dtab:
    """Give the dtab that a request brings, its later lines last; raises `DtabSyntaxError`."""
    dtab = Dtab()
    for header in ("l5d-ctx-dtab", "l5d-dtab"):
        for text in request.all(header):
            dtab += Dtab.read(text)
    return dtab
