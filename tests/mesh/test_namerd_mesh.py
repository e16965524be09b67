"""`biandou namerd`'s interface `io.l5d.mesh`, asked by a plain gRPC client with bytes that are written out by hand.

Nothing here is read or written by our own messages: field numbers are those of reference/naming.md §5.3.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from biandou.testing.linker_process import LinkerProcess
from tests.mesh.test_namerd import ask, certificates, namerd

MESH = "io.l5d.mesh interface"
OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]


def program(folder: Path, dtab: str = "/svc => /#/io.l5d.fs", tls: str = "") -> LinkerProcess:
    return namerd(
        f"storage: {{kind: io.l5d.inMemory, namespaces: {{default: {dtab}}}}}\n"
        f"namers: [{{kind: io.l5d.fs, rootDir: {folder}}}]\n"
        f"interfaces: [{{kind: io.l5d.httpController, port: 0}}, {{kind: io.l5d.mesh, port: 0{tls}}}]\n"
    )


def field(number: int, value: bytes) -> bytes:
    """A field of the wire type 2; everything here is shorter than 128 bytes."""
    assert len(value) < 128
    return bytes((number << 3 | 2, len(value))) + value


def path(*segments: str) -> bytes:
    return b"".join(field(1, segment.encode()) for segment in segments)


DEFAULT = field(1, path("default"))
WEB = DEFAULT + field(2, path("svc", "web"))
FS_WEB = field(1, path("#", "io.l5d.fs", "web"))
TO_FS_WEB = field(1, field(6, field(1, path("#", "io.l5d.fs", "web")) + field(2, b"")))
"""BoundTreeRsp{tree{leaf{id, residual}}}"""


def at(port: int) -> bytes:
    """Replicas{bound{endpoints{address: 127.0.0.1, port}}} for a port from 128 on."""
    endpoint = field(2, bytes((127, 0, 0, 1))) + b"\x18" + bytes((port & 127 | 128, port >> 7))
    return field(4, field(1, endpoint))


def plain(control: LinkerProcess) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{control.port(MESH)}", options=OPTIONS)


async def call(channel: grpc.aio.Channel, method: str, request: bytes) -> bytes:
    answer: Any = channel.unary_unary(f"/io.linkerd.mesh.{method}")
    told: bytes = await answer(request, timeout=10)
    return told


def stream(channel: grpc.aio.Channel, method: str, request: bytes) -> AsyncIterator[bytes]:
    opened: Any = channel.unary_stream(f"/io.linkerd.mesh.{method}")
    told: AsyncIterator[bytes] = aiter(opened(request))
    return told


async def following(told: AsyncIterator[bytes]) -> bytes:
    async with asyncio.timeout(10):
        return await anext(told)


async def refused(answer: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as info:
        await answer
    return info.value.code(), info.value.details() or ""


async def test_names_endpoints_and_dtabs_are_told_and_each_change_of_them(tmp_path: Path) -> None:
    (tmp_path / "web").write_text("127.0.0.1 8080\n")
    (tmp_path / "other").write_text("127.0.0.1 8081\n")
    async with program(tmp_path) as control, plain(control) as channel:
        tree = stream(channel, "Interpreter/StreamBoundTree", WEB)
        assert await following(tree) == TO_FS_WEB
        assert await call(channel, "Interpreter/GetBoundTree", WEB) == TO_FS_WEB
        replicas = stream(channel, "Resolver/StreamReplicas", FS_WEB)
        assert await following(replicas) == at(8080)
        assert await call(channel, "Resolver/GetReplicas", FS_WEB) == at(8080)
        dtabs = stream(channel, "Delegator/StreamDtab", DEFAULT)
        # Dentry{prefix{elems{label}}, dst{leaf{id}}}
        dentry = field(1, field(1, field(1, b"svc"))) + field(2, field(6, field(1, path("#", "io.l5d.fs"))))
        version = (1).to_bytes(8, "big")
        assert await following(dtabs) == field(1, field(1, field(1, version)) + field(2, field(1, dentry)))

        (tmp_path / "web").write_text("127.0.0.1 8082\n")
        assert await following(replicas) == at(8082)
        moved = b"/svc => 0.5*/#/io.l5d.fs/other & 1*/$/inet/127.1/1"
        await ask(control, "PUT /api/1/dtabs/default", moved, "Content-Type: application/dtab")
        leaf = field(6, field(1, path("#", "io.l5d.fs", "other")) + field(2, path("web")))
        inet = field(1, path("$", "inet", "127.1", "1")) + field(2, path("web"))
        half, whole = (b"\x09" + bytes.fromhex(f"000000000000{number}3f") for number in ("e0", "f0"))
        shares = field(1, half + field(2, leaf)) + field(1, whole + field(2, field(6, inet)))
        assert await following(tree) == field(1, field(5, shares))
        (tmp_path / "web").unlink()
        assert await following(replicas) == field(2, b"")
        await ask(control, "DELETE /api/1/dtabs/default")
        assert await following(tree) == field(1, field(1, b""))
        await following(dtabs)
        assert await refused(anext(dtabs)) == (grpc.StatusCode.NOT_FOUND, "Root not found")


async def test_a_requests_dtab_comes_after_the_namespaces_own(tmp_path: Path) -> None:
    # Dtab{dentries{prefix{elems{label}, elems{wildcard}}, dst{leaf{id}}}}: /svc/* => /#/io.l5d.fs/other
    (tmp_path / "other").write_text("127.0.0.1 8081\n")
    prefix = field(1, field(1, b"svc")) + field(1, field(2, b""))
    dentry = field(1, prefix) + field(2, field(6, field(1, path("#", "io.l5d.fs", "other"))))
    async with program(tmp_path) as control, plain(control) as channel:
        told = await call(channel, "Interpreter/GetBoundTree", WEB + field(3, field(1, dentry)))
        assert told == field(1, field(6, field(1, path("#", "io.l5d.fs", "other")) + field(2, b"")))


async def test_delegations_and_the_codec(tmp_path: Path) -> None:
    (tmp_path / "web").write_text("127.0.0.1 8080\n")
    async with program(tmp_path) as control, plain(control) as channel:
        request = DEFAULT + field(2, field(6, field(1, path("svc", "web"))))
        told = await call(channel, "Delegator/GetDelegateTree", request)
        dentry = field(1, field(1, field(1, b"svc"))) + field(2, field(6, field(1, path("#", "io.l5d.fs"))))
        leaf = field(8, field(1, path("#", "io.l5d.fs", "web")) + field(2, b""))
        end = field(1, path("#", "io.l5d.fs", "web")) + field(2, dentry) + leaf
        assert field(9, end) in told
        once = stream(channel, "Delegator/StreamDelegateTree", request)
        assert [part async for part in once] == [told]

        text, message = b"/svc=>/#/io.l5d.fs", field(1, field(1, dentry))
        assert await call(channel, "Codec/ReadDtab", field(1, text)) == message
        assert await call(channel, "Codec/ShowDtab", message) == field(1, text)
        assert await call(channel, "Codec/ReadPath", field(1, b"/a/\\x2f")) == field(1, path("a", "/"))
        assert await call(channel, "Codec/ShowPath", field(1, path("a", "/"))) == field(1, b"/a/\\x2f")
        assert await call(channel, "Codec/ReadDtab", b"") == field(1, b"")
        assert (await refused(call(channel, "Codec/ReadPath", field(1, b"a"))))[0] == (grpc.StatusCode.INVALID_ARGUMENT)


@pytest.mark.parametrize(
    ("method", "request_", "code", "message"),
    [
        ("GetBoundTree", field(2, path("svc")), grpc.StatusCode.INVALID_ARGUMENT, "No namespace specified"),
        (
            "GetBoundTree",
            field(1, path("a", "b")) + field(2, path("svc")),
            grpc.StatusCode.INVALID_ARGUMENT,
            "Invalid root: `/a/b` must have exactly one segment",
        ),
        ("GetBoundTree", DEFAULT, grpc.StatusCode.NOT_FOUND, "No name given"),
        ("GetBoundTree", b"\x0a\x7f", grpc.StatusCode.INVALID_ARGUMENT, "field 1 is cut short"),
        ("StreamBoundTree", DEFAULT, grpc.StatusCode.NOT_FOUND, "No name given"),
        (
            "StreamBoundTree",
            DEFAULT + field(2, path("loop")),
            grpc.StatusCode.INTERNAL,
            "Max recursion level: 100 reached in Namer lookup",
        ),
        ("NoSuchMethod", b"", grpc.StatusCode.UNIMPLEMENTED, "Method not found!"),
    ],
)
async def test_what_cannot_be_answered_has_the_references_status(
    tmp_path: Path, method: str, request_: bytes, code: grpc.StatusCode, message: str
) -> None:
    async with program(tmp_path, "/loop => /loop") as control, plain(control) as channel:
        if method.startswith("Stream"):
            answer: Any = anext(stream(channel, f"Interpreter/{method}", request_))
        else:
            answer = call(channel, f"Interpreter/{method}", request_)
        assert await refused(answer) == (code, message)
        # Replicas are failures of their own, not of the stream: failed{message}.
        told = await call(channel, "Resolver/GetReplicas", b"")
        assert told == field(3, field(1, b"No ID provided"))


async def test_a_client_needs_a_certificate_where_one_is_required(tmp_path: Path) -> None:
    await certificates(tmp_path)
    files = {"certPath": "server", "keyPath": "server-key", "caCertPath": "authority"}
    tls = ", ".join(f"{key}: {tmp_path}/{name}.pem" for key, name in files.items())
    authority, key, chain = ((tmp_path / f"{name}.pem").read_bytes() for name in ("authority", "client-key", "client"))
    async with program(tmp_path, tls=f", tls: {{{tls}, requireClientAuth: true}}") as control:
        target = f"localhost:{control.port(MESH)}"
        both = grpc.ssl_channel_credentials(authority, key, chain)
        async with grpc.aio.secure_channel(target, both, options=OPTIONS) as channel:
            assert await call(channel, "Interpreter/GetBoundTree", WEB) == field(1, field(1, b""))
        alone = grpc.ssl_channel_credentials(authority)
        async with grpc.aio.secure_channel(target, alone, options=OPTIONS) as channel:
            code, _ = await refused(call(channel, "Interpreter/GetBoundTree", WEB))
            assert code == grpc.StatusCode.UNAVAILABLE
        async with grpc.aio.insecure_channel(target, options=OPTIONS) as channel:
            code, _ = await refused(call(channel, "Interpreter/GetBoundTree", WEB))
            assert code == grpc.StatusCode.UNAVAILABLE


async def test_a_port_that_is_taken_keeps_it_from_starting(tmp_path: Path) -> None:
    async with program(tmp_path) as control:
        other = namerd(
            f"storage: {{kind: io.l5d.inMemory}}\ninterfaces: [{{kind: io.l5d.mesh, port: {control.port(MESH)}}}]\n"
        )
        await other.launch()
        assert await other.wait() == 1
        assert any("cannot start: the interface io.l5d.mesh can't listen on" in line for line in other.log), other.log


async def test_without_an_interface_it_needs_no_grpc(tmp_path: Path) -> None:
    async with namerd("storage: {kind: io.l5d.inMemory}\ninterfaces: [{kind: io.l5d.httpController, port: 0}]") as web:
        assert "cygrpc" not in Path(f"/proc/{web.pid}/maps").read_text()
    async with program(tmp_path) as control:
        assert "cygrpc" in Path(f"/proc/{control.pid}/maps").read_text()
