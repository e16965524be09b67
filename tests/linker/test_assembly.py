"""What binds names is kept from one configuration to the next as far as both say the same."""

from __future__ import annotations

from pathlib import Path as File

from biandou.config.linker import parse
from biandou.dtab import Dtab, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.linker.assembly import Assembled, assemble
from biandou.live import Ok, State


def config(folder: File, more: str = "", keys: str = "dtab: /svc => /#/io.l5d.fs") -> str:
    return f"""
namers:
- {{kind: io.l5d.fs, rootDir: {folder}}}
{more}
routers:
- protocol: http
  servers: [{{port: 1}}]
  {keys}
"""


def bound(assembled: Assembled) -> str:
    seen: list[State[NameTree[Bound]]] = []
    assembled.routers[0].bind(Dtab(), Path.read("/svc/web")).observe(seen.append).close()
    (state,) = seen
    assert isinstance(state, Ok)
    return str(state.value.map(lambda bound: bound.id))


def test_the_same_configuration_is_the_same_router(tmp_path: File) -> None:
    (tmp_path / "web").write_text("127.0.0.1 1\n")
    first = assemble(parse(config(tmp_path)))
    again = assemble(parse(config(tmp_path)), first)
    assert again.routers[0] is first.routers[0]
    assert again.namers[0] is first.namers[0]


async def test_another_dtab_is_in_force_when_it_is_enacted_and_not_before(tmp_path: File) -> None:
    (tmp_path / "web").write_text("127.0.0.1 1\n")
    (tmp_path / "other").write_text("127.0.0.1 1\n")
    first = assemble(parse(config(tmp_path)))
    second = assemble(parse(config(tmp_path, keys="dtab: /svc/web => /#/io.l5d.fs/other")), first)
    assert second.routers[0] is first.routers[0], "names that it does not touch are not bound anew"
    assert bound(first) == "/#/io.l5d.fs/web"
    second.enact()
    assert bound(second) == "/#/io.l5d.fs/other"


def test_another_policy_keeps_the_interpreter(tmp_path: File) -> None:
    first = assemble(parse(config(tmp_path)))
    second = assemble(parse(config(tmp_path, keys="client: {connectTimeoutMs: 7}")), first)
    assert second.routers[0] is not first.routers[0]
    assert second.routers[0].interpreter is first.routers[0].interpreter
    assert second.routers[0].client_policy(Path.read("/a")).connect_timeout_ms == 7


async def test_a_namer_is_kept_when_another_comes_and_when_only_its_transformers_change(tmp_path: File) -> None:
    (tmp_path / "web").write_text("127.0.0.1 1\n")
    first = assemble(parse(config(tmp_path)))
    more = assemble(parse(config(tmp_path, "- {kind: io.l5d.rewrite, prefix: /r, pattern: /a, name: /b}")), first)
    assert more.namers[0] is first.namers[0]
    assert more.routers[0].interpreter is not first.routers[0].interpreter
    text = config(tmp_path).replace("}\n", ", transformers: [{kind: io.l5d.port, port: 7}]}\n", 1)
    changed = assemble(parse(text), more)
    assert changed.namers[0] is first.namers[0]
    assert bound(changed) == "/%/io.l5d.port/7/#/io.l5d.fs/web"
    other = File(tmp_path / "sub")
    other.mkdir()
    assert assemble(parse(config(other)), changed).namers[0] is not first.namers[0]


def test_another_interpreter_is_made_for_another_kind(tmp_path: File) -> None:
    (tmp_path / "dtab").write_text("/svc => /#/io.l5d.fs")
    first = assemble(parse(config(tmp_path)))
    keys = f"interpreter: {{kind: io.l5d.fs, dtabFile: {tmp_path / 'dtab'}}}"
    second = assemble(parse(config(tmp_path, keys=keys)), first)
    assert second.routers[0].interpreter is not first.routers[0].interpreter
    assert assemble(parse(config(tmp_path, keys=keys)), second).routers[0] is second.routers[0]
