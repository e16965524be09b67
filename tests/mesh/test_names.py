"""From a request to a client name, in the real program: identifiers, overrides, namers and transformers."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote_plus

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import OK, Origin, exchange, get
from tests.mesh.callers import Caller, body_of, saying, status_of, values_of


def config(dtab: str, *, root: Path | None = None, more: str = "", name: str = "http") -> str:
    """Give a linker with one router; `more` are further lines of the router."""
    namers = "" if root is None else f"namers:\n- kind: io.l5d.fs\n  rootDir: {root}\n"
    return f"admin: {{port: 0}}\n{namers}routers:\n" + router(name, dtab, more)


def router(label: str, dtab: str, more: str = "") -> str:
    """Give a router; `more` are further lines of it."""
    text = f"- protocol: http\n  label: {label}\n  dtab: {dtab}\n  servers:\n  - port: 0\n"
    return text + "".join(f"  {line}\n" for line in more.strip("\n").splitlines())


# ── Identifiers

IDENTIFIED = [
    ("kind: io.l5d.header.token", get("Web:8080", "/a"), "/svc/Web:8080", "/a"),
    ("{kind: io.l5d.header.token, header: X-Service}", get("web", "/a", "x-service: b"), "/svc/b", "/a"),
    ("kind: io.l5d.header", get("web", "/a", "l5d-name: /users/v2"), "/svc/users/v2", "/a"),
    ("{kind: io.l5d.header, header: Way}", get("web", "/a", "way: /x"), "/svc/x", "/a"),
    ("kind: io.l5d.methodAndHost", get("Web", "/a"), "/svc/1.1/GET/web", "/a"),
    ("kind: io.l5d.methodAndHost", b"GET /a HTTP/1.0\r\nHost: web\r\n\r\n", "/svc/1.0/GET", "/a"),
    ("{kind: io.l5d.methodAndHost, httpUriInDst: true}", get("Web", "/a/b?c"), "/svc/1.1/GET/web/a/b", "/a/b?c"),
    ("kind: io.l5d.path", get("web", "/a/b/c?q"), "/svc/a", "/a/b/c?q"),
    ("{kind: io.l5d.path, segments: 2}", get("web", "/a/b/c?q"), "/svc/a/b", "/a/b/c?q"),
    ("{kind: io.l5d.path, segments: 2, consume: true}", get("web", "/a/b/c?q"), "/svc/a/b", "/c?q"),
    ("{kind: io.l5d.path, consume: true}", get("web", "/a"), "/svc/a", "/"),
    ("{kind: io.l5d.static, path: the/one}", get("web", "/a"), "/svc/the/one", "/a"),
    ("[{kind: io.l5d.header}, {kind: io.l5d.path}]", get("web", "/a"), "/svc/a", "/a"),
    ("[{kind: io.l5d.header}, {kind: io.l5d.path}]", get("web", "/a", "l5d-name: /b"), "/svc/b", "/a"),
]


def identifying(identifier: str) -> str:
    """Give an identifier's lines."""
    return f"identifier: {identifier}" if identifier[0] in "{[" else f"identifier:\n  {identifier}"


async def test_each_identifier_names_what_a_request_asks_for() -> None:
    async with Origin() as origin:
        dtab = f"/svc => /$/inet/127.0.0.1/{origin.port}"
        text = "admin: {port: 0}\nrouters:\n" + "".join(
            router(f"r{nth}", dtab, identifying(identifier)) for nth, (identifier, *_) in enumerate(IDENTIFIED)
        )
        async with LinkerProcess(text) as linker:
            for nth, (identifier, request, service, target) in enumerate(IDENTIFIED):
                answer = await exchange("127.0.0.1", linker.port(f"r{nth}"), request)
                assert status_of(answer) == 200, (identifier, answer)
                got = origin.requests[-1]
                assert values_of(got, "l5d-dst-service") == [service], identifier
                assert got.split()[1].decode() == target, identifier


