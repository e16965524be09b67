"""What namerd 1.x kept in etcd by version 2 of its API, which etcd no longer has since 3.6; reading only.

(reference/naming.md §4.5; etcd's "v2 API" page: a directory is `{"node": {"dir": true, "nodes": [...]}}`.)
"""

from __future__ import annotations

import json
import ssl
from typing import Any, Final

import aiohttp

from biandou.clients.etcd import EtcdAway, EtcdError
from biandou.clients.http_trouble import trouble

ANSWER_SECONDS: Final = 10.0
MAX_ANSWER: Final = 64 * 1024 * 1024
NO_SUCH_KEY: Final = 100


async def read_v2(url: str, prefix: str, tls: ssl.SSLContext | bool = True) -> dict[str, str]:
    """Give the values of the keys that lie directly in the directory `prefix`, by their names; none if it is not there.

    Raises `EtcdAway` if nobody answers, and `EtcdError` for an answer that is no directory of version 2.
    """
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    where = f"{url.rstrip('/')}/v2/keys{prefix}"
    try:
        connector = aiohttp.TCPConnector(ssl=tls)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.get(where, headers={"Accept": "application/json"}, allow_redirects=False) as answer,
        ):
            body = await answer.content.read(MAX_ANSWER + 1)
            while len(body) <= MAX_ANSWER and (more := await answer.content.read(MAX_ANSWER + 1 - len(body))):
                body += more
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise EtcdAway(f"{where}: {trouble(error)}") from error
    if len(body) > MAX_ANSWER:
        raise EtcdError(f"{where}: the answer is longer than {MAX_ANSWER} bytes")
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if status == 404 and isinstance(told, dict) and told.get("errorCode") == NO_SUCH_KEY:
        return {}
    if status != 200 or not isinstance(told, dict):
        hint = "; etcd serves version 2 with --enable-v2 only, and not since 3.6" if status == 404 else ""
        raise EtcdError(f"{where}: answers {status}{hint}")
    return _values(told, where)


def _values(told: dict[str, Any], where: str) -> dict[str, str]:
    node = told.get("node")
    nodes = node.get("nodes", []) if isinstance(node, dict) and node.get("dir") is True else None
    if not isinstance(nodes, list):
        raise EtcdError(f"{where} is no directory")
    found = {}
    for child in nodes:
        key, value = (child.get("key"), child.get("value")) if isinstance(child, dict) else (None, None)
        if isinstance(key, str) and isinstance(value, str) and not child.get("dir"):
            found[key.rpartition("/")[2]] = value
    return found
