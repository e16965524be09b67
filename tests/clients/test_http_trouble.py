"""What a failed request is said to be: the system's words, and nothing of the HTTP library's."""

from __future__ import annotations

import asyncio

import aiohttp

from biandou.clients.http_trouble import trouble


async def failure(url: str) -> str:
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(url) as response:
                await response.read()
        except aiohttp.ClientError as error:
            return trouble(error)
    raise AssertionError(f"{url} has answered")


async def test_a_connection_that_is_not_made_is_told_with_where_and_why() -> None:
    assert await failure("http://127.0.0.1:1/") == "cannot connect to 127.0.0.1:1: Connection refused"
    # A name has words of its own, which the system chooses.
    assert (await failure("http://nowhere.invalid/")).startswith("cannot connect to nowhere.invalid:80: ")


async def test_an_answer_that_is_cut_is_told_without_the_librarys_classes() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await failure(f"http://127.0.0.1:{port}/") == "the connection has ended in the middle of an answer"


def test_what_says_nothing_has_words_all_the_same() -> None:
    assert trouble(TimeoutError()) == "no answer in time"


async def test_an_answer_that_is_no_http_is_told_without_the_url_which_may_hold_a_token() -> None:
    async def ssh(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(ssh, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        said = await failure(f"http://127.0.0.1:{port}/?accessToken=s3cret")
    assert said.startswith("an answer that is no HTTP: ")
    assert "SSH-2.0" in said
    assert "s3cret" not in said
    assert "\n" not in said
