"""`io.l5d.fs`: a dtab in a watched file, in front of the router's own (reference/naming.md §3.2).

Unlike the reference, a file that can't be read or parsed leaves the last good dtab in force: what worked goes on
working while somebody edits.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from biandou.clients.files import Directory, File
from biandou.clients.inotify import Inotify
from biandou.dtab import Dtab, DtabSyntaxError
from biandou.errors import BindingError
from biandou.interpreters.interface import Interpreter, InterpreterKind
from biandou.interpreters.local import LocalInterpreter
from biandou.live import Failed, Live, Ok, Source, State
from biandou.namers.interface import Lookup

_log = logging.getLogger(__name__)


class FsInterpreterKind(InterpreterKind, frozen=True, kw_only=True, tag="io.l5d.fs"):
    """Binds with the dtab in `dtabFile`, which must exist; relative to the working directory."""

    dtab_file: str

    def __post_init__(self) -> None:
        """Raise `ValueError` unless `dtabFile` is a file."""
        if not os.path.isfile(self.dtab_file):
            raise ValueError(f"{self.dtab_file} is not a file")

    def interpreter(self, base: Live[Dtab], namers: Lookup) -> Interpreter:
        """Make the interpreter: the file's dtab + `base`, so that the router's own entries override the file's."""
        stored = dtab_in_file(self.dtab_file)
        return LocalInterpreter(stored.flat_map(lambda dtab: base.map(lambda own: dtab + own)), namers)


def dtab_in_file(file: str) -> Live[Dtab]:
    """Give the dtab that a file holds, now and after each change.

    What can't be used is logged, once a change. It is a failure for those who wait for the first good dtab; while there
    is no file at all they go on waiting.
    """
    directory, name = os.path.split(os.path.abspath(file))

    def found(what: File | Directory | None) -> Live[Dtab]:
        match what:
            case File():
                return what.map(lambda contents: read_dtab(file, contents))
            case Directory():
                return Live.failed(BindingError(f"{file} is a directory"))
        return Live()

    def follow(source: Source[Dtab]) -> Callable[[], None]:
        def changed(state: State[Dtab]) -> None:
            if isinstance(state, Ok):
                source.set(state.value)
                return
            known = isinstance(source.state, Ok)
            reason = str(state.error) if isinstance(state, Failed) else f"{file} does not exist"
            _log.warning("%s%s", reason, "; the last good dtab stays in force" if known else "")
            if isinstance(state, Failed) and not known:
                source.fail(state.error)

        return Directory(directory, Inotify()).entry(name).flat_map(found).observe(changed).close

    return Source(follow=follow)


def read_dtab(file: str, contents: bytes) -> Dtab:
    """Read a dtab file; raises `BindingError`, which names the file and the place of the mistake."""
    try:
        return Dtab.read(contents.decode())
    except UnicodeDecodeError as error:
        raise BindingError(f"{file} is not UTF-8 text (byte {error.start})") from error
    except DtabSyntaxError as error:
        raise BindingError(f"{file}:{error.line}:{error.column}: {error}") from error
