"""The road in Python, in the order it is walked: ② interpret, ③ resolve, ④ transform, then answer.

The engine asks once per name that it does not know and is kept up to date until it releases the name. A client name's
endpoints are sent before the first answer that names it, and observed as long as the tree of any ticket names it.
A name that cannot be bound costs its own requests and no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final

from biandou.boundary import Answer, Ask, BadOverride, BindFailure, Release
from biandou.dtab import Dtab, DtabSyntaxError, Path
from biandou.dtab.bound import Origin
from biandou.linker.clients import Clients, Engine
from biandou.linker.knowledge import Knowledge, KnownClient, KnownName
from biandou.linker.router import Router
from biandou.linker.ticket import Ticket

NAMES_AT_ONCE: Final = 20
"""So many names are bound by new routers before others, who ask meanwhile, have their turn."""


class Binder:
    """Answers asks for a set of routers."""

    def __init__(self, routers: Iterable[Router], engine: Engine, knowledge: Knowledge | None = None) -> None:
        self.knowledge = knowledge or Knowledge()
        self.routers = {router.label: router for router in routers}
        self._leaving: dict[str, Router] = {}
        self._engine = engine
        self._tickets: dict[int, Ticket] = {}
        self._clients = Clients(engine, self.knowledge)
        self._send = self._answer
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
        return self._clients.origins()

    def known_clients(self, now: float) -> Iterator[KnownClient]:
        """Give where each client in use is, of those that a registry told of."""
        return self._clients.known(now)

    def known_names(self, now: float) -> Iterator[KnownName]:
        """Give what each name in use comes to; not of those that a request bound by a dtab of its own."""
        for ticket in tuple(self._tickets.values()):
            known = ticket.known(now)
            if known is not None:
                yield known

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
        treated_anew = self._clients.treat(self.routers)
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
        # First, so that what the tickets let go of tells the engine nothing.
        self._clients.close()
        for ticket in tickets.values():
            ticket.close()

    def _ask(self, ask: Ask) -> None:
        known = self._tickets.get(ask.ticket)
        if known is not None:
            known.repeat()
            return
        ticket = self._tickets[ask.ticket] = Ticket(self._clients, ask.ticket, self._send)
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

    def _answer(self, ticket: int, answer: Answer) -> None:
        if ticket in self._tickets:
            self.knowledge.changes += 1
            self._engine.answer(ticket, answer)
