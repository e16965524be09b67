"""What explain tells of one request: every step, every branch, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path as FilePath

import pytest

from biandou.boundary import GoOn, NamedPath, NotNamed, OwnReply, PluginFailed
from biandou.config.plan import ClientPolicy
from biandou.dtab import Dtab, Path
from biandou.identifiers.http import HeaderIdentifier, HeaderTokenIdentifier
from biandou.identifiers.interface import PythonIdentifierKind
from biandou.interpreters.local import LocalInterpreter
from biandou.linker.explain import Explanation, Node, Subject, explain
from biandou.linker.identify import Request
from biandou.linker.router import Router
from biandou.live import Live
from biandou.namers.all import Namers
from biandou.namers.fs import FsNamer
from biandou.transformers.const import ConstTransformerKind
from biandou.transformers.interface import TransformerKind
from biandou.transformers.port import PortTransformerKind
from biandou.transformers.specific_host import SpecificHostTransformerKind

WEB = Request(headers=(("Host", "web"),))


@pytest.fixture
def root(tmp_path: FilePath) -> FilePath:
    (tmp_path / "web").write_text("127.0.0.1 81\n")
    (tmp_path / "web-v2").write_text("127.0.0.1 82\n127.0.0.2 82 * 0.5\n")
    return tmp_path


def subject(root: FilePath, dtab: str, transformers: Sequence[TransformerKind] = (), seconds: float = 5.0) -> Subject:
    namer = FsNamer(Path.read("/#/io.l5d.fs"), str(root))
    base = Dtab.read(dtab)
    namers = Namers([namer])
    interpreter = LocalInterpreter(Live.ok(base), namers)
    made = [kind.transformer(lambda path: interpreter.bind(Dtab(), path)) for kind in transformers]
    router = Router("http", interpreter, made, client_policy=lambda _client: ClientPolicy(balancer={"kind": "ewma"}))
    return Subject(router, [HeaderIdentifier(), HeaderTokenIdentifier()], Path.of("svc"), base, [namer], seconds)


def find(node: Node | None, path: str) -> Node:
    stack = [node] if node else []
    while stack:
        found = stack.pop()
        if found.path == path:
            return found
        stack.extend(found.next)
    raise AssertionError(f"{path} is not in the delegation")


async def told(
    root: FilePath, dtab: str, request: Request = WEB, transformers: Sequence[TransformerKind] = ()
) -> Explanation:
    return await explain(subject(root, dtab, transformers), request)


async def test_all_five_steps_are_told(root: FilePath) -> None:
    told_ = await told(
        root, "/srv=>/#/io.l5d.fs; /svc=>3*/srv & 1*/srv/web-v2", transformers=[PortTransformerKind(port=4140)]
    )
    assert [(a.kind, a.name, a.reason) for a in told_.identification] == [
        ("io.l5d.header", None, "l5d-name header is absent"),
        ("io.l5d.header.token", "/svc/web", None),
    ]
    one, two = told_.resolution
    assert (one.client, one.share, one.endpoints, one.source) == (
        "/#/io.l5d.fs/web", 0.75, ["127.0.0.1:81"], str(root / "web"),
    )  # fmt: skip
    assert (two.client, two.residual, two.endpoints) == (
        "/#/io.l5d.fs/web-v2", "/web", ["127.0.0.1:82", "127.0.0.2:82 * 0.5"],
    )  # fmt: skip
    (step,) = told_.transformation
    assert step.transformer == "/%/io.l5d.port/4140"
    assert [client.endpoints for client in step.after] == [
        ["127.0.0.1:4140"],
        ["127.0.0.1:4140", "127.0.0.2:4140 * 0.5"],
    ]
    assert [client.source for client in step.after] == [str(root / "web"), str(root / "web-v2")]
    assert [(b.client, b.balancer, b.share) for b in told_.balancing] == [
        ("/%/io.l5d.port/4140/#/io.l5d.fs/web", "ewma", 0.75),
        ("/%/io.l5d.port/4140/#/io.l5d.fs/web-v2", "ewma", 0.25),
    ]
    assert told_.problem is None


async def test_the_dentry_of_each_step_and_the_branches_not_taken_are_told(root: FilePath) -> None:
    told_ = await told(root, "/srv=>/#/io.l5d.fs; /svc=>/old; /svc=>/srv/none | /srv/web | /$/fail")
    taken = find(told_.binding, "/#/io.l5d.fs/web/web")
    assert (taken.taken, taken.prefix, taken.dst) == (True, "/srv", "/#/io.l5d.fs")
    assert taken.why == "bound: /#/io.l5d.fs/web, residual /web"
    missing = find(told_.binding, "/srv/none/web")
    assert (missing.taken, missing.why, missing.dst) == (False, "nothing there", "/srv/none | /srv/web | /$/fail")
    for path in ("/$/fail/web", "/old/web"):
        later = find(told_.binding, path)
        assert not later.taken
    assert find(told_.binding, "/$/fail/web").why == "not tried: a branch before it is taken"


async def test_a_share_that_falls_away_is_told(root: FilePath) -> None:
    told_ = await told(root, "/svc=>1*/#/io.l5d.fs/web & 9*/#/io.l5d.fs/none")
    gone = find(told_.binding, "/#/io.l5d.fs/none/web")
    assert (gone.weight, gone.taken, gone.why) == (9.0, False, "nothing there")
    assert [client.share for client in told_.resolution] == [1.0]


async def test_the_request_s_own_dtab_comes_first(root: FilePath) -> None:
    request = Request(headers=(*WEB.headers, ("l5d-dtab", "/svc=>/#/io.l5d.fs/web-v2"), ("l5d-ctx-dtab", "/a=>/b")))
    told_ = await told(root, "/svc=>/#/io.l5d.fs", request)
    assert told_.override == "/a=>/b;/svc=>/#/io.l5d.fs/web-v2"
    assert [client.client for client in told_.resolution] == ["/#/io.l5d.fs/web-v2"]


async def test_a_host_filter_that_leaves_nothing_is_told(root: FilePath) -> None:
    told_ = await told(root, "/svc=>/#/io.l5d.fs", transformers=[SpecificHostTransformerKind(host="10.0.0.1")])
    assert [client.state for client in told_.transformation[0].after] == ["negative"]
    assert told_.problem == "502: Unable to route request!"
    assert told_.balancing == []


async def test_const_is_told_even_for_a_name_that_is_not_there(root: FilePath) -> None:
    told_ = await told(root, "", transformers=[ConstTransformerKind(path="/$/inet/127.1/9")])
    assert [client.endpoints for client in told_.transformation[0].after] == [["127.0.0.1:9"]]
    assert told_.problem is None


@pytest.mark.parametrize(
    ("dtab", "headers", "problem"),
    [
        ("", (), "400: Unknown destination / Host header is absent"),
        ("", (("Host", "w"), ("l5d-dtab", "x")), "400: '/' expected but 'x' found at '[x]'"),
        ("", (("l5d-name", "x"),), "400: Unknown destination / '/' expected but 'x' found at '[x]'"),
        ("", (("Host", "w"),), "502: Unable to route request!"),
        ("/svc=>!", (("Host", "w"),), "502: Unable to route request!"),
        ("/svc=>/svc", (("Host", "w"),), "502: Max recursion level: 100 reached in Namer lookup"),
        ("/svc=>/$/none", (("Host", "w"),), "502: Unknown namer: none for path: /$/none/w"),
        ("/svc=>/#/io.l5d.fs/bad", (("Host", "w"),), "502: malformed address: x"),
    ],
)
async def test_what_goes_wrong_is_told(
    root: FilePath, dtab: str, headers: tuple[tuple[str, str], ...], problem: str
) -> None:
    (root / "bad").write_text("x")
    assert (await told(root, dtab, Request(headers=headers))).problem == problem


async def test_a_status_is_no_endpoint_and_no_problem(root: FilePath) -> None:
    told_ = await told(root, "/svc=>/$/io.buoyant.http.status/503")
    assert [client.state for client in told_.resolution] == ["answered with status 503"]
    assert told_.problem is None


class Tenant(PythonIdentifierKind, frozen=True, kw_only=True, tag="com.example.tenant"):
    """An identifier in Python."""


async def test_an_edge_is_explained_without_the_headers_that_it_does_not_believe(root: FilePath) -> None:
    request = Request(headers=(("Host", "web"), ("L5D-Dtab", "/svc => /#/io.l5d.fs/web-v2"), ("l5d-name", "/other")))
    inside = subject(root, "/svc => /#/io.l5d.fs")
    edge = replace(inside, edge=True)
    assert (await explain(inside, request)).name == "/svc/other"
    told = await explain(edge, request)
    assert (told.name, told.override) == ("/svc/web", "")


async def test_what_plugins_say_is_the_first_step(root: FilePath) -> None:
    plain = subject(root, "/svc => /#/io.l5d.fs")
    named = replace(plain, identifiers=[Tenant(), HeaderTokenIdentifier()])
    assert "was not run" in str((await explain(named, WEB)).problem)
    told = await explain(named, WEB, GoOn(names=[NamedPath(path="/web-v2")]))
    assert [(one.kind, one.name) for one in told.identification] == [("com.example.tenant", "/svc/web-v2")]
    told = await explain(named, WEB, GoOn(names=[NotNamed(reason="no tenant")]))
    assert [one.reason for one in told.identification] == ["no tenant", None]
    assert told.name == "/svc/web"
    told = await explain(plain, WEB, GoOn(remove=["host"], add=[("Host", "web-v2")]))
    assert told.name == "/svc/web-v2"
    assert (await explain(plain, WEB, OwnReply(status=401))).problem == "401: a filter answers itself"
    assert (await explain(plain, WEB, PluginFailed(message="it broke"))).problem == "500: it broke"
