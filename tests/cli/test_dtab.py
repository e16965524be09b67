"""`biandou dtab`: namerctl's verbs, output forms and exit status, against a namerd on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from biandou.cli.commands import application
from biandou.cli.dtab_forms import plain, pretty, read_input
from biandou.cli.namerd_address import base_url
from biandou.config.namerd import AccessToken
from biandou.dtab import Dtab
from biandou.namerd.interfaces.http import HttpApi
from biandou.namerd.interfaces.http_server import Doorkeeper, HttpServer
from biandou.namerd.names import Names
from biandou.namers.all import Namers
from biandou.stores.sqlite import SqliteStoreKind
from biandou.telemeters.registry import ScopeRegistry

SESAME = "open sesame"


@dataclass
class Ran:
    status: int
    output: str
    errors: str


@pytest.fixture
async def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Serve a namerd's API whose namespace `default` is `/svc=>/a & /b;/longer/x=>/c`."""
    store = SqliteStoreKind(path=str(tmp_path / "namerd.db")).store()
    await store.start()
    await store.create("default", Dtab.read("/svc=>/a & /b;/longer/x=>/c"))
    api = HttpApi(store, Names(store, Namers()), list)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    tokens = Doorkeeper([AccessToken(name="ann", token=SESAME)])
    close = await HttpServer(api.answer, tokens, ScopeRegistry(("http",))).start(listener, None)
    monkeypatch.setenv("BIANDOU_NAMERD", address)
    monkeypatch.setenv("BIANDOU_NAMERD_TOKEN", SESAME)
    yield address
    await close()
    await store.stop()


async def run(*words: str, stdin: str = "") -> Ran:
    """Run `biandou dtab …` in a thread, so that the namerd of this one answers."""
    result = await asyncio.to_thread(CliRunner().invoke, application, ["dtab", *words], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (("list",), "default\n"),
        (("ls",), "default\n"),
        (("--json", "list"), '["default"]\n'),
        (("list", "--json"), '["default"]\n'),
        (("get", "default"), "# version MQ==\n/svc       => /a & /b ;\n/longer/x  => /c ;\n"),
        (("cat", "default"), "# version MQ==\n/svc       => /a & /b ;\n/longer/x  => /c ;\n"),
        (("get", "--pretty=false", "default"), "/svc=>/a & /b;/longer/x=>/c;\n"),
        (
            ("get", "default", "--json"),
            '{"version":"MQ==","dtab":[{"prefix":"/svc","dst":"/a \\u0026 /b"},{"prefix":"/longer/x","dst":"/c"}]}\n',
        ),
    ],
)
async def test_what_is_read_looks_as_namerctl_shows_it(url: str, words: tuple[str, ...], output: str) -> None:
    assert await run(*words) == Ran(0, output, "")


async def test_a_namespace_lives_from_create_to_delete(url: str, tmp_path: Path) -> None:
    assert await run("create", "web", "-", "-m", "ticket 7", stdin="/svc => /x ; # why") == Ran(0, "Created web\n", "")
    again = await run("new", "web", "-", stdin="/svc=>/x")
    assert again.status == 255
    assert again.errors == "Error: unexpected response: 409 Conflict\nthe namespace web exists already\n"
    shown = await run("get", "web", "--json")
    (tmp_path / "web.json").write_text(shown.output.replace("/x", "/y"))
    assert await run("update", "web", str(tmp_path / "web.json")) == Ran(0, "Updated web\n", "")
    stale = await run("up", "web", str(tmp_path / "web.json"))
    assert (stale.status, stale.errors.splitlines()[0]) == (255, "Error: unexpected response: 412 Precondition Failed")
    version = json.loads((await run("get", "web", "--json")).output)["version"]
    assert (await run("update", "web", "-", "--version", version, stdin="/svc=>/z")).status == 0
    assert (await run("update", "web", "-", stdin='[{"prefix":"/svc","dst":"/w"}]')).status == 0
    history = json.loads((await run("history", "web", "--json")).output)
    assert [revision["dtab"] for revision in history] == ["/svc=>/w", "/svc=>/z", "/svc=>/y", "/svc=>/x"]
    assert (history[-1]["author"], history[-1]["message"]) == ("ann", "ticket 7")
    assert "ann  8 bytes  ticket 7" in (await run("history", "web")).output
    assert await run("delete", "web") == Ran(0, "Deleted web\n", "")
    assert await run("rm", "web") == Ran(255, "", "Error: resource was not found by ID or name\n")


