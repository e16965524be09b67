"""③: the client names that trees name, where each of them is, and what the engine is told of it.

A client name is observed as long as the tree of any ticket names it; the latest tree says what to observe.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from typing import Protocol

from biandou.boundary import (
    Answer,
    Endpoints,
    EndpointsFailed,
    EndpointsKnown,
    EndpointsPending,
)
from biandou.config.plan import ClientPolicy
from biandou.dtab import Path
from biandou.dtab.bound import Addresses, AddressSet, Bound, Origin, shown_time
from biandou.errors import reason
from biandou.linker.answers import EndpointsState, endpoints_state, usable_part
from biandou.linker.knowledge import Knowledge, KnownClient
from biandou.linker.router import Router
from biandou.live import Failed, Ok, State, Watch

_log = logging.getLogger(__name__)


class Engine(Protocol):
    """What the binder needs of the engine; `boundary.py` has the real one, `biandou.testing` a fake."""

    def answer(self, ticket: int, answer: Answer) -> None:
        """Say what the name of a ticket means now."""

    def endpoints(self, letter: Endpoints) -> None:
        """Say where a client name is now."""

    def forget(self, router: str, client: str) -> None:
        """Say that no name leads to this client any more."""


class Clients:
    """The client names of all routers that any ticket's tree names."""

    def __init__(self, engine: Engine, knowledge: Knowledge) -> None:
        self.knowledge = knowledge
        self._engine = engine
        self._clients: dict[tuple[str, Path], Client] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def origins(self) -> Iterator[tuple[tuple[str, str], Origin]]:
        """Give where the endpoints of each client come from, by router and client name; not of those that nobody says.

        The engine has been told what the origin's version says: letters go in the same turn of the event loop.
        """
        for (router, _), client in self._clients.items():
            if client.origin is not None:
                yield (router, client.text), client.origin

    def known(self, now: float) -> Iterator[KnownClient]:
        """Give where each client is, of those that a registry told of."""
        for client in tuple(self._clients.values()):
            known = client.known(now)
            if known is not None:
                yield known

    def told(self, router: str, client: Path) -> bool:
        """Say whether a registry has told where a client is."""
        known = self._clients.get((router, client))
        return known is not None and known.origin is not None

    def treat(self, routers: Mapping[str, Router]) -> set[tuple[str, Path]]:
        """Go by the policies of other routers of the same labels; gives the clients whose policies are others now."""
        return {key for key, client in self._clients.items() if key[0] in routers and client.treat(routers[key[0]])}

    def close(self) -> None:
        """Stop observing."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def hold(self, router: Router, bound: Bound, *, again: bool, remembered: bool) -> None:
        """Resolve a client name for a tree that did not name it before, or does so again.

        That of a tree which is only `remembered` has no addresses to follow.
        """
        key = router.label, bound.id
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = Client(self._engine, self.knowledge, router, bound.id)
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


class Client:
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
        except (ValueError, TypeError, OverflowError) as error:
            # The engine can't use this one; whoever found it, and the next one, must not suffer from that.
            usable = usable_part(letter)
            if usable is None:
                _log.exception("the endpoints of %s can't be used", self.text)
                self._send(EndpointsFailed(message=reason(error)))
            else:
                _log.error("%s goes without the endpoints that can't be used: %s", self.text, reason(error))
                self._offer(usable)

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