UNIDENTIFIED = [
    ("kind: io.l5d.header.token", b"GET /a?b HTTP/1.1\r\nHost:\r\n\r\n", "Host header is absent"),
    ("{kind: io.l5d.header.token, header: X-Service}", get("web", "/a?b"), "X-Service header is absent"),
    ("kind: io.l5d.header", get("web", "/a?b"), "l5d-name header is absent"),
    ("{kind: io.l5d.path, segments: 3}", get("web", "/a?b"), "not enough segments in path"),
    ("[{kind: io.l5d.path, segments: 3}, {kind: io.l5d.header}]", get("web", "/a?b"), "l5d-name header is absent"),
]


async def test_a_request_that_no_identifier_knows_gets_400_with_the_last_ones_reason() -> None:
    text = "admin: {port: 0}\nrouters:\n" + "".join(
        router(f"r{nth}", "/svc => /$/inet/127.0.0.1/1", identifying(identifier))
        for nth, (identifier, *_) in enumerate(UNIDENTIFIED)
    )
    async with LinkerProcess(text) as linker:
        for nth, (identifier, request, reason) in enumerate(UNIDENTIFIED):
            answer = await exchange("127.0.0.1", linker.port(f"r{nth}"), request)
            assert status_of(answer) == 400, identifier
            said = body_of(answer).decode()
            pattern = r'Unknown destination: Request\("GET /a", from /127\.0\.0\.1:\d+\) / ' + re.escape(reason)
            assert re.fullmatch(pattern, said), said
            assert unquote_plus(values_of(answer, "l5d-err")[0]) == said


# ── Overrides


async def test_an_override_by_either_header_holds_for_its_request_and_travels_on_combined() -> None:
    async with (
        Origin(saying("base")) as base,
        Origin(saying("other")) as other,
        LinkerProcess(config(f"/svc => /$/inet/127.0.0.1/{base.port}")) as linker,
    ):
        there = f"/$/inet/127.0.0.1/{other.port}"
        for headers, context in [
            ([f"l5d-dtab: /svc/web => {there}"], f"/svc/web=>{there}"),
            ([f"l5d-ctx-dtab: /svc/web=>{there};"], f"/svc/web=>{there}"),
            (
                [f"l5d-dtab: /svc/b => {there} ;", "l5d-ctx-dtab: /svc/web=>/svc/b"],
                f"/svc/web=>/svc/b;/svc/b=>{there}",
            ),
            (
                ["l5d-dtab: /svc/web => /svc/c", f"l5d-dtab: /svc/c => {there}"],
                f"/svc/web=>/svc/c;/svc/c=>{there}",
            ),
            # The later line wins, and the user's word comes behind the context's.
            (
                [f"l5d-dtab: /svc/web => {there}", "l5d-ctx-dtab: /svc/web => /$/nil"],
                f"/svc/web=>/$/nil;/svc/web=>{there}",
            ),
        ]:
            answer = await linker.get("web", "/", *headers)
            assert body_of(answer) == b"other", (headers, answer)
            assert values_of(other.requests[-1], "l5d-ctx-dtab") == [context]
            assert values_of(other.requests[-1], "l5d-dtab") == []
        assert body_of(await linker.get("web")) == b"base"
        assert values_of(base.requests[-1], "l5d-ctx-dtab") == []


async def test_an_override_crosses_a_second_linker() -> None:
    async with (
        Origin(saying("base")) as base,
        Origin(saying("other")) as other,
        LinkerProcess(config(f"/svc => /$/inet/127.0.0.1/{base.port}")) as second,
        LinkerProcess(config(f"/svc => /$/inet/127.0.0.1/{second.port()}")) as first,
    ):
        there = f"/$/inet/127.0.0.1/{other.port}"
        answer = await first.get("web", "/", f"l5d-dtab: /far => {there}", "l5d-ctx-dtab: /near => /far")
        assert body_of(answer) == b"base"
        assert values_of(base.requests[0], "l5d-ctx-dtab") == [f"/near=>/far;/far=>{there}"]
        assert values_of(base.requests[0], "l5d-dtab") == []