async def test_a_version_of_the_past_is_compared_and_comes_back(url: str) -> None:
    assert (await run("update", "default", "-", stdin="/svc=>/a ; /new=>/n")).status == 0
    told = await run("diff", "default")
    lines = told.output.splitlines()
    assert (told.status, lines[0][:8], lines[1][:8]) == (0, "--- MQ==", "+++ Mg==")
    assert lines[3:] == ["-/svc       => /a & /b ;", "-/longer/x  => /c ;", "+/svc  => /a ;", "+/new  => /n ;"]
    assert (await run("diff", "default", "--exit-code")).status == 1
    assert await run("diff", "default", "Mg==", "Mg==", "--exit-code") == Ran(0, "", "")
    assert await run("rollback", "default") == Ran(0, "Rolled back default to MQ== as Mw==\n", "")
    assert (await run("get", "default", "--pretty=false")).output == "/svc=>/a & /b;/longer/x=>/c;\n"
    assert await run("rollback", "default", "Mg==") == Ran(0, "Rolled back default to Mg== as NA==\n", "")
    newest = json.loads((await run("history", "default", "--json")).output)[0]
    assert (newest["dtab"], newest["author"], newest["message"]) == ("/svc=>/a;/new=>/n", "ann", "rollback to Mg==")
    await run("delete", "default")
    assert (await run("rollback", "default")).output == "Rolled back default to NA== as Ng==\n"
    assert await run("rollback", "default", "nope") == Ran(255, "", "Error: the history knows no version nope\n")
    deleted = await run("rollback", "default", "NQ==")
    assert deleted.errors == "Error: default was deleted in NQ==: say biandou dtab delete default\n"


@pytest.mark.parametrize(
    ("words", "stdin", "said"),
    [
        (("list", "x"), "", "list does not take arguments"),
        (("get",), "", "get requires a name argument"),
        (("get", "missing"), "", "resource was not found by ID or name"),
        (("create", "web"), "", "create requires a name and file path"),
        (("update", "web"), "", "update requires a name and file path"),
        (("delete",), "", "delete requires one argument"),
        (("history",), "", "history requires a name argument"),
        (("diff",), "", "diff takes a name and two versions at most"),
        (("diff", "default"), "", "default has had one version only"),
        (("rollback", "default", "a", "b"), "", "rollback takes a name and a version"),
        (("create", "web", "/no/such/file"), "", "/no/such/file: No such file or directory"),
        (("create", "web", "/"), "", "/: Is a directory"),
        (("create", "", "-"), "/svc=>/a", "the name of a namespace is not empty"),
        (("get", ""), "", "the name of a namespace is not empty"),
        (
            ("update", "default", "-"),
            "{",
            "standard input: line 1, column 2: no JSON: Expecting property name enclosed in double quotes",
        ),
        (
            ("create", "web", "-"),
            "/svc =",
            "unexpected response: 400 Bad Request\nline 1, column 7: '>' expected but end of input found at '/svc =[]'",
        ),
        (("--base-url", "nowhere", "list"), "", "invalid base URL: nowhere"),
        (("list", "--base-url", "ftp://x"), "", "invalid base URL: ftp://x"),
        (("list", "--base-url", "http://127.0.0.1:1"), "", "http://127.0.0.1:1: Connection refused"),
        (("get", "--frob"), "", "No such option: --frob"),
        (("--frob", "list"), "", "No such option: --frob"),
        (("creat", "web"), "", "No such command 'creat'. Did you mean 'create', 'cat'?"),
        (("abort", "default"), "", "no new dtab was ever tried here"),
        (("lint", "/no/such.dtab"), "", "/no/such.dtab: No such file or directory"),
        (("test", "nowhere"), "", "nowhere: No such file or directory"),
    ],
)
async def test_a_mistake_is_told_on_standard_error_and_ends_with_255(
    url: str, words: tuple[str, ...], stdin: str, said: str
) -> None:
    assert await run(*words, stdin=stdin) == Ran(255, "", f"Error: {said}\n")


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (("get", "default", "--pretty"), "# version MQ==\n/svc       => /a & /b ;\n/longer/x  => /c ;\n"),
        (("get", "--pretty", "default"), "# version MQ==\n/svc       => /a & /b ;\n/longer/x  => /c ;\n"),
        (("list", "--json=true"), '["default"]\n'),
        (("--json=false", "list"), "default\n"),
    ],
)
async def test_flags_are_spelt_as_namerctl_takes_them(url: str, words: tuple[str, ...], output: str) -> None:
    assert await run(*words) == Ran(0, output, "")


