"""List and watch: a set of Kubernetes' objects is followed for ever, by the rules of its documentation.

Kubernetes' "API concepts": a list says at which resourceVersion it was true, and a watch tells what changed from
there; bookmarks move that point on. 410 Gone, as an answer or in the stream, means to list anew. So do, here, a watch
that failed, one that tells of an earlier version than it told before (a cluster that was restored from a backup counts
again from there), and the passing of time: what is known is compared with the truth every few minutes, whatever
happened.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from typing import Final, Protocol

from biandou.clients.consul_watch import Pace
from biandou.clients.kubernetes import Json, Kubernetes, KubernetesError, KubernetesGone, Query
from biandou.clients.retry import Retry
from biandou.errors import reason

LIST_SECONDS: Final = 300.0
"""About so often is listed anew, though no watch failed; each time between nine tenths and all of it."""

RETRY: Final = Retry(0.1, 5.0)


_log = logging.getLogger(__name__)


class Waits(Protocol):
    """Says how long to wait after failures; `Retry` is one."""

    def wait(self, failures: int) -> float:
        """Give seconds after so many failures in a row."""


class Follower(Protocol):
    """Who is told what objects there are. `listed` and `changed` raise nothing but `KubernetesError`."""

    def listed(self, objects: Mapping[str, Json], version: int) -> None:
        """Take in all objects, by their names, as they were at a resourceVersion."""

    def changed(self, name: str, found: Json | None, version: int) -> None:
        """Take in that an object is now this, or gone."""

    def confirmed(self) -> None:
        """Hear that nothing has changed that was not told."""

    def failed(self, error: KubernetesError) -> None:
        """Hear that nothing is known that is newer than what was told last."""


class _Back(Exception):
    """A watch tells of an earlier version than it told before."""


async def follow(
    kubernetes: Kubernetes,
    path: str,
    query: Query,
    follower: Follower,
    *,
    retry: Waits = RETRY,
    pace: Pace | None = None,
    seconds: float = LIST_SECONDS,
) -> None:
    """List and watch for ever; `query` selects objects; ends only by being cancelled."""
    pace = pace or Pace()
    failures = gone = 0
    async with kubernetes.opened():
        while True:
            await pace.keep()
            try:
                async with kubernetes.beginning:
                    objects, version = read_list(await kubernetes.get(path, query))
                follower.listed(objects, version)
                failures = 0
                until = time.monotonic() + seconds * random.uniform(0.9, 1.0)  # noqa: S311 - no secret
                while (left := until - time.monotonic()) >= 1:
                    begin = {**query, "resourceVersion": str(version)}
                    version = await _watch(kubernetes, path, begin, left, follower)
                    gone = 0
                    # One that ends in order may be opened again from where it ended.
                    await pace.keep()
            except KubernetesGone as error:
                # Once is nothing strange; a server that only says so is one that fails.
                gone += 1
                if gone > 1:
                    follower.failed(error)
                    await asyncio.sleep(retry.wait(gone - 1))
            except _Back:
                continue
            except Exception as error:
                failures += 1
                follower.failed(_told(kubernetes, path, error))
                await asyncio.sleep(retry.wait(failures))


def _told(kubernetes: Kubernetes, path: str, error: Exception) -> KubernetesError:
    if isinstance(error, KubernetesError):
        return error
    # What no rule has thought of must not end a watch: nobody would notice.
    _log.error("%s at %s", path, kubernetes.address, exc_info=error)
    return KubernetesError(f"kubernetes at {kubernetes.address}: {path}: {reason(error)}")


async def _watch(kubernetes: Kubernetes, path: str, query: Query, seconds: float, follower: Follower) -> int:
    """Watch from the query's resourceVersion on until the server ends it in order; gives the one to go on from."""
    version = int(query["resourceVersion"])
    async with kubernetes.watch(path, query, seconds) as events:
        follower.confirmed()
        async for event in events:
            found = event["object"]
            newer = version_of(found)
            if newer < version:
                raise _Back
            version = newer
            match event.get("type"):
                case "ADDED" | "MODIFIED":
                    follower.changed(name_of(found), found, version)
                case "DELETED":
                    follower.changed(name_of(found), None, version)
                case "BOOKMARK":
                    follower.confirmed()
                case kind:
                    raise KubernetesError(f"kubernetes at {kubernetes.address}: an event of type {kind}")
    return version


# ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_list(told: Json) -> tuple[dict[str, Json], int]:
    """Give a list's objects by their names, and its resourceVersion; raises `KubernetesError`."""
    items = told.get("items")
    if items is None and str(told.get("kind", "")).endswith("List"):
        items = []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise KubernetesError("kubernetes: an answer that is no list")
    return {name_of(item): item for item in items}, version_of(told)


def name_of(found: Json) -> str:
    """Give an object's name; raises `KubernetesError`."""
    name = _metadata(found).get("name")
    if not isinstance(name, str) or not name:
        raise KubernetesError("kubernetes: an object without a name")
    return name


def version_of(found: Json) -> int:
    """Give the resourceVersion of an object or a list: a number, and comparable (KEP-5504).

    Raises `KubernetesError`.
    """
    version = _metadata(found).get("resourceVersion")
    if not (isinstance(version, str) and version.isascii() and version.isdecimal() and len(version) < 40):
        raise KubernetesError("kubernetes: an object without a resourceVersion")
    return int(version)


def _metadata(found: Json) -> Json:
    metadata = found.get("metadata")
    return metadata if isinstance(metadata, dict) else {}