@pytest.mark.parametrize("name", ["l5d-dtab", "l5d-ctx-dtab"])
async def test_a_bad_override_gets_400_and_its_connection_goes_on(name: str) -> None:
    async with Origin() as origin, LinkerProcess(config(f"/svc => /$/inet/127.0.0.1/{origin.port}")) as linker:
        async with Caller(linker.port()) as caller:
            for _ in range(3):
                answer = await caller.ask(get("web", "/", f"{name}: /svc => !!"))
                assert status_of(answer) == 400
                assert body_of(answer)
                assert unquote_plus(values_of(answer, "l5d-err")[0]) == body_of(answer).decode()
                assert await caller.ask(get("web")) != b""
        assert len(origin.requests) == 3


async def test_an_edge_takes_no_override_from_strangers() -> None:
    async with Origin(saying("base")) as base, Origin(saying("other")) as other:
        dtab = f"/svc => /$/inet/127.0.0.1/{base.port}"
        text = config(dtab).replace("  - port: 0\n", "  - port: 0\n    clearContext: true\n")
        async with LinkerProcess(text) as linker:
            for name in ("l5d-dtab", "l5d-ctx-dtab"):
                answer = await linker.get("web", "/", f"{name}: /svc => /$/inet/127.0.0.1/{other.port}")
                assert body_of(answer) == b"base"
                assert values_of(base.requests[-1], "l5d-ctx-dtab") == []
            assert status_of(await linker.get("web", "/", "l5d-dtab: !!")) == 200


# ── What nothing is known of


async def test_an_unknown_name_gets_502_with_both_dtabs(tmp_path: Path) -> None:
    async with LinkerProcess(config("/svc => /#/io.l5d.fs", root=tmp_path)) as linker:
        answer = await linker.get("nobody", "/", "l5d-dtab: /a => /b | /c ; /d=>/e")
        assert status_of(answer) == 502
        said = (
            "Unable to route request!\n\nservice name: /svc/nobody\ndtab:\n\nbase dtab:\n  /svc => /#/io.l5d.fs\n"
            "override dtab:\n  /a => /b | /c\n  /d => /e\n"
        )
        assert body_of(answer).decode() == said
        assert unquote_plus(values_of(answer, "l5d-err")[0]) == said
        assert values_of(answer, "Content-Type") == ["text/plain"]
        answer = await linker.get("nobody")
        assert body_of(answer).decode().endswith("base dtab:\n  /svc => /#/io.l5d.fs\noverride dtab:\n\n")


async def test_an_unknown_namer_gets_502_with_its_name() -> None:
    async with LinkerProcess(config("/svc => /$/com.example.Own")) as linker:
        answer = await linker.get("web")
        assert status_of(answer) == 502
        assert body_of(answer) == b"Unknown namer: com.example.Own for path: /$/com.example.Own/web"


# ── Namers


async def test_what_the_namer_did_not_need_goes_along_as_the_residual() -> None:
    async with Origin() as origin:
        dtab = f"/svc => /$/inet/127.0.0.1/{origin.port}/extra"
        async with LinkerProcess(config(dtab)) as linker:
            await linker.get("web", "/", "l5d-dst-residual: /forged", "l5d-dst-client: /forged")
            [request] = origin.requests
            assert values_of(request, "l5d-dst-residual") == ["/extra/web"]
            assert values_of(request, "l5d-dst-client") == [f"/$/inet/127.0.0.1/{origin.port}"]
            assert values_of(request, "l5d-dst-service") == ["/svc/web"]
            override = f"l5d-dtab: /svc/web => /$/inet/127.0.0.1/{origin.port}"
            await linker.get("web", "/", override, "l5d-dst-residual: /forged")
            assert values_of(origin.requests[-1], "l5d-dst-residual") == []


