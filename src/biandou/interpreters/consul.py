"""`io.l5d.consul.interpreter`: a dtab in Consul's keys, in front of the router's own (reference/naming.md §3.2).

It is the key that a namerd with Consul as its store writes: linkers may read their dtab without a namerd.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from biandou.clients.backoff import Backoff, retry_of
from biandou.clients.consul_access import Consistency, ConsulPort, check_access, check_prefix, reading
from biandou.clients.retry import Retry
from biandou.clients.tls import ClientTls
from biandou.dtab import Dtab, DtabSyntaxError
from biandou.errors import BindingError
from biandou.interpreters.interface import Interpreter, InterpreterKind
from biandou.interpreters.local import StoredInterpreter
from biandou.interpreters.shown import shown
from biandou.live import Live, Ok, Source
from biandou.namers.interface import Lookup

if TYPE_CHECKING:
    from biandou.clients.consul import Answer, Consul, ConsulError

MAX_ANSWER: Final = 1024 * 1024
"""Consul takes values of 512 KiB."""

_log = logging.getLogger(__name__)


class ConsulInterpreterKind(InterpreterKind, frozen=True, kw_only=True, tag="io.l5d.consul.interpreter"):
    """Binds with the dtab in the key `<pathPrefix>/<namespace>`; nothing is ever written.

    `writeConsistencyMode` is taken and not used, as in the reference.
    """

    host: str = "localhost"
    port: ConsulPort = 8500
    path_prefix: str = "/namerd/dtabs"
    namespace: str = "default"
    token: str | None = None
    datacenter: str | None = None
    read_consistency_mode: Consistency = "default"
    write_consistency_mode: Consistency = "default"
    fail_fast: bool = False
    backoff: Backoff | None = None
    tls: ClientTls | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for what cannot be used to ask a Consul."""
        check_access(self.host, self.token)
        check_prefix(self.path_prefix)
        if not self.namespace or "/" in self.namespace:
            raise ValueError("a namespace has a name without slashes")

    def interpreter(self, base: Live[Dtab], namers: Lookup) -> Interpreter:
        """Make the interpreter: the key's dtab + `base`; raises `ConfigError` for a TLS file that can't be used."""
        # Not above: every linker knows this kind, and few need an HTTP client.
        from biandou.clients.consul import consul_at  # noqa: PLC0415

        consul = consul_at(self.host, self.port, self.token, self.tls, fail_fast=self.fail_fast, max_answer=MAX_ANSWER)
        stored = dtab_in_consul(self, consul)
        place = f"{self.path_prefix}/{self.namespace}"
        return StoredInterpreter(
            stored.flat_map(lambda dtab: base.map(lambda own: dtab + own)),
            namers,
            "io.l5d.consul.interpreter",
            lambda: {"state": shown(stored, str), "poll": {"request": f"consul at {consul.address}: {place}"}},
        )


@dataclass(slots=True)
class Memory:
    """The last good dtab."""

    dtab: Dtab | None = None


def dtab_in_consul(kind: ConsulInterpreterKind, consul: Consul) -> Live[Dtab]:
    """Give the dtab that a key holds, now and after each change; a key that is not there is an empty dtab.

    While Consul is away, or the key holds what is no dtab, the last good one stays; until there was one that is a
    failure.
    """
    from biandou.clients.consul import target_of  # noqa: PLC0415 - as above
    from biandou.clients.consul_kv import kv_path  # noqa: PLC0415 - as above
    from biandou.clients.consul_watch import follow as follow_query  # noqa: PLC0415 - as above

    path = kv_path(f"{kind.path_prefix.removeprefix('/')}/{kind.namespace}")
    target = target_of(path, {**reading(kind.read_consistency_mode, kind.datacenter), "raw": "true"})
    retry = retry_of(kind.backoff, Retry(0.1, 5.0))
    memory = Memory()

    def follow(source: Source[Dtab]) -> Callable[[], None]:
        # What was known long ago may not be told as if it were known now.
        source.forget()
        following = asyncio.get_running_loop().create_task(
            follow_query(consul, target, DtabWatch(path, source, memory), retry=retry), name=f"consul {path}"
        )

        def stop() -> None:
            following.cancel()

        return stop

    return Source(follow=follow)


class DtabWatch:
    """One blocking query for a dtab."""

    def __init__(self, path: str, source: Source[Dtab], memory: Memory) -> None:
        self._path = path
        self._source = source
        self._memory = memory
        self._failing = False

    @property
    def useful(self) -> bool:
        """Always: there is no other query."""
        return True

    def changed(self, answer: Answer) -> None:
        """Take in what the key holds now."""
        self._mended()
        try:
            dtab = Dtab() if answer.status == 404 else Dtab.read(answer.body.decode())
        except UnicodeDecodeError as error:
            self._stay(BindingError(f"{self._path} is not UTF-8 text (byte {error.start})"))
        except DtabSyntaxError as error:
            self._stay(BindingError(f"{self._path}:{error.line}:{error.column}: {error}"))
        else:
            self._memory.dtab = dtab
            self._tell(dtab)

    def confirmed(self) -> None:
        """Hear that what is known still holds."""
        self._mended()

    def failed(self, error: ConsulError) -> None:
        """Stay with what is known."""
        if self._failing:
            _log.debug("%s: %s", self._path, error)
            return
        self._failing = True
        self._stay(BindingError(f"{self._path}: {error}"))

    def _mended(self) -> None:
        if self._failing:
            _log.info("%s: Consul answers again", self._path)
        self._failing = False

    def _stay(self, error: BindingError) -> None:
        known = self._memory.dtab
        _log.warning("%s%s", error, "" if known is None else "; the last good dtab stays in force")
        if isinstance(self._source.state, Ok):
            return
        if known is not None:
            self._tell(known)
        else:
            self._source.fail(error)

    def _tell(self, dtab: Dtab) -> None:
        try:
            self._source.set(dtab)
        except Exception:
            # The mistake of one observer must not end the watch of the others.
            _log.exception("an observer of %s failed", self._path)