async def test_the_base_url_may_stand_before_dtab_as_namerctls_does(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIANDOU_NAMERD")
    words = ["--base-url", url, "dtab", "list"]
    ran = await asyncio.to_thread(CliRunner().invoke, application, words)
    assert (ran.exit_code, ran.stdout) == (0, "default\n")


async def test_the_token_file_may_stand_after_the_verb(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("BIANDOU_NAMERD_TOKEN")
    (tmp_path / "token").write_text(SESAME)
    assert await run("list", "--token-file", str(tmp_path / "token")) == Ran(0, "default\n", "")
    assert await run("get", f"--token-file={tmp_path / 'token'}", "default", "--pretty=false") == Ran(
        0, "/svc=>/a & /b;/longer/x=>/c;\n", ""
    )


async def test_a_command_for_a_namerd_loads_nothing_of_a_linker() -> None:
    told = (
        "import sys; sys.argv = ['biandou', 'dtab', 'get']; from biandou.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n"
        "    print(*[m for m in ('aiohttp.web', 'biandou.demo', 'biandou.config', 'yaml') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", told), stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert (await program.communicate())[0] == b"\n", "it takes half of the command's time"


@pytest.mark.parametrize("verb", ["help", "--help"])
async def test_help_names_what_stands_after_the_verb(verb: str) -> None:
    words = [verb, "create"] if verb == "help" else ["create", verb]
    ran = await run(*words)
    assert (ran.status, "dtab create [OPTIONS] [NAME FILE]..." in ran.output) == (0, True)


async def test_a_canary_that_is_not_there_is_told_by_its_name(url: str) -> None:
    for words, said in (
        (["status", "default", "/svc/web"], "there is no canary of /svc/web in default"),
        (["pause", "default", "/svc/web"], "there is no such canary"),
        (["status", "default"], "Missing argument 'PATH'."),
    ):
        ran = await asyncio.to_thread(CliRunner().invoke, application, ["canary", *words])
        assert (ran.exit_code, ran.stderr) == (255, f"Error: {said}\n")


async def test_without_the_token_nothing_is_told(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BIANDOU_NAMERD_TOKEN")
    assert await run("list") == Ran(255, "", "Error: unexpected response: 401 Unauthorized\na token is needed\n")
    monkeypatch.setenv("BIANDOU_NAMERD_TOKEN", "guessed")
    assert (await run("list")).errors.endswith("401 Unauthorized\nthis token is not known here\n")
    (tmp_path / "token").write_text(f"{SESAME}\n")
    assert (await run("--token-file", str(tmp_path / "token"), "list")).status == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "--token-file", "binary"], "--token-file: binary: byte 1 is not UTF-8; a token is text"),
        (["list", "--token-file", "lines"], "--token-file: a token is one line of text"),
        (["list", "--key", "lines"], "--key goes with --cert"),
        (["delete", "default", "-m", "two\nlines"], "--message: a line of text is expected"),
    ],
)
async def test_what_cannot_be_shown_to_namerd_is_told_by_its_flag(
    url: str, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "lines").write_text("one\ntwo\n")
    monkeypatch.chdir(tmp_path)
    assert await run(*words) == Ran(255, "", f"Error: {said}\n")


