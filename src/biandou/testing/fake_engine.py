"""An engine that routes nothing and remembers what it was told."""

from __future__ import annotations

from biandou.boundary import Answer, Endpoints


class FakeEngine:
    """Takes the binder's letters; `journal` has them in the order they came, the others the latest of each."""

    def __init__(self) -> None:
        self.journal: list[tuple[str, int | str | tuple[str, str], object]] = []
        self.answers: dict[int, Answer] = {}
        self.clients: dict[tuple[str, str], Endpoints] = {}

    def answer(self, ticket: int, answer: Answer) -> None:
        """Take an answer."""
        self.journal.append(("answer", ticket, answer.outcome))
        self.answers[ticket] = answer

    def endpoints(self, letter: Endpoints) -> None:
        """Take a client's endpoints."""
        self.journal.append(("endpoints", letter.client, letter.state))
        self.clients[letter.router, letter.client] = letter

    def forget(self, router: str, client: str) -> None:
        """Take leave of a client; raises `KeyError` if it was never named."""
        self.journal.append(("forget", client, None))
        del self.clients[router, client]
