"""The real program speaks TLS with real callers and origins, and follows its certificates' files."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from pathlib import Path

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import OK, Origin, exchange, read_message
from tests.mesh.callers import values_of
from tests.mesh.certificates import make, make_authority, openssl, run


@pytest.fixture
async def certificates(tmp_path: Path) -> Path:
    await make_authority(tmp_path)
    await make(tmp_path, "web", "web.test")
    await make(tmp_path, "caller", "caller.test")
    return tmp_path


def config(origin_port: int, *, server: str = "", client: str = "") -> str:
    return f"""
admin: {{port: 0}}
routers:
- protocol: http
  dtab: /svc/* => /$/inet/127.0.0.1/{origin_port} ;
  servers:
  - port: 0
    {server}
  {client}
"""


async def curl(port: int, folder: Path, *arguments: str | Path) -> tuple[int, str]:
    resolve = ("--resolve", f"web.test:{port}:127.0.0.1")
    trust = ("--cacert", folder / "ca.pem")
    return await run("curl", "-sS", "-i", "--max-time", "5", *resolve, *trust, *arguments, f"https://web.test:{port}/")


async def test_a_server_speaks_tls_and_offers_http_1_1(certificates: Path) -> None:
    server = f"tls: {{certPath: {certificates}/web.pem, keyPath: {certificates}/web.key}}"
    async with Origin() as origin, LinkerProcess(config(origin.port, server=server)) as linker:
        status, output = await curl(linker.port(), certificates)
        assert status == 0, output
        assert "HTTP/1.1 200" in output
        large = certificates / "large"
        large.write_bytes(b"x" * 300_000)
        status, output = await curl(linker.port(), certificates, "--data-binary", f"@{large}")
        assert "HTTP/1.1 200" in output
        connect = ("-connect", f"127.0.0.1:{linker.port()}", "-alpn", "http/1.1", "-CAfile", certificates / "ca.pem")
        status, output = await run("openssl", "s_client", *connect, "-verify_return_error")
        assert "ALPN protocol: http/1.1" in output
        status, output = await run("curl", "-sS", "--max-time", "5", f"http://127.0.0.1:{linker.port()}/")
        assert status != 0, "plain text is not served where TLS is wanted"


async def test_a_caller_without_a_certificate_is_refused_where_one_is_required(certificates: Path) -> None:
    files = f"certPath: {certificates}/web.pem, keyPath: {certificates}/web.key, caCertPath: {certificates}/ca.pem"
    server = f"tls: {{{files}, requireClientAuth: true}}"
    async with Origin() as origin, LinkerProcess(config(origin.port, server=server)) as linker:
        status, output = await curl(linker.port(), certificates)
        assert status != 0, output
        shown = ("--cert", certificates / "caller.pem", "--key", certificates / "caller.key")
        status, output = await curl(linker.port(), certificates, *shown)
        assert status == 0, output
        assert "HTTP/1.1 200" in output


async def test_a_new_certificate_is_used_without_a_restart_and_a_bad_one_is_not(certificates: Path) -> None:
    server = f"tls: {{certPath: {certificates}/web.pem, keyPath: {certificates}/web.key}}"

    async def serial(port: int) -> str:
        reading = ("-connect", f"127.0.0.1:{port}")
        _, output = await run("openssl", "s_client", *reading)
        begin, end = output.index("-----BEGIN CERT"), output.index("-----END CERT")
        return output[begin:end]

    async with Origin() as origin, LinkerProcess(config(origin.port, server=server)) as linker:
        first = await serial(linker.port())
        await asyncio.sleep(1.1)
        await make(certificates, "web", "web.test")
        second = await serial(linker.port())
        assert second != first
        (certificates / "web.pem").write_text("nonsense")
        await asyncio.sleep(1.1)
        assert await serial(linker.port()) == second


@pytest.mark.parametrize(
    ("prefix", "name", "expected"), [("/$/inet/127.0.0.{n}", "origin{n}.test", 200), ("/", "other.test", 502)]
)
async def test_an_origin_must_have_the_name_that_was_configured(
    certificates: Path, prefix: str, name: str, expected: int
) -> None:
    """A capture fills in the name; an origin of another name gets no request."""
    await make(certificates, "origin", "origin1.test")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "origin.pem", certificates / "origin.key")
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while await read_message(reader):
            asked += 1
            writer.write(OK)
        writer.close()

    origin = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = origin.sockets[0].getsockname()[1]
    tls = f"tls: {{commonName: '{name}', trustCertsBundle: {certificates}/ca.pem}}"
    client = f"client: {{kind: io.l5d.static, configs: [{{prefix: '{prefix}', {tls}}}]}}"
    async with origin, LinkerProcess(config(port, client=client)) as linker:
        for _ in range(2):
            status, output = await run("curl", "-sS", "-i", "-H", "Host: web", f"http://127.0.0.1:{linker.port()}/")
            assert status == 0
            assert f"HTTP/1.1 {expected}" in output
    assert asked == (2 if expected == 200 else 0)


async def test_endpoints_are_told_of_the_callers_certificate_and_of_no_forged_one(certificates: Path) -> None:
    files = f"certPath: {certificates}/web.pem, keyPath: {certificates}/web.key, caCertPath: {certificates}/ca.pem"
    server, client = f"tls: {{{files}, requireClientAuth: true}}", "client: {forwardClientCert: true}"
    shown = ("--cert", certificates / "caller.pem", "--key", certificates / "caller.key")
    forged = ("-H", "x-forwarded-client-cert: Hash=1")
    der = ssl.PEM_cert_to_DER_cert((certificates / "caller.pem").read_text())
    told = f'Hash={hashlib.sha256(der).hexdigest().upper()};DNS=caller.test;Subject="CN=caller.test"'
    async with Origin() as origin, LinkerProcess(config(origin.port, server=server, client=client)) as linker:
        await curl(linker.port(), certificates, *shown, *forged)
        assert values_of(origin.requests[-1], "x-forwarded-client-cert") == [told]
    async with Origin() as origin, LinkerProcess(config(origin.port, client=client)) as linker:
        await linker.get("web", "/", forged[1])
        assert values_of(origin.requests[-1], "x-forwarded-client-cert") == ["Hash=1"], "of the linker before us"
    async with Origin() as origin, LinkerProcess(config(origin.port)) as linker:
        await linker.get("web", "/", forged[1])
        assert values_of(origin.requests[-1], "x-forwarded-client-cert") == []


async def test_a_key_may_be_pkcs_1_and_what_kept_a_caller_out_is_told(certificates: Path) -> None:
    await openssl("genrsa", "-traditional", "-out", certificates / "rsa.key", "2048")
    await openssl(
        "req",
        "-x509",
        "-key",
        certificates / "rsa.key",
        "-out",
        certificates / "rsa.pem",
        "-subj",
        "/CN=rsa",
        "-days",
        "2",
    )
    assert "BEGIN RSA PRIVATE KEY" in (certificates / "rsa.key").read_text()
    server = f"tls: {{certPath: {certificates}/rsa.pem, keyPath: {certificates}/rsa.key}}"
    async with Origin() as origin, LinkerProcess(config(origin.port, server=server)) as inner:
        status, output = await curl(inner.port(), certificates, "--insecure")
        assert (status, "HTTP/1.1 200" in output) == (0, True), output
        anybody = "client: {tls: {disableValidation: true}}"
        async with LinkerProcess(config(inner.port(), client=anybody)) as outer:
            assert (await outer.get("web")).startswith(b"HTTP/1.1 200 ")
        strict = f"client: {{tls: {{commonName: rsa, trustCertsBundle: {certificates}/ca.pem}}}}"
        async with LinkerProcess(config(inner.port(), client=strict)) as outer:
            answer = await outer.get("web")
            assert answer.startswith(b"HTTP/1.1 502 ")
            assert b"reason: the TLS handshake failed: invalid peer certificate" in answer


@pytest.mark.parametrize("form", ["EC, PKCS#8", "RSA, PKCS#8", "RSA, PKCS#1", "EC, SEC 1"])
async def test_a_linker_shows_its_certificate_to_an_origin_that_wants_one(certificates: Path, form: str) -> None:
    key, request, shown = (certificates / f"client.{end}" for end in ("key", "csr", "pem"))
    algorithm = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256") if "EC" in form else ("-algorithm", "RSA")
    await openssl("genpkey", *algorithm, "-out", certificates / "made.key")
    traditional = () if "PKCS#8" in form else ("-traditional",)
    await openssl("pkey", "-in", certificates / "made.key", *traditional, "-out", key)
    assert ("BEGIN PRIVATE KEY" in key.read_text()) == ("PKCS#8" in form)
    await openssl("req", "-new", "-key", key, "-out", request, "-subj", "/CN=linker")
    authority = ("-CA", certificates / "ca.pem", "-CAkey", certificates / "ca.key", "-CAcreateserial", "-days", "2")
    extensions = certificates / "web.ext"
    await openssl("x509", "-req", "-in", request, *authority, "-extfile", extensions, "-out", shown)
    files = f"certPath: {certificates}/web.pem, keyPath: {certificates}/web.key, caCertPath: {certificates}/ca.pem"
    strict = f"tls: {{{files}, requireClientAuth: true}}"
    trust = f"commonName: web.test, trustCertsBundle: {certificates}/ca.pem"
    auth = f"clientAuth: {{certPath: {shown}, keyPath: {key}}}"
    async with Origin() as origin, LinkerProcess(config(origin.port, server=strict)) as inner:
        async with LinkerProcess(config(inner.port(), client=f"client: {{tls: {{{trust}}}}}")) as outer:
            assert (await outer.get("web")).startswith(b"HTTP/1.1 502 "), "it shows none"
        async with LinkerProcess(config(inner.port(), client=f"client: {{tls: {{{trust}, {auth}}}}}")) as outer:
            assert (await outer.get("web")).startswith(b"HTTP/1.1 200 ")
        assert len(origin.requests) == 1


async def test_the_admin_server_speaks_tls_and_so_does_the_identifier_port(certificates: Path) -> None:
    files = f"certPath: {certificates}/web.pem, keyPath: {certificates}/web.key, caCertPath: {certificates}/ca.pem"
    admin = f"admin: {{port: 0, httpIdentifierPort: 0, tls: {{{files}, requireClientAuth: true}}}}"
    shown = ("--cert", certificates / "caller.pem", "--key", certificates / "caller.key")
    async with LinkerProcess(config(9).replace("admin: {port: 0}", admin)) as linker:
        assert set(linker.servers) >= {"https admin", "https identifier"}
        (_, port), (_, identifier) = linker.servers["https admin"][0], linker.servers["https identifier"][0]
        status, output = await curl(port, certificates, *shown, "--request-target", "/admin/ping")
        assert (status, output.endswith("pong")) == (0, True), output
        status, output = await curl(port, certificates)
        assert status != 0, "nobody is let in without a certificate"
        asked = (*shown, "-H", "Host: web", "-H", "l5d-dtab: /a => /b")
        status, output = await curl(identifier, certificates, *asked)
        assert output.endswith('{"http": {"path": "/svc/web", "dtab": "/a=>/b"}}'), output


async def test_the_identifier_port_says_what_each_router_takes_a_request_for() -> None:
    routers = """
- protocol: http
  label: by path
  identifier: {kind: io.l5d.path, segments: 2}
  servers: [{port: 0}]
"""
    text = config(9).replace("admin: {port: 0}", "admin: {port: 0, httpIdentifierPort: 0}") + routers
    async with LinkerProcess(text) as linker:
        ip, port = linker.servers["http identifier"][0]
        for target, said in (
            ("/a/b/c?d", {"http": {"path": "/svc/web"}, "by path": {"path": "/svc/a/b"}}),
            ("/a", {"http": {"path": "/svc/web"}, "by path": {"error": "not enough segments in path"}}),
        ):
            answer = await exchange(ip, port, f"GET {target} HTTP/1.1\r\nHost: web\r\n\r\n".encode())
            assert json.loads(answer.partition(b"\r\n\r\n")[2]) == said
