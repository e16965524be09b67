"""A name that the engine has asked for: ② interpreted, ④ transformed, and kept current until the engine releases it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from biandou.boundary import Answer, BindFailure, BoundTree, NegativeTree
from biandou.config.plan import ServicePolicy
from biandou.dtab import Dtab, DtabSyntaxError, NameTree, Path
from biandou.dtab.bound import Addresses, Bound
from biandou.errors import BindingError, reason
from biandou.few import Few, with_member, without_member
from biandou.linker.answers import Share, bound_tree, shares
from biandou.linker.clients import Clients
from biandou.linker.knowledge import KnownName
from biandou.linker.router import Router
from biandou.live import Failed, Live, Ok, State, Watch

Send = Callable[[int, Answer], None]
"""Answers a ticket, by its number, that the engine still holds."""

_log = logging.getLogger(__name__)

_NO_LINES: Final[list[str]] = []


class Ticket:
    """A name in the engine's path cache, kept current."""

    __slots__ = (
        "_answered",
        "_clients",
        "_closed",
        "_held",
        "_number",
        "_override",
        "_path",
        "_patience",
        "_policy",
        "_send",
        "_told",
        "_watch",
        "router",
    )

    def __init__(self, clients: Clients, number: int, send: Send) -> None:
        self._clients = clients
        self._number = number
        self._send = send
        self.router: Router | None = None
        self._path = Path()
        self._override = Dtab()
        self._policy = ServicePolicy()
        self._held: Few[Path] = ()
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
                elif any((router.label, client) in treated_anew for client in self._held):
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
                    self._clients.knowledge.names.forget((self.router.label, str(self._path)))
            elif isinstance(state, Failed):
                if not self._remember(state.error):
                    self._settle(BindFailure(message=reason(state.error)), {})
            elif not self._told and self._patience is None and self._remembered() is not None:
                self._patience = self._clients.knowledge.wait(self._impatient)
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
        return self._clients.knowledge.names.get((self.router.label, str(self._path)))

    def _remember(self, error: Exception) -> bool:
        """Answer with what the name came to formerly, if nobody has said yet what it comes to now."""
        # A table that leads nowhere is nothing that was not heard of yet.
        known = None if self._told or isinstance(error, BindingError) else self._remembered()
        if known is None or self._closed:
            return False
        self._end_patience()
        nowhere: Live[Addresses] = Live.failed(error)
        told = ((client, residual) for _, client, residual in known.branches if client is not None)
        try:
            names = {Path.read(client): Path.read(residual) for client, residual in told}
        except DtabSyntaxError as unreadable:
            _log.warning("what was known of %s can't be read: %s", self._path, unreadable)
            self._clients.knowledge.names.forget(known.key)
            return False
        bound = {client: Bound(client, nowhere, residual) for client, residual in names.items()}
        self._settle(known.tree, bound, remembered=True)
        return True

    def _impatient(self) -> None:
        self._patience = None
        self._remember(self._clients.knowledge.late())

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
        if not isinstance(tree, BoundTree) or not any(self._clients.told(router.label, one) for one in self._held):
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
            self._clients.hold(router, bound, again=client in self._held, remembered=remembered)
            self._held = with_member(self._held, client)
        lines = [f"{dentry.prefix} => {dentry.dst}" for dentry in self._override] or _NO_LINES
        self.answer(Answer(outcome=outcome, context=str(self._override), override_dentries=lines, policy=self._policy))
        for client in [client for client in self._held if client not in clients]:
            self._held = without_member(self._held, client)
            self._clients.drop(router, client)

    def answer(self, answer: Answer) -> None:
        """Tell the engine, unless it has been told the same."""
        if not self._closed and answer != self._answered:
            self._answered = answer
            self._send(self._number, answer)

    def repeat(self) -> None:
        """Tell the engine again what it was told last."""
        if self._answered is not None:
            self._send(self._number, self._answered)

    def fail(self, error: Exception) -> None:
        """Answer that the name cannot be bound."""
        if self.router is None:
            self.answer(Answer(outcome=BindFailure(message=reason(error))))
        else:
            self._settle(BindFailure(message=reason(error)), {})

    def close(self) -> None:
        """Let everything go, and remember what it was."""
        known = self.known(self._clients.knowledge.now())
        if known is not None:
            self._clients.knowledge.names.keep(known.key, known)
        self._closed = True
        self._end_patience()
        if self._watch is not None:
            self._watch.close()
        if self.router is not None:
            for client in self._held:
                self._clients.drop(self.router, client)
