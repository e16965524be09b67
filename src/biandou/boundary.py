"""The door between Python and the engine: letters go through it, and nothing else does.

The engine posts letters and rings an eventfd; the event loop reads them here. What we send is msgpack, typed by these
structs on our side and by serde in `engine/src/mail.rs` on the other; `tests/letters/` holds golden letters that both
read. No engine thread ever takes the GIL.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec

from biandou.config.plan import ClientPolicy, Letter, Plan, ServicePolicy
from biandou.errors import reason
from biandou.telemeters.window import Summary

_log = logging.getLogger(__name__)

# ── What the engine posts ────────────────────────────────────────────────────────────────────────────────────────────


class Ask(Letter, frozen=True, tag="ask"):
    """A service name that no cache knows.

    `dtab` holds the texts of the request's own dtab headers in order of precedence, lowest first: each
    `l5d-ctx-dtab`, then each `l5d-dtab`. One ticket stands for one (router, path, dtab) until it is released.
    """

    ticket: int
    router: str
    path: str
    dtab: list[str]


class Release(Letter, frozen=True, tag="release"):
    """The engine has dropped the name of this ticket: stop keeping it current."""

    ticket: int


class Note(Letter, frozen=True, tag="note"):
    """Something that an operator should read; `level` is `error`, `warning`, `info` or `debug`."""

    level: str
    room: str
    message: str


class Withheld(Letter, frozen=True, tag="withheld"):
    """An error whose caller was told no more than its id (`trust: none`): what it was, and in which room."""

    id: str
    router: str
    room: str
    status: int
    message: str


class Drained(Letter, frozen=True, tag="drained"):
    """The engine has stopped: the last request is done, or the grace was over with `unfinished` requests cut off."""

    unfinished: int = 0


class Answered(Letter, frozen=True):
    """A response that one of the router's classifiers, called by its number, is asked about."""

    classifier: int
    status: int
    headers: list[tuple[str, str]]


class Consult(Letter, frozen=True, tag="consult"):
    """A request of a router that has plugins in Python; text stands for bytes, a character for each (Latin-1)."""

    ticket: int
    router: str
    method: str
    target: str
    headers: list[tuple[str, str]]
    peer: str
    local: str
    answered: Answered | None = None


class Cancel(Letter, frozen=True, tag="cancel"):
    """Nobody waits any more for what this ticket asked."""

    ticket: int


Asked = Ask | Release | Consult | Cancel
"""What the engine wants of us, and what it does not want any more."""

Mail = Asked | Note | Withheld | Drained

WITHHELD_KEPT = 256
"""Errors of which the details are kept, the newest of them."""

# ── What we answer ───────────────────────────────────────────────────────────────────────────────────────────────────


class Branch(Letter, frozen=True):
    """A share of a name's requests; `client` is `None` for a share that has no endpoint (`$`)."""

    weight: float
    client: str | None
    residual: str = "/"


class BoundTree(Letter, frozen=True, tag="bound"):
    """The name is bound; unions are flattened, so weights are what each branch gets of the whole."""

    branches: list[Branch]


class NegativeTree(Letter, frozen=True, tag="negative"):
    """Nothing is there: negative, failed by `!`, or empty."""


class BindFailure(Letter, frozen=True, tag="failed"):
    """Binding failed; the caller gets a 502 with this message."""

    message: str


class BadOverride(Letter, frozen=True, tag="invalid"):
    """The request's own dtab cannot be read; the caller gets a 400 with this message."""

    message: str


class Answer(Letter, frozen=True):
    """What a service name means now; sent again whenever that changes.

    `context` is the request's own dtab in its canonical form, passed on as `l5d-ctx-dtab` (empty: no header), and
    `override_dentries` are its lines for the text of a 502.
    """

    outcome: BoundTree | NegativeTree | BindFailure | BadOverride
    context: str = ""
    override_dentries: list[str] = []
    policy: ServicePolicy = ServicePolicy()


class NamedPath(Letter, frozen=True, tag="path"):
    """A Python identifier's name, in shown form and without the router's prefix."""

    path: str


class NotNamed(Letter, frozen=True, tag="reason"):
    """Why a Python identifier has no name for a request."""

    reason: str


class GoOn(Letter, frozen=True, tag="go"):
    """The request goes on, without the headers `remove` and then with `add`; `names` are of the Python identifiers."""

    remove: list[str] = []
    add: list[tuple[str, str]] = []
    names: list[NamedPath | NotNamed] = []


class OwnReply(Letter, frozen=True, tag="reply"):
    """A filter answers itself; the body is Latin-1 text."""

    status: int
    headers: list[tuple[str, str]] = []
    body: str = ""