async def test_the_utility_namers_rewrite_names_and_answer_with_a_status() -> None:
    async with Origin() as origin:
        there = f"/$/inet/127.0.0.1/{origin.port}"
        # Only what was rewritten as meant leads anywhere.
        rows = [
            (f"/u/web => {there} ; /svc => /$/io.buoyant.http.subdomainOfPfx/example.com/u", "web.example.com", []),
            (f"/web => {there} ; /svc => /$/io.buoyant.http.subdomainOf/example.com", "web.example.com:80", []),
            (f"/com/foo/www => {there} ; /svc => /$/io.buoyant.http.domainToPath", "www.foo.com", []),
            (f"/d/com/foo/www => {there} ; /svc => /$/io.buoyant.http.domainToPathPfx/d", "www.foo.com", []),
            (f"/h/web/80 => {there} ; /svc => /$/io.buoyant.hostportPfx/h", "web:80", []),
            (f"/h/80/web => {there} ; /svc => /$/io.buoyant.porthostPfx/h", "web:80", []),
            (f"/x => {there} ; /svc => /$/io.buoyant.http.anyHostPfx/x", "whatever", []),
            (f"/x => {there} ; /svc/web => /$/io.buoyant.http.anyMethodPfx/x/GET/rest", "web", ["/rest"]),
            (f"/svc => /$/io.buoyant.rinet/{origin.port}", "127.0.0.1", []),
            (f"/svc => /$/inet/{origin.port}", "rest", ["/rest"]),
        ]
        text = "admin: {port: 0}\nrouters:\n" + "".join(router(f"r{nth}", dtab) for nth, (dtab, *_) in enumerate(rows))
        async with LinkerProcess(text) as linker:
            for nth, (dtab, host, residual) in enumerate(rows):
                answer = await linker.get(host, router=f"r{nth}")
                assert status_of(answer) == 200, (dtab, answer)
                assert values_of(origin.requests[-1], "l5d-dst-residual") == residual, dtab


async def test_a_status_namer_answers_by_itself_on_a_connection_that_stays() -> None:
    async with LinkerProcess(config("/svc => /$/io.buoyant.http.status/418")) as linker:
        async with Caller(linker.port()) as caller:
            for _ in range(3):
                answer = await caller.ask(get("web"))
                assert status_of(answer) == 418
                assert body_of(answer) == b""
        override = "l5d-dtab: /svc => /$/io.buoyant.http.status/"
        assert status_of(await linker.get("web", "/", f"{override}599")) == 599
        assert status_of(await linker.get("web", "/", f"{override}600")) == 418, "that is no name: the base's holds"


async def test_the_rewrite_namer_sends_a_name_back_through_the_dtab(tmp_path: Path) -> None:
    (tmp_path / "eu").mkdir()
    async with Origin() as origin:
        (tmp_path / "eu" / "web").write_text(f"127.0.0.1 {origin.port}\n")
        text = config("/zone => /#/io.l5d.fs ; /svc => /#/byHost", root=tmp_path).replace(
            "namers:\n",
            'namers:\n- kind: io.l5d.rewrite\n  prefix: /byHost\n  pattern: "/{service}.{zone}.example.com"\n'
            '  name: "/zone/{zone}/{service}"\n',
        )
        async with LinkerProcess(text) as linker:
            assert status_of(await linker.get("web.eu.example.com")) == 200
            assert values_of(origin.requests[0], "l5d-dst-client") == ["/#/io.l5d.fs/eu/web"]
            assert status_of(await linker.get("web.eu.example.org")) == 502