async def test_a_watch_prints_each_version_until_the_stream_ends(url: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "biandou", "dtab", "watch", "default", "--json"),
        stdout=asyncio.subprocess.PIPE,
        env=environment,
    )
    assert program.stdout is not None
    try:
        async with asyncio.timeout(20):
            first = json.loads(await program.stdout.readline())
            assert [entry["prefix"] for entry in first["dtab"]] == ["/svc", "/longer/x"]
            await run("update", "default", "-", stdin="/new=>/x")
            assert json.loads(await program.stdout.readline()) == {"dtab": [{"prefix": "/new", "dst": "/x"}]}
    finally:
        program.kill()
        await program.wait()


def test_where_namerd_is_said_by_flag_then_environment_then_file(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert base_url(None, {}, inner) == "http://127.0.0.1:4180"
    (tmp_path / ".namerctl.yaml").write_text("base-url: http://file:1/\n")
    assert base_url(None, {}, inner) == "http://file:1"
    (tmp_path / "a" / ".namerctl.properties").write_text("# ours\nbase-url = https://nearer:2/path\n")
    assert base_url(None, {}, inner) == "https://nearer:2/path"
    assert base_url(None, {"NAMERCTL_BASE_URL": "http://env:3"}, inner) == "http://env:3"
    both = {"NAMERCTL_BASE_URL": "http://env:3", "BIANDOU_NAMERD": "http://own:4"}
    assert base_url(None, both, inner) == "http://own:4"
    assert base_url("http://flag:5", both, inner) == "http://flag:5"


def test_a_broken_file_is_told_and_not_in_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".namerctl.json").write_text("{")
    assert base_url(None, {}, tmp_path) == "http://127.0.0.1:4180"
    assert ".namerctl.json: " in capsys.readouterr().err


def test_an_empty_dtab_has_a_form_too() -> None:
    assert (pretty([]), pretty([], "v"), plain([])) == ("", "# version v\n", "\n")


def test_json_that_is_no_dtab_is_refused() -> None:
    with pytest.raises(ValueError, match="the JSON of a dtab is"):
        read_input('{"dtab": 5}')


async def test_json_without_a_dtab_takes_no_routes_away(url: str) -> None:
    before = await run("get", "default")
    told = await run("update", "default", "-", stdin='{"version": "MQ==", "dtabs": [{"prefix": "/a", "dst": "/b"}]}')
    assert (told.status, told.errors[:46]) == (255, "Error: standard input: the JSON of a dtab is {")
    assert await run("get", "default") == before
    assert (await run("update", "default", "-", stdin='{"version": "MQ==", "dtab": null}')).status == 0


async def test_a_file_that_is_no_text_is_refused_by_name(url: str, tmp_path: Path) -> None:
    (tmp_path / "packed").write_bytes(b"/svc\xff")
    told = await run("create", "web", str(tmp_path / "packed"))
    assert told == Ran(255, "", f"Error: {tmp_path}/packed: byte 5 is not UTF-8; a dtab is text\n")


async def test_steps_of_a_canary_that_are_no_numbers_are_told_with_an_example(url: str) -> None:
    words = ("canary", "start", "default", "/svc", "--from", "/a", "--to", "/b", "--steps", "1,x")
    result = await asyncio.to_thread(CliRunner().invoke, application, words)
    assert result.exit_code == 255
    assert result.stderr == "Error: 1,x are no steps: whole percents with commas between them, as 1,5,25,50,100\n"


@pytest.mark.parametrize("words", [["update", "--wait", "default", "-"], ["update", "default", "-", "--wait=5"]])
async def test_wait_may_stand_alone_or_say_how_long(url: str, words: list[str]) -> None:
    ran = await run(*words, stdin="/svc=>/c")
    assert (ran.status, ran.output.startswith("Updated default\nIn force in 0 linkers after 0.")) == (0, True)


