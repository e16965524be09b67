"""A filter that lets requests with a known token pass, and tells the endpoints whose it was."""

from __future__ import annotations

from biandou.filters.interface import Filter, FilterKind, Pass, Reply
from biandou.requests import PluginRequest


class AuthFilterKind(FilterKind, frozen=True, kw_only=True, tag="com.example.auth"):
    """`tokens` gives the user of each bearer token."""

    tokens: dict[str, str]

    def make(self) -> Filter:
        """Give the check."""
        users = {f"Bearer {token}": user for token, user in self.tokens.items()}

        def check(request: PluginRequest) -> Pass | Reply:
            user = users.get(request.headers.get("Authorization") or "")
            if user is None:
                return Reply(401, (("WWW-Authenticate", "Bearer"),), b"who are you?\n")
            return Pass(set=(("X-User", user),), remove=("Authorization",))

        return check
