"""The road in Python, in the order it is walked: ② interpret, ③ resolve, ④ transform, then answer.

The engine asks once per name that it does not know and is kept up to date until it releases the name. A client name's
endpoints are sent before the first answer that names it, and observed as long as the tree of any ticket names it.
A name that cannot be bound costs its own requests and no others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

import msgspec

from biandou.boundary import (
    Answer,
    Ask,
    BadOverride,
    BindFailure,
    BoundTree,
    Endpoints,
    EndpointsFailed,
    EndpointsKnown,
    EndpointsPending,
    NegativeTree,
    Release,
)
from biandou.config.plan import ClientPolicy, ServicePolicy
from biandou.dtab import Dtab, DtabSyntaxError, NameTree, Path
from biandou.dtab.bound import Addresses, AddressSet, Bound, Origin, shown_time
from biandou.errors import BindingError, reason
from biandou.few import Few, with_member, without_member
from biandou.linker.answers import EndpointsState, Share, bound_tree, endpoints_state, shares
from biandou.linker.knowledge import Knowledge, KnownClient, KnownName
from biandou.linker.router import Router
from biandou.live import Failed, Live, Ok, State, Watch

_log = logging.getLogger(__name__)

_NO_LINES: Final[list[str]] = []

NAMES_AT_ONCE: Final = 20
"""So many names are bound by new routers before others, who ask meanwhile, have their turn."""


class Engine(Protocol):
    """What the binder needs of the engine; `boundary.py` has the real one, `biandou.testing` a fake."""

    def answer(self, ticket: int, answer: Answer) -> None:
        """Say what the name of a ticket means now."""

    def endpoints(self, letter: Endpoints) -> None:
        """Say where a client name is now."""

    def forget(self, router: str, client: str) -> None:
        """Say that no name leads to this client any more."""


class Binder:
    """Answers asks for a set of routers."""

    def __init__(self, routers: Iterable[Router], engine: Engine, knowledge: Knowledge | None = None) -> None:
        self.knowledge = knowledge or Knowledge()
        self.routers = {router.label: router for router in routers}
        self._leaving: dict[str, Router] = {}
        self._engine = engine
        self._tickets: dict[int, _Ticket] = {}
        self._clients: dict[tuple[str, Path], _Client] = {}
        self._closed = False

    @property
    def tickets(self) -> int:
        """How many names the engine holds."""
        return len(self._tickets)

    @property
    def clients(self) -> int:
        """How many client names those lead to."""
        return len(self._clients)

    def origins(self) -> Iterator[tuple[tuple[str, str], Origin]]:
        """Give where the endpoints of each client come from, by router and client name; not of those that nobody says.

        The engine has been told what the origin's version says: letters go in the same turn of the event loop.
        """
        for (router, _), client in self._clients.items():
            if client.origin is not None:
                yield (router, client.text), client.origin

    def known_clients(self, now: float) -> Iterator[KnownClient]:
        """Give where each client in use is, of those that a registry told of."""
        for client in tuple(self._clients.values()):
            known = client.known(now)
            if known is not None:
                yield known

    def known_names(self, now: float) -> Iterator[KnownName]:
        """Give what each name in use comes to; not of those that a request bound by a dtab of its own."""
        for ticket in tuple(self._tickets.values()):
            known = ticket.known(now)
            if known is not None:
                yield known

    def told(self, router: str, client: Path) -> bool:
        """Say whether a registry has told where a client in use is."""
        known = self._clients.get((router, client))
        return known is not None and known.origin is not None

    def take(self, letter: Ask | Release) -> None:
        """Take in a letter of the engine's; never raises for what a request or a namer did."""
        if self._closed:
            return
        if isinstance(letter, Ask):
            self._ask(letter)
        else:
            self._release(letter.ticket)

    async def replan(self, routers: Iterable[Router]) -> None:
        """Bind by other routers from now on; each name keeps its answer until the new one is known.

        A router whose label is gone goes on for the requests that it has, until the engine releases its names.
        """
        former, self.routers = self.routers, {router.label: router for router in routers}
        needed = {ticket.router.label for ticket in self._tickets.values() if ticket.router is not None}
        self._leaving = {
            label: router
            for label, router in (self._leaving | former).items()
            if label not in self.routers and (label in former or label in needed)
        }
        treated_anew = {
            key
            for key, client in self._clients.items()
            if key[0] in self.routers and client.treat(self.routers[key[0]])
        }
        for count, number in enumerate(tuple(self._tickets)):
            if count % NAMES_AT_ONCE == NAMES_AT_ONCE - 1:
                await asyncio.sleep(0)
            ticket = self._tickets.get(number)
            if ticket is not None and ticket.router is not None and ticket.router.label in self.routers:
                ticket.rebind(self.routers[ticket.router.label], treated_anew)

    def close(self) -> None:
        """Stop keeping names current, and take no more letters; the engine is told nothing."""
        self._closed = True
        tickets, self._tickets = self._tickets, {}
        clients, self._clients = self._clients, {}
        for ticket in tickets.values():
            ticket.close()
        for client in clients.values():
            client.close()

    def _ask(self, ask: Ask) -> None:
        known = self._tickets.get(ask.ticket)
        if known is not None:
            known.repeat()
            return
        ticket = self._tickets[ask.ticket] = _Ticket(self, ask.ticket)
        router = self.routers.get(ask.router) or self._leaving.get(ask.router)
        if router is None:
            ticket.answer(Answer(outcome=BindFailure(message=f"no router is called {ask.router}")))
            return
        try:
            local = Dtab()
            for text in ask.dtab:
                local += Dtab.read(text)
        except DtabSyntaxError as error:
            ticket.answer(Answer(outcome=BadOverride(message=str(error))))
            return
        try:
            ticket.follow(router, Path.read(ask.path), local)
        except Exception as error:
            ticket.fail(error)

    def _release(self, number: int) -> None:
        ticket = self._tickets.pop(number, None)
        if ticket is not None:
            ticket.close()

    def send(self, ticket: int, answer: Answer) -> None:
        """Answer a ticket that the engine still holds."""
        if ticket in self._tickets:
            self.knowledge.changes += 1
            self._engine.answer(ticket, answer)

    def hold(self, router: Router, bound: Bound, *, again: bool, remembered: bool) -> None:
        """Resolve a client name for a tree that did not name it before, or does so again.

        That of a tree which is only `remembered` has no addresses to follow.
        """
        key = router.label, bound.id
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = _Client(self._engine, self.knowledge, router, bound.id)
        elif remembered:
            # Whatever it follows is better than what only its name is known of.
            client.holders += not again
            return
        if not again:
            client.holders += 1
        client.follow(bound)

    def drop(self, router: Router, client_id: Path) -> None:
        """Let a client name go for one tree, and forget it with the last."""
        key = router.label, client_id
        client = self._clients.get(key)
        if client is None:
            return
        client.holders -= 1
        if client.holders == 0:
            del self._clients[key]
            client.close()
            self._engine.forget(router.label, client.text)