@pytest.mark.parametrize("wait", ["--wait=soon", "--wait=-1"])
async def test_a_wait_that_is_no_time_changes_nothing(url: str, wait: str) -> None:
    before = (await run("get", "default")).output
    assert (await run("update", "default", "-", wait, stdin="/svc=>/c")).status != 0
    assert (await run("get", "default")).output == before


async def test_changes_are_told_as_json_too(url: str) -> None:
    for words, stdin, told in (
        (["create", "web", "-", "--json"], "/svc=>/a", {"namespace": "web", "version": "Mg=="}),
        (["--json", "update", "web", "-"], "/svc=>/b", {"namespace": "web", "version": "Mw=="}),
        (["rollback", "web", "--json"], "", {"namespace": "web", "version": "NA==", "restored": "Mg=="}),
        (["delete", "web", "--json"], "", {"namespace": "web"}),
    ):
        ran = await run(*words, stdin=stdin)
        assert (ran.status, json.loads(ran.output)) == (0, told)
    waited = (await run("update", "default", "-", "--wait", "--json", stdin="/svc=>/c")).output.splitlines()
    assert json.loads(waited[1]) | {"seconds": 0} == {"inForce": 0, "linkers": 0, "late": [], "seconds": 0}
    differing = json.loads((await run("diff", "default", "--json")).output)
    assert (differing["same"], differing["after"]["dtab"]) == (False, "/svc=>/c")
    begun = json.loads((await run("update", "default", "-", "--to", "5%", "--json", stdin="/svc=>/d")).output)
    assert (begun["phase"], begun["share"]) == ("measuring", 0.05)


@pytest.mark.parametrize(
    ("words", "status"), [(["list"], 255), (["watch", "default"], 255), (["lint", "default"], 255)]
)
async def test_an_output_that_takes_no_more_is_told_in_a_line(url: str, words: list[str], status: int) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with open("/dev/full", "wb") as full:
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "biandou", "dtab", *words),
            stdout=full,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        _, errors = await program.communicate()
    assert (program.returncode, errors) == (status, b"Error: standard output: No space left on device\n")


async def test_a_reader_that_has_read_enough_is_no_error(url: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    reader, writer = os.pipe()
    os.close(reader)
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "biandou", "dtab", "watch", "default"),
        stdout=writer,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    os.close(writer)
    assert (await program.communicate())[1] == b""
    assert program.returncode == 0


async def test_status_without_linkers_says_so(url: str) -> None:
    assert (await run("status", "default")).output == "# version MQ==, in force in 0 of 0 linkers\n"
    for words in (("status", "none"), ("status", "none", "--wait")):
        assert await run(*words) == Ran(255, "", "Error: there is no namespace none, and no linker asks for it\n")
    assert json.loads((await run("status", "default", "--json")).output)["rollout"] is None
    assert (await run("status")).errors == "Error: status requires a name argument\n"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--to", "five"], "five is no share"),
        (["--to", "5%", "--for", "long"], "long is no time"),
        (["--to", "100%"], "more than 0 and less than 100 percent"),
        (["--for", "5m"], "--for goes with --to"),
    ],
)
async def test_a_trial_that_makes_no_sense_is_refused(url: str, words: list[str], complaint: str) -> None:
    ran = await run("update", "default", "-", *words, stdin="/svc=>/c")
    assert ran.status == 255
    assert complaint in ran.errors


async def test_a_trial_begins_is_shown_and_aborted(url: str) -> None:
    before = (await run("get", "default")).output
    ran = await run("update", "default", "-", "--to", "5%", "--for", "1h", stdin="/svc=>/c")
    assert ran.output == "5% of the linkers try it: biandou dtab status default says how it goes\n"
    assert "about to be tried by 5% of the linkers" in (await run("status", "default")).output
    assert (await run("abort", "default")).output == "the new dtab was aborted: by ann\n"
    assert (await run("promote", "default")).status == 255
    assert (await run("get", "default")).output == before
    stands = (await run("status", "default")).output.splitlines()[1]
    assert re.fullmatch(r"# a trial begun [0-9.]+ s ago: the new dtab was aborted: by ann", stands), "it is old news"
