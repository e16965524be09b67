"""Dtabs in an SQLite file: one thread writes, readers are told from memory, and every version stays in the file.

A change is acknowledged when its transaction is in the write-ahead log and the log is on the disk (`synchronous=FULL`),
so neither a killed process nor a power cut loses it. Several processes may share a file: a change is compared and made
in one transaction, and whoever did not make it sees it within `LOOK_SECONDS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from biandou.dtab import Dtab, DtabSyntaxError
from biandou.errors import NamespaceExists, NamespaceMissing, StaleVersion, StoreDown, StoreError
from biandou.live import Failed, Live
from biandou.stores.interface import NO_REMARK, Remark, Revision, Version, Versioned, check_namespace, dtab_text
from biandou.stores.shelf import Shelf

T = TypeVar("T")

LOOK_SECONDS: Final = 0.5
"""How often it is looked whether another process wrote."""

BUSY_SECONDS: Final = 1.0
"""How long a change waits for another process's."""

ANSWER_SECONDS: Final = 5.0
"""After so long a change is given up; a disk that hangs may still make it."""

MAX_WAITING: Final = 1000
"""How many changes wait for the disk; more are refused at once."""

SCHEMA: Final = 1

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS revision (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  namespace TEXT NOT NULL,
  dtab TEXT,  -- NULL when the namespace was deleted
  time REAL NOT NULL,
  author TEXT NOT NULL,
  message TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS revision_of_namespace ON revision (namespace, id);
"""

_log = logging.getLogger(__name__)


class SqliteStore:
    """A store in the file `path`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.trouble: str | None = None
        self._shelf = Shelf()
        self._writer = ThreadPoolExecutor(1, "sqlite")
        self._connection: sqlite3.Connection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._file = 0, 0
        self._waiting = 0
        self._stuck = False
        self._seen = 0
        self._looking: asyncio.Task[None] | None = None

    # ── Life ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Open the file, making it if need be, and read it; raises `StoreDown`."""
        self._loop = asyncio.get_running_loop()
        await self._loop.run_in_executor(self._writer, self._open)
        self._looking = self._loop.create_task(self._look(), name="sqlite")

    async def stop(self) -> None:
        """Let running changes end, and close the file."""
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
        await asyncio.get_running_loop().run_in_executor(None, self._shut)

    def _open(self) -> None:
        try:
            directory = os.path.dirname(os.path.abspath(self.path))
            os.makedirs(directory, mode=0o700, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            self._connection = connection
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            (schema,) = connection.execute("PRAGMA user_version").fetchone()
            if schema not in (0, SCHEMA):
                raise StoreDown(f"{self.path} was written by a newer biandou (schema {schema}; known: {SCHEMA})")
            connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")
            self._read_all(connection)
            opened = os.stat(self.path)
            self._file = opened.st_dev, opened.st_ino
        except (sqlite3.Error, OSError) as error:
            raise StoreDown(f"{self.path}: {error}") from error

    def _shut(self) -> None:
        def close() -> None:
            if self._connection is not None:
                self._connection.close()

        self._writer.submit(close).result()
        self._writer.shutdown()

    # ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def namespaces(self) -> Live[frozenset[str]]:
        """Give the names of all namespaces."""
        return self._shelf.names()

    def watch(self, namespace: str) -> Live[Versioned | None]:
        """Give a namespace's dtab."""
        return self._shelf.watch(namespace)

    async def history(self, namespace: str, limit: int = 100) -> list[Revision]:
        """Give the last states of a namespace, the newest first; raises `StoreDown`."""

        def read(connection: sqlite3.Connection) -> list[Revision]:
            rows = connection.execute(
                "SELECT id, dtab, time, author, message FROM revision WHERE namespace = ? ORDER BY id DESC LIMIT ?",
                (namespace, limit),
            )
            return [
                Revision(_version(number), None if text is None else Dtab.read(text), at, Remark(author, message))
                for number, text, at, author, message in rows
            ]

        return await self._run(read)

    # ── Changing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def create(self, namespace: str, dtab: Dtab, remark: Remark = NO_REMARK) -> Version:
        """Add a namespace; raises `NamespaceExists`."""
        check_namespace(namespace)

        def check(present: int | None) -> None:
            if present is not None:
                raise NamespaceExists(namespace)

        return await self._write(namespace, dtab, check, remark)

    async def update(self, namespace: str, dtab: Dtab, version: Version, remark: Remark = NO_REMARK) -> Version:
        """Change a namespace that still has `version`; raises `StaleVersion` if not, `NamespaceMissing`."""

        def check(present: int | None) -> None:
            if present is None:
                raise NamespaceMissing(namespace)
            if _version(present) != version:
                raise StaleVersion(namespace)

        return await self._write(namespace, dtab, check, remark)

    async def put(self, namespace: str, dtab: Dtab, remark: Remark = NO_REMARK) -> Version:
        """Add or change a namespace."""
        check_namespace(namespace)
        return await self._write(namespace, dtab, lambda _present: None, remark)

    async def delete(self, namespace: str, remark: Remark = NO_REMARK) -> None:
        """Remove a namespace; raises `NamespaceMissing`."""

        def check(present: int | None) -> None:
            if present is None:
                raise NamespaceMissing(namespace)

        await self._write(namespace, None, check, remark)

    async def _write(
        self, namespace: str, dtab: Dtab | None, check: Callable[[int | None], None], remark: Remark
    ) -> Version:
        """Keep a new version, unless `check` refuses the number of the present one (`None` if there is none)."""
        text = None if dtab is None else dtab_text(dtab)

        def write(connection: sqlite3.Connection) -> Version:
            self._check_file()
            connection.execute("BEGIN IMMEDIATE")
            try:
                present = connection.execute(
                    "SELECT id, dtab IS NOT NULL FROM revision WHERE namespace = ? ORDER BY id DESC LIMIT 1",
                    (namespace,),
                ).fetchone()
                check(present[0] if present is not None and present[1] else None)
                cursor = connection.execute(
                    "INSERT INTO revision (namespace, dtab, time, author, message) VALUES (?, ?, ?, ?, ?)",
                    (namespace, text, time.time(), remark.author, remark.message),
                )
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            number = cursor.lastrowid or 0
            self._read_new(connection, {number: dtab})
            return _version(number)

        version = await self._run(write)
        self.trouble = None
        return version

    async def _run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Do something in the writer's thread; raises `StoreDown` if the file cannot be used or takes too long."""
        loop = self._loop
        if loop is None:
            raise StoreDown(f"{self.path} is not open")
        if self._stuck or self._waiting >= MAX_WAITING:
            raise StoreDown(f"{self.path}: {self._waiting} changes wait for the disk")

        def run() -> T:
            connection = self._connection
            if connection is None:
                raise StoreDown(f"{self.path} is not open")
            return job(connection)

        self._waiting += 1
        running = loop.run_in_executor(self._writer, run)
        running.add_done_callback(self._done)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                # Shielded: a caller that goes away does not undo what the thread is about to do.
                return await asyncio.shield(running)
        except TimeoutError as error:
            self._stuck = True
            self.trouble = f"{self.path}: the disk does not answer"
            raise StoreDown(self.trouble) from error
        except sqlite3.Error as error:
            raise StoreDown(f"{self.path}: {error}") from error

    def _done(self, running: asyncio.Future[T]) -> None:
        self._waiting -= 1
        self._stuck = False
        error = None if running.cancelled() else running.exception()
        if error is not None and (isinstance(error, StoreDown) or not isinstance(error, StoreError)):
            self.trouble = f"{self.path}: {error}"

    # ── What the file holds, read in the writer's thread ─────────────────────────────────────────────────────────────

    async def _look(self) -> None:
        """Look for changes of other processes, for ever."""
        former: int | None = None
        said: str | None = None

        def look(connection: sqlite3.Connection) -> None:
            nonlocal former
            self._check_file()
            if self.trouble is not None:
                # Reading works while another process holds the file or the disk is full.
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
            # Changes when another connection commits.
            (present,) = connection.execute("PRAGMA data_version").fetchone()
            if present != former:
                self._read_new(connection)
                former = present

        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._run(look)
            except StoreDown as error:
                if str(error) != said:
                    said = str(error)
                    _log.warning("%s", said)
            else:
                if said is not None:
                    said = None
                    _log.info("%s can be used again", self.path)
                self.trouble = None

    def _check_file(self) -> None:
        """Raise `sqlite3.OperationalError` if our file is not the one at `path`: SQLite would go on writing to it."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._file:
            what = "has been deleted" if found is None else "is another file now"
            raise sqlite3.OperationalError(f"the file {what}, and changes would be lost: restart namerd")

    def _read_all(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute(
            "SELECT namespace, id, dtab FROM revision WHERE id IN (SELECT max(id) FROM revision GROUP BY namespace)"
        ).fetchall()
        self._seen = max((number for _, number, _ in rows), default=0)
        states = {
            namespace: state
            for namespace, number, text in rows
            if (state := self._state(namespace, number, text)) is not None
        }
        self._tell(lambda: self._shelf.fill(states))

    def _read_new(self, connection: sqlite3.Connection, known: Mapping[int, Dtab | None] | None = None) -> None:
        """Take in what was written since, of which `known` need not be read again."""
        rows = connection.execute(
            "SELECT namespace, id, dtab FROM revision WHERE id > ? ORDER BY id", (self._seen,)
        ).fetchall()
        if not rows:
            return
        self._seen = rows[-1][1]
        states: dict[str, Versioned | Failed | None] = {}
        for namespace, number, text in rows:
            dtab = (known or {}).get(number)
            states[namespace] = (
                self._state(namespace, number, text) if dtab is None else Versioned(dtab, _version(number))
            )

        def tell() -> None:
            for namespace, state in states.items():
                self._shelf.set(namespace, state)

        self._tell(tell)

    def _state(self, namespace: str, number: int, text: str | None) -> Versioned | Failed | None:
        if text is None:
            return None
        try:
            return Versioned(Dtab.read(text), _version(number))
        except DtabSyntaxError as error:
            _log.error("%s: the dtab of %s can't be read: %s", self.path, namespace, error)
            return Failed(StoreError(f"the dtab of {namespace} can't be read: {error}"))

    def _tell(self, tell: Callable[[], None]) -> None:
        """Change what is read; the event loop does so before it learns that this thread's job is done."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(tell)


def _version(number: int) -> Version:
    return str(number).encode()