class PluginFailed(Letter, frozen=True, tag="failed"):
    """A plugin failed: the caller gets a 500 with this message."""

    message: str


class Classified(Letter, frozen=True, tag="class"):
    """What a classifier makes of a response."""

    class_: Literal["success", "retryable", "failure"] = msgspec.field(name="class")


Advice = GoOn | OwnReply | Classified | PluginFailed
"""What the plugins say of a request."""


class EndpointsKnown(Letter, frozen=True, tag="bound"):
    """Where a client name is: (IP literal, port, weight) each; perhaps none."""

    addresses: list[tuple[str, int, float]]
    authority: str | None = None


class EndpointsNegative(Letter, frozen=True, tag="negative"):
    """The registry says that nothing is there."""


class EndpointsFailed(Letter, frozen=True, tag="failed"):
    """The registry could not say; the engine keeps what it last knew, and shows the message if it knows nothing."""

    message: str


class EndpointsPending(Letter, frozen=True, tag="pending"):
    """The registry has not said yet; requests wait, up to the binding timeout."""


class EndpointsStatus(Letter, frozen=True, tag="status"):
    """The engine answers with this HTTP status itself."""

    code: int


class Endpoints(Letter, frozen=True):
    """Where a client name is, and how to treat it; sent before the first answer that names it, then at each change."""

    router: str
    client: str
    state: EndpointsKnown | EndpointsNegative | EndpointsFailed | EndpointsPending | EndpointsStatus
    policy: ClientPolicy = ClientPolicy()


# ── What the engine has counted ──────────────────────────────────────────────────────────────────────────────────────


class Stat(Letter, frozen=True):
    """A distribution since the engine started: `buckets` are (value, count), rising, in the metric's own unit."""

    count: int
    sum: float
    buckets: list[tuple[float, int]]


class Scope(Letter, frozen=True):
    """The metrics of one thing: `scope` is e.g. `["rt", "http", "server", "127.0.0.1/4140"]`; names may hold `/`.

    Of distributions there is either everything since the start, which stays as it came until `stat` reads it (a tally
    holds thousands, and few readers want them all), or `windows`, the last window of each: `None` if nothing came in
    it; one that has had no window yet is left out.
    """

    scope: list[str]
    counters: dict[str, int] = {}
    gauges: dict[str, float] = {}
    stats: dict[str, msgspec.Raw] = {}
    windows: dict[str, Summary | None] = {}

    def stat(self, name: str) -> Stat:
        """Read one distribution; raises `KeyError`, and `msgspec.DecodeError` if it is not one."""
        return _read_stat(self.stats[name])


class Tally(Letter, frozen=True):
    """All that the engine has counted, cumulative but for windows."""

    scopes: list[Scope]


# ── What the engine knows now ────────────────────────────────────────────────────────────────────────────────────────


class EndpointView(Letter, frozen=True):
    """One endpoint as the engine sees it now.

    `state` is `in use`, `ejected`, `probing`, `spared` (dead, and used all the same), `warming up`, `busy` (all
    connections that it may have are in use) or `on probation`. `None` is what is not known, or is not so.
    """

    address: str
    weight: float
    pending: int
    state: str
    failures_in_a_row: int | None = None
    success_rate: float | None = None
    ejected_for_ms: int | None = None
    next_probe_ms: int | None = None
    times_ejected: int = 0
    latency_ms: float | None = None
    connections: int = 0
    idle: int = 0
    waiting: int = 0


class ClientView(Letter, frozen=True):
    """One client name as the engine sees it now; `left_out` endpoints more are not shown."""

    router: str
    client: str
    state: str
    balancer: str
    panic: bool
    endpoints: list[EndpointView]
    left_out: int = 0


class ClientsView(Letter, frozen=True):
    """All clients, or those that were asked for."""

    clients: list[ClientView]


_encoder = msgspec.msgpack.Encoder()
_read_stat = msgspec.msgpack.Decoder(Stat).decode


def encode(letter: Letter) -> bytes:
    """Give the letter as msgpack."""
    return _encoder.encode(letter)


def decode_mail(data: bytes) -> list[Mail]:
    """Read the letters that the engine posted; raises `msgspec.DecodeError` if they are not ours."""
    return msgspec.msgpack.decode(data, type=list[Mail])


def decode_tally(data: bytes) -> Tally:
    """Read a tally."""
    return msgspec.msgpack.decode(data, type=Tally)


def decode_clients(data: bytes) -> ClientsView:
    """Read what the engine knows of its clients."""
    return msgspec.msgpack.decode(data, type=ClientsView)


# ── The door itself ──────────────────────────────────────────────────────────────────────────────────────────────────


