"""No request comes out of another one: what the linker forwards is taken by every back end as the linker has taken it.

Each row of the tables in `tests/mesh/smuggling` goes through the real program to a back end of its own. What is read
there, by a strict reader and by two lenient ones that disagree with each other, must be what the row says: so many
requests, with these lines, bodies and framings. One more request is sent behind the row's bytes; it must get its own
answer, or, after a refusal, none. Real nginx then reads the same.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from biandou.testing.linker_process import LinkerProcess
from tests.mesh.smuggling.answers import read_answers
from tests.mesh.smuggling.case import Case
from tests.mesh.smuggling.chunking import CHUNKING
from tests.mesh.smuggling.cves import CVES
from tests.mesh.smuggling.framing import CODINGS, LENGTHS
from tests.mesh.smuggling.hops import HOPS
from tests.mesh.smuggling.lines import LINES
from tests.mesh.smuggling.nginx import Nginx, nginx_is_missing
from tests.mesh.smuggling.readers import Rules
from tests.mesh.smuggling.recorder import Recorder, told
from tests.mesh.smuggling.targets import TARGETS
from tests.mesh.unharmed import send

CASES: Final = (*LENGTHS, *CODINGS, *LINES, *CHUNKING, *TARGETS, *HOPS, *CVES)
PROBE: Final = "GET /probe HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"
AT_ONCE: Final = 40


@dataclass
class Seen:
    """What became of one case: at its back end, at the caller, and at nginx (lines of its log)."""

    recorder: Recorder
    got: bytes
    by_nginx: list[str]
    got_from_nginx: bytes


def host_of(nth: int) -> str:
    """Give the name that the nth case has for itself, as long as `HOST`."""
    return f"c{nth:03}"


def sent_by(nth: int, case: Case) -> bytes:
    """Give the bytes of a case, and of the request behind it."""
    return (case.sent + PROBE).replace("HOST", host_of(nth)).encode("latin-1")


def config(names: dict[str, int]) -> str:
    """Send each name to its port; whatever else is asked for is not found."""
    dentries = "".join(f"    /svc/{name} => /$/inet/127.0.0.1/{port} ;\n" for name, port in names.items())
    return f"admin: {{port: 0}}\nrouters:\n- protocol: http\n  dtab: |\n{dentries}  servers: [{{port: 0}}]\n"


async def through(names: dict[str, int]) -> list[bytes]:
    """Send every case through a linker of these names, and give what its caller got."""
    async with LinkerProcess(config(names)) as linker:
        places = asyncio.Semaphore(AT_ONCE)

        async def one(nth: int, case: Case) -> bytes:
            async with places:
                return await send(linker.port(), sent_by(nth, case))

        got = await asyncio.gather(*(one(nth, case) for nth, case in enumerate(CASES)))
        assert linker.process.returncode is None
        assert not [line for line in linker.log if "panic" in line or line.startswith("E ")]
        return got


async def run_all(directory: Path) -> list[Seen]:
    """Run every case against its recorder, and again against nginx, where it is installed."""
    async with AsyncExitStack() as stack:
        recorders = [await stack.enter_async_context(Recorder()) for _ in CASES]
        got = await through({host_of(nth): recorder.port for nth, recorder in enumerate(recorders)})
    logged: list[list[str]] = [[] for _ in CASES]
    got_from_nginx = [b""] * len(CASES)
    if not nginx_is_missing():
        async with Nginx(directory) as nginx:
            got_from_nginx = await through({host_of(nth): nginx.port for nth in range(len(CASES))})
        logged = [nginx.requests(host_of(nth)) for nth in range(len(CASES))]
    return [Seen(*of_one) for of_one in zip(recorders, got, logged, got_from_nginx, strict=True)]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[Seen]:
    """What became of all cases, which are sent at once."""
    return asyncio.run(run_all(tmp_path_factory.mktemp("nginx")))


def test_there_are_at_least_150_cases_of_different_names_and_bytes() -> None:
    assert len(CASES) >= 150
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []


def expected_of(case: Case) -> list[str]:
    """Give the requests that a back end sees, with the one behind the case."""
    probed = case.refused is None and not case.closes
    return [*case.sees, *(["GET /probe"] if probed else [])]


def check_answers(nth: int, case: Case, got: bytes, *, lengths: bool) -> None:
    """Check that the caller gets the answers to what the back end saw, each its own, and to nothing else."""
    sees = [line.replace("HOST", host_of(nth)) for line in expected_of(case)]
    methods = [line.split(" ")[0] for line in sees]
    answers = read_answers(got, methods)
    served = answers[: len(sees)]
    for line, answer in zip(sees, served, strict=True):
        method, target, *framed = line.split(" ", 2)
        length = len(framed[0].partition(":")[2].encode("latin-1")) if framed else 0
        body = b"" if method == "HEAD" else told(method, target, length if lengths else 0)
        assert (answer.status, answer.body) == (400 if target == "/error" else 200, body)
    refusals = [answer.status for answer in answers[len(sees) :]]
    if case.refused is None:
        assert refusals == []
    elif case.refused:
        assert refusals == [case.refused]
        assert answers[-1].values("connection") == ["close"]
    else:
        # It has ended its half in the midst of a body: there is nobody to be told.
        assert refusals in ([], [400])


@pytest.mark.parametrize("nth", range(len(CASES)), ids=[case.name for case in CASES])
def test_every_reader_sees_the_same_requests(seen: list[Seen], nth: int) -> None:
    case, of_this = CASES[nth], seen[nth]
    expected = [line.replace("HOST", host_of(nth)) for line in expected_of(case)]
    for rules in Rules:
        messages, left = of_this.recorder.read(rules)
        read = [str(message) for message in messages]
        if case.refused is None:
            assert (read, left) == (expected, []), rules
        else:
            # The head of a request whose body is then refused may have gone out; it never becomes a whole request.
            assert read == expected, rules
            assert len(left) <= 1, rules
    messages, _ = of_this.recorder.read(Rules.STRICT)
    for name, value in case.headers.items():
        values = messages[0].values(name.lower())
        assert values == ([] if value is None else [value.replace("HOST", host_of(nth))]), name
    check_answers(nth, case, of_this.got, lengths=True)


@pytest.mark.skipif(nginx_is_missing(), reason="nginx is not installed")
@pytest.mark.parametrize("nth", range(len(CASES)), ids=[case.name for case in CASES])
def test_nginx_sees_the_same_requests(seen: list[Seen], nth: int) -> None:
    case, of_this = CASES[nth], seen[nth]
    expected = [" ".join(line.replace("HOST", host_of(nth)).split(" ")[:2]) for line in expected_of(case)]
    if case.nginx_refuses:
        assert of_this.by_nginx == expected[len(case.sees) :]
    elif case.refused is None:
        assert of_this.by_nginx == expected
    else:
        # nginx logs a request that breaks off, too.
        assert of_this.by_nginx[: len(expected)] == expected
        assert len(of_this.by_nginx) <= len(expected) + 1
    assert not [line for line in of_this.by_nginx if "hidden" in line and line not in expected]
