"""`biandou dtab apply`: the namespaces become what the files of a folder say, planned first, all or none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from biandou.cli.dtab_folder import LOCK, Action, Applied, action, digest, read_folder, read_lock, write_lock
from biandou.cli.dtab_forms import DTAB, Sent, as_json
from biandou.cli.dtab_plan import CHANGES, ask, render
from biandou.cli.dtab_shared import Json, Message, Url, failed, given, run, write
from biandou.cli.dtab_writes import Write, presently, write_all
from biandou.cli.namerd_http import Namerd, NamerdFailed
from biandou.dtab import Dtab


def apply(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="DIR", hidden=True)] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    no_plan: Annotated[bool, typer.Option("--no-plan", help="Do not ask linkers which names would move.")] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="With --dry-run: end with 2 if something would be changed.")
    ] = False,
    lock: Annotated[
        str | None, typer.Option("--lock", help=f"Where it is recorded what was applied last; DIR/{LOCK} otherwise.")
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", help="A folder of dtabs as they were applied last, instead of the record.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also change namespaces that somebody else has changed.")
    ] = False,
    message: Message = "",
    url: Url = None,
    shown: Json = False,
) -> None:
    """Make each namespace NAME what DIR/NAME.dtab says: all of them or, if one cannot be changed, none."""
    (name,) = given(words, ("DIR",), "apply requires a folder")
    folder = Path(name)
    file = Path(lock) if lock is not None else folder / LOCK
    as_lines = not (shown or context.obj.json)
    try:
        wanted = read_folder(folder)
        recorded = read_lock(file)
        bases = {known: one.digest for known, one in recorded.items()}
        if base is not None:
            bases = {known: digest(dtab) for known, dtab in read_folder(Path(base)).items()}
    except ValueError as error:
        raise failed(str(error)) from None
    if not wanted:
        raise failed(f"there is no file NAME.dtab in {folder}")

    async def work(namerd: Namerd) -> None:
        present = await presently(namerd, list(wanted))
        actions = {known: action(dtab, present.get(known), bases.get(known)) for known, dtab in wanted.items()}
        conflicts = [known for known, what in actions.items() if what is Action.CONFLICT]
        if conflicts and not overwrite:
            told = [_conflict(known, known in present, recorded.get(known), known in bases) for known in conflicts]
            raise NamerdFailed("\n".join([*told, "Nothing was changed. --overwrite changes these, too."]))
        writes = [
            Write(known, dtab, present.get(known))
            for known, dtab in wanted.items()
            if actions[known] is not Action.NOTHING
        ]
        plans: dict[str, Any] = {}
        for one in writes:
            if not no_plan:
                plans[one.name] = await ask(namerd, one.name, Sent(str(one.dtab).encode(), DTAB, ""))
            if as_lines:
                write(render(one.name, plans[one.name]) if one.name in plans else _short(one))
        document = {
            "changes": [
                {
                    "namespace": one.name,
                    "action": "create" if one.before is None else "update",
                    "plan": plans.get(one.name),
                }
                for one in writes
            ],
            "unchanged": sorted(wanted.keys() - {one.name for one in writes}),
            "applied": False,
        }
        if not dry_run:
            if writes and not yes:
                _confirm(len(writes))
            written = await write_all(namerd, writes, message or "apply")
            document["applied"] = True
            versions = {known: one.version for known, one in present.items()} | written
            _record(file, recorded, wanted, versions)
        if as_lines:
            write(_summary(len(writes), len(wanted), applied=not dry_run))
        else:
            write(as_json(document))
        if dry_run and exit_code and writes:
            raise typer.Exit(CHANGES)

    run(context, url, work)


def _confirm(count: int) -> None:
    if not sys.stdin.isatty():
        raise failed("nobody is there to ask: say --yes or --dry-run")
    if not typer.confirm(f"Change {count} namespace{'' if count == 1 else 's'}?", err=True):
        raise typer.Exit(1)


def _record(file: Path, former: dict[str, Applied], wanted: dict[str, Dtab], versions: dict[str, str]) -> None:
    now = {name: Applied(versions[name], digest(dtab)) for name, dtab in wanted.items()}
    # A version alone is no news: somebody has written the same again.
    now = {
        name: former[name] if name in former and former[name].digest == one.digest else one for name, one in now.items()
    }
    try:
        write_lock(file, former | now)
    except OSError as error:
        raise NamerdFailed(f"all is applied, but it could not be recorded: {file}: {error.strerror}") from error


def _conflict(name: str, there: bool, recorded: Applied | None, based: bool) -> str:
    if not there:
        return f"{name} was applied before, and somebody has deleted it since."
    if recorded is not None:
        return (
            f"{name} is neither what was applied last nor what its file says: somebody has changed it since; "
            f"see biandou dtab diff {name} {recorded.version}"
        )
    if based:
        return f"{name} is neither what it was in --base nor what its file says: somebody has changed it since."
    return f"{name} is there already, is not what its file says, and was never applied from here."


def _short(one: Write) -> str:
    return f"# {one.name}: {'is created' if one.before is None else f'version {one.before.version} is changed'}\n"


def _summary(changed: int, total: int, *, applied: bool) -> str:
    if not changed:
        return f"Nothing to do: {total} as the file{'' if total == 1 else 's'} say{'s' if total == 1 else ''}.\n"
    return f"{'Changed' if applied else 'To be changed'}: {changed} of {total}.\n"