async def test_a_failing_branch_gives_way_to_the_next_alternative_and_an_empty_one_does_not(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    async with Origin() as origin:
        there = f"/$/inet/127.0.0.1/{origin.port}"
        async with LinkerProcess(config(f"/svc => /#/io.l5d.fs/none | {there}", root=tmp_path)) as linker:
            assert status_of(await linker.get("web")) == 200
            for tree in ("/#/io.l5d.fs/empty", "$", "!", "/$/nil", "/$/fail"):
                answer = await linker.get("web", "/", f"l5d-dtab: /svc => {tree} | {there}")
                assert status_of(answer) == 502, tree


# ── Transformers


def transforming(kind: str, **keys: object) -> str:
    """Give a router's interpreter with one transformer."""
    lines = "".join(f"\n    {key}: {value}" for key, value in keys.items())
    return f"interpreter:\n  kind: default\n  transformers:\n  - kind: {kind}{lines}"


async def clients_of(text: str, origin: Origin, host: str = "web", count: int = 12) -> set[str]:
    """Ask often through a linker; gives the client names, all at `origin`."""
    before = len(origin.requests)
    async with LinkerProcess(text) as linker:
        for _ in range(count):
            assert status_of(await linker.get(host)) == 200
    assert len(origin.requests) == before + count
    return {value for request in origin.requests[before:] for value in values_of(request, "l5d-dst-client")}


async def test_each_transformer_sends_requests_where_it_says(tmp_path: Path) -> None:
    dtab = "/svc => /#/io.l5d.fs"
    async with Origin(OK) as here, Origin(OK, ip="127.0.0.2", port=here.port) as there:
        port = here.port
        (tmp_path / "web").write_text(f"127.0.0.1 {port}\n127.0.0.2 {port}\n")
        (tmp_path / "portless").write_text("127.0.0.1 1\n")
        gateway = f"/$/inet/127.0.0.2/{port}"

        more = transforming("io.l5d.port", port=port)
        assert await clients_of(config(dtab, root=tmp_path, more=more), here, "portless") == {
            f"/%/io.l5d.port/{port}/#/io.l5d.fs/portless"
        }
        more = transforming("io.l5d.localhost")
        assert await clients_of(config(dtab, root=tmp_path, more=more), here) == {"/%/io.l5d.localhost/#/io.l5d.fs/web"}
        more = transforming("io.l5d.specificHost", host="127.0.0.2")
        assert await clients_of(config(dtab, root=tmp_path, more=more), there) == {
            "/%/io.l5d.specificHost/#/io.l5d.fs/web"
        }
        more = transforming("io.l5d.replace", path=gateway)
        text = config(dtab, root=tmp_path, more=more)
        assert await clients_of(text, there) == {f"/%/io.l5d.replace{gateway}"}
        async with LinkerProcess(text) as linker:
            assert status_of(await linker.get("nobody")) == 502, "what is not there is not replaced"
        more = transforming("io.l5d.const", path=gateway)
        text = config(dtab, root=tmp_path, more=more)
        assert await clients_of(text, there) == {f"/%/io.l5d.const{gateway}"}
        assert await clients_of(text, there, "nobody") == {f"/%/io.l5d.const{gateway}"}


async def test_a_namers_own_transformer_changes_its_names_only(tmp_path: Path) -> None:
    async with Origin() as origin:
        (tmp_path / "web").write_text("127.0.0.1 1\n")
        text = config("/svc => /#/io.l5d.fs", root=tmp_path).replace(
            "routers:\n", f"  transformers:\n  - kind: io.l5d.port\n    port: {origin.port}\nrouters:\n"
        )
        assert await clients_of(text, origin, count=2) == {f"/%/io.l5d.port/{origin.port}/#/io.l5d.fs/web"}
        async with LinkerProcess(text) as linker:
            assert status_of(await linker.get("web", "/", "l5d-dtab: /svc => /$/inet/127.0.0.1/1")) == 502


async def test_no_endpoint_left_by_a_transformer_is_a_502_without_another_try(tmp_path: Path) -> None:
    async with Origin() as origin:
        (tmp_path / "web").write_text(f"127.0.0.1 {origin.port}\n")
        more = transforming("io.l5d.specificHost", host="127.0.0.9")
        dtab = f"/svc => /#/io.l5d.fs/web | /$/inet/127.0.0.9/{origin.port}"
        async with LinkerProcess(config(dtab, root=tmp_path, more=more)) as linker:
            assert status_of(await linker.get("web")) == 502
        assert origin.requests == []
