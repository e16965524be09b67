"""`io.l5d.namerd.http`: namerd binds, and tells each change over its HTTP API (reference/naming.md §3.1).

Several namerds are the several addresses of `dst`. While all are away, what they told last holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from weakref import WeakValueDictionary

from biandou.clients.namerd_addresses import NamerdRetry, namerd_addresses
from biandou.clients.namerd_origin import Told
from biandou.clients.namerd_token import NamerdToken
from biandou.clients.retry import Retry
from biandou.clients.tls import ClientTls, client_context
from biandou.dtab import Dtab, NameTree, Path
from biandou.dtab.bound import Addresses, Bound
from biandou.dtab.explain import Delegation
from biandou.dtab.wire import read_address, read_delegation, read_tree
from biandou.errors import ResolutionError
from biandou.interpreters.interface import Interpreter, InterpreterKind
from biandou.live import Live, Source
from biandou.namers.interface import Lookup

if TYPE_CHECKING:
    from biandou.clients.namerd_http import NamerdHttp
    from biandou.clients.namerd_session import NamerdSession


class NamerdHttpInterpreterKind(InterpreterKind, frozen=True, kw_only=True, tag="io.l5d.namerd.http"):
    """Binds with the dtab that the namerd at `dst` has in `namespace`, after which comes the router's own."""

    dst: str
    namespace: str = "default"
    retry: NamerdRetry = NamerdRetry(base_seconds=5, max_seconds=600)
    tls: ClientTls | None = None
    token: str | None = None
    token_file: str | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` unless `dst` is a path, `namespace` can stand in one, and a token can be shown."""
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and tokenFile exclude each other")
        try:
            NamerdToken(self.token, self.token_file).secret()
        except OSError as error:
            raise ValueError(f"{self.token_file}: {error.strerror}") from error
        if len(Path.read(self.dst)) == 0:
            raise ValueError("dst says which namerd: /$/inet/namerd.example.com/4180")
        if not self.namespace or "/" in self.namespace:
            raise ValueError("a namespace has a name without slashes")

    def interpreter(self, base: Live[Dtab], namers: Lookup) -> Interpreter:
        """Make the interpreter; raises `ConfigError` for a TLS file that can't be used."""
        # Not above: a linker that binds by itself does without an HTTP client.
        from biandou.clients.namerd_http import NamerdHttp  # noqa: PLC0415
        from biandou.clients.namerd_session import NamerdSession  # noqa: PLC0415

        tls = client_context(self.tls)
        name = self.tls.common_name if self.tls is not None and tls is not None else None
        token = NamerdToken(self.token, self.token_file)
        retry = Retry(self.retry.base_seconds, self.retry.max_seconds)
        client = NamerdHttp(namerd_addresses(Path.read(self.dst), namers.lookup), retry, tls, name, token)
        session = NamerdSession(client, self.namespace)
        return NamerdHttpInterpreter(base, client, session, self.namespace, f"namerd at {self.dst}")


class NamerdHttpInterpreter:
    """Names as a namerd binds them in one namespace; `registry` is what to call it."""

    def __init__(
        self, base: Live[Dtab], client: NamerdHttp, session: NamerdSession, namespace: str, registry: str = "namerd"
    ) -> None:
        self._base = base
        self._registry = registry
        self._client = client
        self._session = session
        self._namespace = quote(namespace, safe="")
        self._trees: WeakValueDictionary[tuple[Path, Dtab], Live[NameTree[Bound]]] = WeakValueDictionary()
        self._addresses: WeakValueDictionary[Path, Live[Addresses]] = WeakValueDictionary()

    def bind(self, local: Dtab, path: Path) -> Live[NameTree[Bound]]:
        """Give what `path` comes to through namerd's dtab, the router's own and `local`."""
        return self._base.flat_map(lambda own: self._tree(path, own + local))

    def delegate(self, dtab: Dtab, path: Path) -> Live[Delegation]:
        """Give every branch of the delegation of `path` through namerd's dtab and `dtab`, as it is now."""

        def follow(source: Source[Delegation]) -> Callable[[], None]:
            async def ask() -> None:
                target = f"/api/1/delegate/{self._namespace}?{_query(path, dtab)}"
                try:
                    source.set(read_delegation(await self._client.get(target), self._bound))
                except Exception as error:
                    source.fail(error)

            asking = asyncio.get_running_loop().create_task(ask(), name=f"namerd {path}")

            def stop() -> None:
                asking.cancel()

            return stop

        return Source(follow=follow)

    async def report(self, document: bytes) -> list[Any]:
        """Send a report to every namerd: any of them may be the one that judges by it."""
        return await self._client.tell(f"/api/1/reports/{self._namespace}", document)

    @property
    def in_force(self) -> Live[str]:
        """The version of the namespace's dtab that every tree comes from; observing it keeps the connection open."""
        return self._session.in_force

    @property
    def told_elsewhere(self) -> bool:
        """Whether there are namerds which learn only from reports what is in force."""
        return self._client.several

    @property
    def may_try(self) -> bool:
        """Whether namerd can have this linker go by a dtab that others do not have yet."""
        return True

    def _tree(self, path: Path, dtab: Dtab) -> Live[NameTree[Bound]]:
        tree = self._trees.get((path, dtab))
        if tree is None:
            tree = self._session.bind(path, dtab, lambda told: read_tree(told, self._bound))
            self._trees[path, dtab] = tree
        return tree

    def _bound(self, client: Path, residual: Path, told: Any) -> Bound:
        addresses = self._addresses.get(client)
        if addresses is None:
            here = Told(self._registry)
            first = _first(told)
            addresses = self._session.address(
                client,
                lambda document: here.take(read_address(document)),
                None if first is None else here.take(first),
                here.origin,
            )
            self._addresses[client] = addresses
        return Bound(client, addresses, residual)


def _first(told: Any) -> Addresses | None:
    """Give where namerd said that a client name is when it told the tree."""
    try:
        return None if told is None else read_address(told)
    except (ResolutionError, ValueError, KeyError, TypeError, AttributeError):
        # The stream will tell, or say what is wrong.
        return None


def _query(path: Path, dtab: Dtab) -> str:
    entries = f"&dtab={quote(str(dtab), safe='/')}" if len(dtab) else ""
    return f"path={quote(str(path), safe='/')}{entries}"