class Serving(NamedTuple):
    """A server that listens; `port` is the real one where the plan said 0."""

    router: str
    ip: str
    port: int


Take = Callable[[Asked], None]
"""Takes in what the engine asks: the binder does."""


class EngineDoor:
    """The engine, seen from the event loop: every method is for its thread, and returns at once.

    `start` begins to serve; from then on each ask and release is handed to `take`, a `Note` goes to the log, and
    `drained` is done when the engine has stopped.
    """

    def __init__(self, plan: Plan) -> None:
        """Give the plan to the engine, which opens nothing yet; raises `ValueError` for a plan it can't run."""
        # Here and not above, so that what needs no engine (namerd, explain, --validate) does without it.
        from biandou._engine import Engine  # noqa: PLC0415, TID251 - this is the door

        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            self._engine = Engine(encode(plan), self._bell)
        except BaseException:
            os.close(self._bell)
            raise
        self._loop = asyncio.get_running_loop()
        self._take: Take | None = None
        self.withheld: deque[Withheld] = deque(maxlen=WITHHELD_KEPT)
        self.drained: asyncio.Future[Drained] = self._loop.create_future()

    def start(self, take: Take) -> list[Serving]:
        """Bind and serve; raises `OSError`, with the address in its message, if a server can't be bound."""
        self._take = take
        self._loop.add_reader(self._bell, self._read_mail)
        return [Serving(*server) for server in self._engine.start()]

    def replan(self, plan: Plan) -> list[Serving]:
        """Serve by another plan, and keep what both have; gives all servers as they listen then.

        Raises `OSError`, with what is wrong in its message, and has changed nothing, if a new server can't be bound or
        a file of the plan can't be used; `ValueError` for a plan that the engine can't run.
        """
        return [Serving(*server) for server in self._engine.replan(encode(plan))]

    def answer(self, ticket: int, answer: Answer) -> None:
        """Say what the name of this ticket means now."""
        self._engine.answer(ticket, encode(answer))

    def advise(self, ticket: int, advice: Advice) -> None:
        """Say what the plugins say of a request; raises `ValueError` for what can't cross the door."""
        self._engine.advise(ticket, encode(advice))

    def endpoints(self, letter: Endpoints) -> None:
        """Say where a client name is now."""
        self._engine.endpoints(encode(letter))

    def forget(self, router: str, client: str) -> None:
        """Say that no answer names this client any more."""
        self._engine.forget(router, client)

    def reopen_logs(self) -> None:
        """Have the access logs opened anew by their names, soon."""
        self._engine.reopen_logs()

    def tally(self) -> Tally:
        """Read what the engine has counted since its start."""
        return decode_tally(self._engine.tally())

    def last_windows(self) -> Tally:
        """Read what the engine has counted, of distributions what the last window was."""
        return decode_tally(self._engine.last_windows())

    def end_windows(self) -> None:
        """End the window of every distribution. The only method for any thread: it takes a while."""
        self._engine.end_windows()

    def clients(self, router: str = "", client: str = "") -> list[ClientView]:
        """Give what the engine knows now of a client, or of all of a router or of all."""
        return decode_clients(self._engine.clients(router, client)).clients

    def stop(self, grace_ms: int) -> None:
        """Close the listening sockets and let running requests finish within the grace; `drained` tells when."""
        self._engine.stop(grace_ms)

    def close(self) -> None:
        """Read no more letters."""
        self._loop.remove_reader(self._bell)
        os.close(self._bell)

    def _read_mail(self) -> None:
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            return
        for letter in decode_mail(self._engine.mail()):
            try:
                self._hand_over(letter)
            except Exception as error:
                # One letter that can't be handled must not cost the ones behind it.
                _log.exception("cannot handle the engine's letter %s", type(letter).__name__)
                if isinstance(letter, Ask):
                    message = f"{type(error).__name__}: {reason(error)}"
                    self.answer(letter.ticket, Answer(outcome=BindFailure(message=message)))

    def _hand_over(self, letter: Mail) -> None:
        match letter:
            case Ask() | Release() | Consult() | Cancel():
                if self._take is not None:
                    self._take(letter)
            case Note():
                _log.log(
                    _NOTE_LEVELS.get(letter.level, logging.ERROR), "%s", letter.message, extra={"room": letter.room}
                )
            case Withheld():
                self.withheld.append(letter)
                _log.info(
                    "error %s: %s %d %s",
                    letter.id,
                    letter.router,
                    letter.status,
                    letter.message,
                    extra={"room": letter.room},
                )
            case Drained():
                if not self.drained.done():
                    self.drained.set_result(letter)


_NOTE_LEVELS = {
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