class _Ticket:
    """A name in the engine's path cache, kept current."""

    __slots__ = (
        "_answered",
        "_binder",
        "_clients",
        "_closed",
        "_number",
        "_override",
        "_path",
        "_patience",
        "_policy",
        "_told",
        "_watch",
        "router",
    )

    def __init__(self, binder: Binder, number: int) -> None:
        self._binder = binder
        self._number = number
        self.router: Router | None = None
        self._path = Path()
        self._override = Dtab()
        self._policy = ServicePolicy()
        self._clients: Few[Path] = ()
        self._answered: Answer | None = None
        self._watch: Watch | None = None
        self._told = False
        self._patience: asyncio.TimerHandle | None = None
        self._closed = False

    def follow(self, router: Router, path: Path, local: Dtab) -> None:
        """② and ④: answer with what the name comes to, now and at each change."""
        self.router, self._path, self._override = router, path, local
        self._policy = router.service_policy(path)
        self._watch = router.bind(local, path).observe(self._bound)
        if self._closed:
            self._watch.close()

    def rebind(self, router: Router, treated_anew: set[tuple[str, Path]]) -> None:
        """Follow what the name comes to by another router of the same label; until that is known the answer holds.

        The engine puts the clients of `treated_anew`, whose policies are others now, to use with the next answer.
        """
        former, before = self.router, self._answered
        if former is router or former is None:
            return
        try:
            self.router = router
            self._policy = router.service_policy(self._path)
            if former.interpreter is not router.interpreter or former.transformers != router.transformers:
                watch, self._watch = self._watch, None
                self._told = False
                self._watch = router.bind(self._override, self._path).observe(self._bound)
                # Closed last, so that a source which both share stays open.
                if watch is not None:
                    watch.close()
            if before is not None and self._answered is before:
                if before.policy != self._policy:
                    self.answer(msgspec.structs.replace(before, policy=self._policy))
                elif any((router.label, client) in treated_anew for client in self._clients):
                    self.repeat()
        except Exception as error:
            _log.exception("binding %s anew failed", self._path)
            self.fail(error)

    def _bound(self, state: State[NameTree[Bound]]) -> None:
        # Pending: the engine waits as long as its binding timeout says; a former answer holds.
        try:
            if isinstance(state, Ok):
                self._told = True
                self._end_patience()
                self._resolved(shares(state.value))
                if self.router is not None and not self._override:
                    self._binder.knowledge.names.forget((self.router.label, str(self._path)))
            elif isinstance(state, Failed):
                if not self._remember(state.error):
                    self._settle(BindFailure(message=reason(state.error)), {})
            elif not self._told and self._patience is None and self._remembered() is not None:
                self._patience = self._binder.knowledge.wait(self._impatient)
        except Exception as error:
            _log.exception("binding failed")
            self._settle(BindFailure(message=reason(error)), {})

    def _resolved(self, parts: list[Share] | None) -> None:
        """③: see to it that the engine knows every client name's endpoints, then answer."""
        bound = {bound.id: bound for _, bound in parts or () if bound is not None}
        self._settle(bound_tree(parts), bound)

    def _remembered(self) -> KnownName | None:
        if self.router is None or self._override:
            return None
        return self._binder.knowledge.names.get((self.router.label, str(self._path)))

    def _remember(self, error: Exception) -> bool:
        """Answer with what the name came to formerly, if nobody has said yet what it comes to now."""
        # A table that leads nowhere is nothing that was not heard of yet.
        known = None if self._told or isinstance(error, BindingError) else self._remembered()
        if known is None or self._closed:
            return False
        self._end_patience()
        nowhere: Live[Addresses] = Live.failed(error)
        names = {Path.read(client): Path.read(residual) for _, client, residual in known.branches if client is not None}
        bound = {client: Bound(client, nowhere, residual) for client, residual in names.items()}
        self._settle(known.tree, bound, remembered=True)
        return True

    def _impatient(self) -> None:
        self._patience = None
        self._remember(self._binder.knowledge.late())

    def _end_patience(self) -> None:
        patience, self._patience = self._patience, None
        if patience is not None:
            patience.cancel()

    def known(self, now: float) -> KnownName | None:
        """Give what the name comes to, if a registry has to do with that."""
        router, answered = self.router, self._answered
        if router is None or answered is None or not self._told or self._override:
            return None
        tree = answered.outcome
        if not isinstance(tree, BoundTree) or not any(self._binder.told(router.label, one) for one in self._clients):
            return None
        branches = [(branch.weight, branch.client, branch.residual) for branch in tree.branches]
        return KnownName(router=router.label, path=str(self._path), branches=branches, at=now)

    def _settle(
        self, outcome: BoundTree | NegativeTree | BindFailure, clients: dict[Path, Bound], *, remembered: bool = False
    ) -> None:
        router = self.router
        if router is None or self._closed:
            return
        for client, bound in clients.items():
            self._binder.hold(router, bound, again=client in self._clients, remembered=remembered)
            self._clients = with_member(self._clients, client)
        lines = [f"{dentry.prefix} => {dentry.dst}" for dentry in self._override] or _NO_LINES
        self.answer(Answer(outcome=outcome, context=str(self._override), override_dentries=lines, policy=self._policy))
        for client in [client for client in self._clients if client not in clients]:
            self._clients = without_member(self._clients, client)
            self._binder.drop(router, client)

    def answer(self, answer: Answer) -> None:
        """Tell the engine, unless it has been told the same."""
        if not self._closed and answer != self._answered:
            self._answered = answer
            self._binder.send(self._number, answer)

    def repeat(self) -> None:
        """Tell the engine again what it was told last."""
        if self._answered is not None:
            self._binder.send(self._number, self._answered)

    def fail(self, error: Exception) -> None:
        """Answer that the name cannot be bound."""
        if self.router is None:
            self.answer(Answer(outcome=BindFailure(message=reason(error))))
        else:
            self._settle(BindFailure(message=reason(error)), {})

    def close(self) -> None:
        """Let everything go, and remember what it was."""
        known = self.known(self._binder.knowledge.now())
        if known is not None:
            self._binder.knowledge.names.keep(known.key, known)
        self._closed = True
        self._end_patience()
        if self._watch is not None:
            self._watch.close()
        if self.router is not None:
            for client in self._clients:
                self._binder.drop(self.router, client)


