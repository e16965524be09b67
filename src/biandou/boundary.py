"""The door between Python and the engine: letters go through it, and nothing else does.

The engine posts letters and rings an eventfd; the event loop reads them here. What we send is msgpack, typed by these
structs on our side and by serde in `engine/src/mail.rs` on the other; `tests/letters/` holds golden letters that both read.
No engine thread ever takes the GIL.
"""

from __future__ import annotations

from typing import Any

import msgspec

from biandou.config.plan import ClientPolicy, Letter, Plan, ServicePolicy

# ── What the engine posts ────────────────────────────────────────────────────────────────────────────────────────────


class Ask(Letter, tag="ask"):
    """A service name that no cache knows.

    `dtab` holds the texts of the request's own dtab headers in order of precedence, lowest first: each
    `l5d-ctx-dtab`, then each `l5d-dtab`. One ticket stands for one (router, path, dtab) until it is released.
    """

    ticket: int
    router: str
    path: str
    dtab: list[str]


class Release(Letter, tag="release"):
    """The engine has dropped the name of this ticket: stop keeping it current."""

    ticket: int


class Note(Letter, tag="note"):
    """Something that an operator should read; `level` is `error`, `warning`, `info` or `debug`."""

    level: str
    room: str
    message: str


Mail = Ask | Release | Note

# ── What we answer ───────────────────────────────────────────────────────────────────────────────────────────────────


class Branch(Letter):
    """A share of a name's requests; `client` is `None` for a share that has no endpoint (`$`)."""

    weight: float
    client: str | None
    residual: str = "/"


class BoundTree(Letter, tag="bound"):
    """The name is bound; unions are flattened, so weights are what each branch gets of the whole."""

    branches: list[Branch]


class NegativeTree(Letter, tag="negative"):
    """Nothing is there: negative, failed by `!`, or empty."""


class BindFailure(Letter, tag="failed"):
    """Binding failed; the caller gets a 502 with this message."""

    message: str


class BadOverride(Letter, tag="invalid"):
    """The request's own dtab cannot be read; the caller gets a 400 with this message."""

    message: str


class Answer(Letter):
    """What a service name means now; sent again whenever that changes.

    `context` is the request's own dtab in its canonical form, passed on as `l5d-ctx-dtab` (empty: no header), and
    `override_dentries` are its lines for the text of a 502.
    """

    outcome: BoundTree | NegativeTree | BindFailure | BadOverride
    context: str = ""
    override_dentries: list[str] = []
    policy: ServicePolicy = ServicePolicy()


class EndpointsKnown(Letter, tag="bound"):
    """Where a client name is: (IP literal, port, weight) each; perhaps none."""

    addresses: list[tuple[str, int, float]]
    authority: str | None = None


class EndpointsNegative(Letter, tag="negative"):
    """The registry says that nothing is there."""


class EndpointsFailed(Letter, tag="failed"):
    """The registry could not say; the engine keeps what it last knew, and shows the message if it knows nothing."""

    message: str


class EndpointsPending(Letter, tag="pending"):
    """The registry has not said yet; requests wait, up to the binding timeout."""


class EndpointsStatus(Letter, tag="status"):
    """The engine answers with this HTTP status itself."""

    code: int


class Endpoints(Letter):
    """Where a client name is, and how to treat it; sent before the first answer that names it, then at each change."""

    router: str
    client: str
    state: EndpointsKnown | EndpointsNegative | EndpointsFailed | EndpointsPending | EndpointsStatus
    policy: ClientPolicy = ClientPolicy()


# ── What the engine has counted ──────────────────────────────────────────────────────────────────────────────────────


class Stat(Letter):
    """A distribution since the engine started: `buckets` are (value, count), rising, in the metric's own unit."""

    count: int
    sum: float
    buckets: list[tuple[float, int]]


class Scope(Letter):
    """The metrics of one thing: `scope` is e.g. `["rt", "http", "server", "127.0.0.1/4140"]`; names may hold `/`."""

    scope: list[str]
    counters: dict[str, int] = {}
    gauges: dict[str, float] = {}
    stats: dict[str, Stat] = {}


class EndpointView(Letter):
    """One endpoint as the engine sees it now."""

    address: str
    weight: float
    pending: int
    state: str


class ClientView(Letter):
    """One client name as the engine sees it now; for `/client_state.json` and `/admin/endpoints.json`."""

    router: str
    client: str
    state: str
    endpoints: list[EndpointView]


class Tally(Letter):
    """All that the engine has counted, cumulative, and what it holds."""

    scopes: list[Scope]
    clients: list[ClientView]


_encoder = msgspec.msgpack.Encoder()


def encode(letter: Letter) -> bytes:
    """Give the letter as msgpack."""
    return _encoder.encode(letter)


def decode_mail(data: bytes) -> list[Mail]:
    """Read the letters that the engine posted; raises `msgspec.DecodeError` if they are not ours."""
    return msgspec.msgpack.decode(data, type=list[Mail])


def decode_tally(data: bytes) -> Tally:
    """Read a tally."""
    return msgspec.msgpack.decode(data, type=Tally)


__all__ = ["Any", "Plan"]