class _Client:
    """A client name in the engine's cache, kept current: ③."""

    __slots__ = (
        "_client",
        "_engine",
        "_knowledge",
        "_patience",
        "_policy",
        "_router",
        "_sent",
        "_told",
        "_watch",
        "holders",
        "origin",
        "text",
    )

    def __init__(self, engine: Engine, knowledge: Knowledge, router: Router, client: Path) -> None:
        self._engine = engine
        self._knowledge = knowledge
        self._router = router.label
        self._client = client
        self.text = str(client)
        self._policy = router.client_policy(client)
        self._sent: EndpointsState | None = None
        self._watch: Watch | None = None
        self._told = False
        self._patience: asyncio.TimerHandle | None = None
        self.origin: Origin | None = None
        self.holders = 0

    def follow(self, bound: Bound) -> None:
        """Observe where the name is; the latest tree that named it says what to observe."""
        former, self._watch = self._watch, None
        try:
            self._watch = bound.addresses.observe(self._resolved)
        except Exception as error:
            _log.exception("resolving %s failed", self.text)
            self._send(EndpointsFailed(message=reason(error)))
        # Closed last, so that a source which both share stays open.
        if former is not None:
            former.close()

    def treat(self, router: Router) -> bool:
        """Go by the policy of another router of the same label; says whether that is another policy."""
        try:
            policy = router.client_policy(self._client)
            if policy == self._policy:
                return False
            if self._sent is not None:
                self._tell(self._sent, policy)
        except Exception:
            # The other clients must not suffer from that, nor the rest of the reload.
            _log.exception("%s keeps the policy that it had", self.text)
            return False
        self._policy = policy
        return True

    def _resolved(self, state: State[Addresses]) -> None:
        if isinstance(state, Ok):
            self._told = True
            self._end_patience()
            self.origin = state.value.origin if isinstance(state.value, AddressSet) else None
            self._knowledge.clients.forget((self._router, self.text))
        elif isinstance(state, Failed):
            if self._remember(state.error):
                return
        elif not self._told and self._patience is None and self._remembered() is not None:
            self._patience = self._knowledge.wait(self._impatient)
        letter = endpoints_state(state)
        # What is not known now was perhaps known before: then that holds.
        if self._sent is None or not isinstance(letter, EndpointsPending):
            self._offer(letter)

    def _offer(self, letter: EndpointsState) -> None:
        try:
            self._send(letter)
        except ValueError as error:
            # The engine can't use this one; whoever found it, and the next one, must not suffer from that.
            _log.exception("the endpoints of %s can't be used", self.text)
            self._send(EndpointsFailed(message=reason(error)))

    def _send(self, state: EndpointsState) -> None:
        if state != self._sent:
            known = self.known(self._knowledge.now()) if isinstance(state, EndpointsFailed) else None
            if known is not None:
                self._knowledge.clients.keep(known.key, known)
            if isinstance(state, EndpointsFailed) and isinstance(self._sent, EndpointsKnown):
                # The engine goes on with these, so that no request would tell anybody.
                _log.warning("%s keeps the endpoints that it had: %s", self.text, state.message)
            self._sent = state
            self._tell(state, self._policy)

    def _remembered(self) -> KnownClient | None:
        return self._knowledge.clients.get((self._router, self.text))

    def _remember(self, error: Exception) -> bool:
        """Send where it was formerly, if nobody has said yet where it is now."""
        known = None if self._told else self._remembered()
        if known is None:
            return False
        self._end_patience()
        if self.origin is None:
            _log.warning("%s has the endpoints that it had %s: %s", self.text, shown_time(known.at), reason(error))
        self.origin = known.origin(reason(error))
        self._offer(known.endpoints)
        return True

    def _impatient(self) -> None:
        self._patience = None
        self._remember(self._knowledge.late())

    def _end_patience(self) -> None:
        patience, self._patience = self._patience, None
        if patience is not None:
            patience.cancel()

    def known(self, now: float) -> KnownClient | None:
        """Give where it is, if a registry has told."""
        origin, sent = self.origin, self._sent
        if origin is None or not self._told or not isinstance(sent, EndpointsKnown) or not sent.addresses:
            return None
        return KnownClient(
            router=self._router,
            client=self.text,
            addresses=sent.addresses,
            authority=sent.authority,
            registry=origin.registry,
            version=origin.version,
            changed=origin.changed_at,
            # A registry that can be asked would have told of a change.
            at=now if origin.error is None or origin.confirmed_at is None else origin.confirmed_at,
        )

    def _tell(self, state: EndpointsState, policy: ClientPolicy) -> None:
        self._knowledge.changes += 1
        self._engine.endpoints(Endpoints(router=self._router, client=self.text, state=state, policy=policy))

    def close(self) -> None:
        """Stop observing, and remember where it was."""
        known = self.known(self._knowledge.now())
        if known is not None:
            self._knowledge.clients.keep(known.key, known)
        self._end_patience()
        if self._watch is not None:
            self._watch.close()
