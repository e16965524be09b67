"""The binder, with a fake engine: what it says when names, tables and endpoints change."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from typing import Any

import pytest

from biandou.boundary import (
    Answer,
    Ask,
    BadOverride,
    BindFailure,
    BoundTree,
    Branch,
    Endpoints,
    EndpointsFailed,
    EndpointsKnown,
    EndpointsNegative,
    EndpointsPending,
    EndpointsStatus,
    NegativeTree,
    Release,
)
from biandou.config.plan import ClientPolicy, ServicePolicy
from biandou.config.state_file import StateFile
from biandou.dtab import NEG, Dtab, Leaf, NameTree, Path
from biandou.dtab.bound import Address, Addresses, AddressSet, Bound, Negative, Origin
from biandou.dtab.explain import Delegation, to_json
from biandou.errors import ResolutionError
from biandou.interpreters.local import LocalInterpreter
from biandou.linker.binder import Binder
from biandou.linker.knowledge import Knowledge, KnownName
from biandou.linker.router import Router
from biandou.live import Failed, Live, Ok, Source, State
from biandou.namers.all import Namers
from biandou.testing.fake_engine import FakeEngine
from biandou.transformers.const import ConstTransformerKind
from biandou.transformers.interface import Interpret, Transformer, TransformerKind
from biandou.transformers.port import PortTransformerKind


class Table:
    """A namer `/#/t` whose names and endpoints the test sets."""

    def __init__(self) -> None:
        self.prefix = Path.read("/#/t")
        self.names: dict[bytes, Source[bool]] = {}
        self.endpoints: dict[bytes, Source[Addresses]] = {}

    def at(self, name: str, *ports: int) -> None:
        self.endpoints.setdefault(name.encode(), Source()).set(
            AddressSet(tuple(Address("127.0.0.1", port) for port in ports))
        )
        self.names.setdefault(name.encode(), Source()).set(True)

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        if len(path) == 0:
            return Live.ok(NEG)
        first = path.segments[0]
        if first == b"raises":
            raise RuntimeError("this namer is broken")
        addresses = self.endpoints.setdefault(first, Source())
        bound: NameTree[Path | Bound] = Leaf(Bound(self.prefix + path.take(1), addresses, path.drop(1)))
        return self.names.setdefault(first, Source(Ok(False))).map(lambda there: bound if there else NEG)


class World:
    """A router `http` over a `Table`, its binder and its engine."""

    def __init__(self, dtab: str = "/svc=>/#/t", transformers: Sequence[TransformerKind] = ()) -> None:
        self.table = Table()
        self.base: Source[Dtab] = Source()
        self.base.set(Dtab.read(dtab))
        interpreter = LocalInterpreter(self.base, Namers([self.table]))
        self.interpret: Interpret = lambda path: LocalInterpreter(Live.ok(Dtab()), Namers([self.table])).bind(
            Dtab(), path
        )
        made: list[Transformer] = [kind.transformer(self.interpret) for kind in transformers]
        self.router = Router(
            "http",
            interpreter,
            made,
            service_policy=lambda path: ServicePolicy(total_timeout_ms=len(path)),
            client_policy=lambda client: ClientPolicy(connect_timeout_ms=len(client)),
        )
        self.engine = FakeEngine()
        self.binder = Binder([self.router], self.engine)

    def ask(self, ticket: int, path: str = "/svc/web", *dtab: str) -> Answer | None:
        self.binder.take(Ask(ticket=ticket, router="http", path=path, dtab=list(dtab)))
        return self.engine.answers.get(ticket)

    def outcome(self, ticket: int) -> object:
        return self.engine.answers[ticket].outcome

    def release(self, ticket: int) -> None:
        self.binder.take(Release(ticket=ticket))

    def state(self, client: str) -> object:
        return self.engine.clients["http", client].state


def to(*branches: tuple[float, str | None] | tuple[float, str | None, str]) -> BoundTree:
    return BoundTree(
        branches=[
            Branch(weight=branch[0], client=branch[1], residual=branch[2] if len(branch) > 2 else "/")
            for branch in branches
        ]
    )


def known(*ports: int) -> EndpointsKnown:
    return EndpointsKnown(addresses=[("127.0.0.1", port, 1.0) for port in ports])


def test_endpoints_go_before_the_first_answer_that_names_them() -> None:
    world = World()
    world.table.at("web", 80)
    world.ask(1, "/svc/web/rest")
    assert world.engine.journal == [
        ("endpoints", "/#/t/web", known(80)),
        ("answer", 1, to((1.0, "/#/t/web", "/rest"))),
    ]


def test_policies_go_with_the_name_and_the_client() -> None:
    world = World()
    world.table.at("web", 80)
    answer = world.ask(1, "/svc/web/rest")
    assert answer is not None
    assert answer.policy == ServicePolicy(total_timeout_ms=3)
    assert world.engine.clients["http", "/#/t/web"].policy == ClientPolicy(connect_timeout_ms=3)


def test_a_pending_tree_is_not_answered_until_it_is_known() -> None:
    world = World()
    world.table.names[b"web"] = Source()
    assert world.ask(1) is None
    assert world.engine.journal == []
    world.table.at("web", 80)
    assert world.outcome(1) == to((1.0, "/#/t/web"))


def test_pending_endpoints_are_said_to_be_so_and_then_known() -> None:
    world = World()
    world.table.names[b"web"] = Source(Ok(True))
    world.ask(1)
    assert world.state("/#/t/web") == EndpointsPending()
    world.table.at("web", 80)
    assert world.state("/#/t/web") == known(80)
    world.table.endpoints[b"web"].forget()
    assert world.state("/#/t/web") == known(80), "what was known holds while the registry has nothing to say"


def test_every_state_of_an_address_has_its_letter() -> None:
    world = World()
    world.table.at("web", 80)
    world.ask(1)
    source = world.table.endpoints[b"web"]
    source.set(Negative())
    assert world.state("/#/t/web") == EndpointsNegative()
    source.fail(ResolutionError("registry is down"))
    assert world.state("/#/t/web") == EndpointsFailed(message="registry is down")
    source.set(AddressSet((Address("::1", 8, {"endpoint_addr_weight": 0.25}),), {"authority": "web.example"}))
    assert world.state("/#/t/web") == EndpointsKnown(addresses=[("::1", 8, 0.25)], authority="web.example")
    source.set(AddressSet((), {"authority": 5}))
    assert world.state("/#/t/web") == EndpointsKnown(addresses=[], authority=None)
    world.ask(2, "/$/io.buoyant.http.status/503/x")
    assert world.state("/$/io.buoyant.http.status/503") == EndpointsStatus(code=503)


@pytest.mark.parametrize("dst", ["~", "!", "$", "/#/t/none", "/$/fail", "/$/nil", "! & !"])
def test_nothing_there_is_a_negative_answer(dst: str) -> None:
    world = World(f"/svc=>{dst}")
    world.ask(1)
    assert world.outcome(1) == NegativeTree()


def test_unions_are_flattened_to_shares_of_the_whole() -> None:
    world = World("/svc=>3*/x & 1*/#/t/c ; /x=>1*/#/t/a & 1*(2*/#/t/b & 2*$)")
    for name in "abc":
        world.table.at(name, 80)
    world.ask(1, "/svc")
    assert world.outcome(1) == to((0.375, "/#/t/a"), (0.1875, "/#/t/b"), (0.1875, None), (0.25, "/#/t/c"))


def test_weights_that_are_all_zero_share_evenly() -> None:
    world = World("/svc=>0*/#/t/a & 0*/#/t/b")
    world.table.at("a", 80)
    world.table.at("b", 80)
    world.ask(1, "/svc")
    assert world.outcome(1) == to((0.5, "/#/t/a"), (0.5, "/#/t/b"))


def test_a_request_s_own_dtab_is_read_in_order_and_passed_on() -> None:
    world = World()
    world.table.at("web", 80)
    world.table.at("other", 80)
    answer = world.ask(1, "/svc/web", "/svc => /#/t/other | /a # one", "", "/x=>0.125*/y & /z;")
    assert answer is not None
    assert answer.context == "/svc=>/#/t/other | /a;/x=>0.125*/y & /z"
    assert answer.override_dentries == ["/svc => /#/t/other | /a", "/x => 0.125*/y & /z"]
    assert answer.outcome == to((1.0, "/#/t/other", "/web"))
    later = world.ask(2, "/svc/web", "/svc=>/#/t/other", "/svc=>/#/t/web")
    assert later is not None
    assert later.outcome == to((1.0, "/#/t/web", "/web")), "the last text wins"
    plain = world.ask(3)
    assert plain is not None
    assert (plain.context, plain.override_dentries) == ("", [])


def test_a_dtab_that_cannot_be_read_is_the_caller_s_mistake() -> None:
    world = World()
    world.ask(1, "/svc/web", "/ok=>/ok", "i am not a dtab")
    assert world.outcome(1) == BadOverride(message="'/' expected but 'i' found at '[i] am not a dtab'")
    assert world.binder.tickets == 1
    world.release(1)
    assert world.binder.tickets == 0


def test_each_dtab_text_stands_alone() -> None:
    """Two headers that only together make a dtab are two mistakes."""
    world = World()
    world.ask(1, "/svc/web", "/svc=>", "/x")
    assert isinstance(world.outcome(1), BadOverride)


def test_a_change_of_the_dtab_is_answered_and_the_old_client_forgotten_after() -> None:
    world = World("/svc=>/#/t/v1")
    world.table.at("v1", 81)
    world.table.at("v2", 82)
    world.ask(1, "/svc")
    world.engine.journal.clear()
    world.base.set(Dtab.read("/svc=>/#/t/v2"))
    assert world.engine.journal == [
        ("endpoints", "/#/t/v2", known(82)),
        ("answer", 1, to((1.0, "/#/t/v2"))),
        ("forget", "/#/t/v1", None),
    ]
    assert not world.table.endpoints[b"v1"].observed


def test_a_shift_of_weight_changes_the_answer_alone() -> None:
    world = World("/svc=>9*/#/t/v1 & 1*/#/t/v2")
    world.table.at("v1", 81)
    world.table.at("v2", 82)
    world.ask(1, "/svc")
    world.engine.journal.clear()
    world.base.set(Dtab.read("/svc=>1*/#/t/v1 & 1*/#/t/v2"))
    assert world.engine.journal == [("answer", 1, to((0.5, "/#/t/v1"), (0.5, "/#/t/v2")))]
    world.base.set(Dtab.read("/svc=>2*/#/t/v1 & 2*/#/t/v2"))
    assert len(world.engine.journal) == 1, "an answer that says the same is not sent"


def test_a_client_is_kept_as_long_as_one_name_leads_to_it() -> None:
    world = World("/svc=>/#/t/web")
    world.table.at("web", 80)
    world.ask(1, "/svc/a")
    world.ask(2, "/svc/b")
    assert len([entry for entry in world.engine.journal if entry[0] == "endpoints"]) == 1
    world.release(1)
    world.table.at("web", 81)
    assert world.state("/#/t/web") == known(81)
    world.release(2)
    assert world.engine.clients == {}
    assert (world.binder.tickets, world.binder.clients) == (0, 0)
    assert not world.table.endpoints[b"web"].observed
    assert not world.table.names[b"web"].observed


def test_two_branches_with_one_client_count_once() -> None:
    world = World("/svc=>/#/t/web/a & /#/t/web/b")
    world.table.at("web", 80)
    world.ask(1, "/svc")
    assert world.outcome(1) == to((0.5, "/#/t/web", "/a"), (0.5, "/#/t/web", "/b"))
    world.base.set(Dtab.read("/svc=>/#/t/web/a"))
    assert world.binder.clients == 1
    world.release(1)
    assert world.engine.clients == {}


def test_a_name_that_comes_and_goes_is_followed() -> None:
    world = World("/svc=>/#/t/v2 | /#/t/v1")
    world.table.at("v1", 81)
    world.ask(1, "/svc")
    assert world.outcome(1) == to((1.0, "/#/t/v1"))
    world.table.at("v2", 82)
    assert world.outcome(1) == to((1.0, "/#/t/v2"))
    world.table.names[b"v2"].set(False)
    assert world.outcome(1) == to((1.0, "/#/t/v1"))


def test_repeated_and_unknown_tickets_are_harmless() -> None:
    world = World()
    world.table.at("web", 80)
    world.ask(1)
    world.ask(1)
    assert [entry[:2] for entry in world.engine.journal] == [("endpoints", "/#/t/web"), ("answer", 1), ("answer", 1)]
    world.release(1)
    world.release(1)
    world.release(7)
    assert world.engine.clients == {}
    world.ask(1)
    assert world.engine.clients.keys() == {("http", "/#/t/web")}


def test_a_released_ticket_is_never_answered_again() -> None:
    world = World("/svc=>/#/t/v1")
    world.table.at("v1", 80)
    world.ask(1, "/svc")
    world.release(1)
    world.engine.journal.clear()
    world.base.set(Dtab.read("/svc=>/#/t/v2"))
    world.table.at("v1", 81)
    assert world.engine.journal == []


@pytest.mark.parametrize(
    ("path", "dtab", "message"),
    [
        ("/svc/x", "/svc=>/svc", "Max recursion level: 100 reached in Namer lookup"),
        ("/$/inet/127.1/x", "", "Unknown namer: inet for path: /$/inet/127.1/x"),
        ("/#/t/raises", "", "this namer is broken"),
        ("no path", "", "'/' expected but 'n' found at '[n]o path'"),
    ],
)
def test_a_name_that_cannot_be_bound_fails_alone(path: str, dtab: str, message: str) -> None:
    world = World(dtab)
    world.table.at("web", 80)
    world.ask(1, path)
    assert world.outcome(1) == BindFailure(message=message)
    world.ask(2, "/#/t/web")
    assert world.outcome(2) == to((1.0, "/#/t/web"))


def test_a_failure_mends_when_the_dtab_does() -> None:
    world = World("/svc=>/svc")
    world.table.at("web", 80)
    world.ask(1)
    world.base.set(Dtab.read("/svc=>/#/t"))
    assert world.outcome(1) == to((1.0, "/#/t/web"))
    world.base.set(Dtab.read("/svc=>/svc"))
    assert isinstance(world.outcome(1), BindFailure)
    assert world.engine.clients == {}


def test_an_unknown_router_is_a_failed_name() -> None:
    world = World()
    world.binder.take(Ask(ticket=1, router="nowhere", path="/svc/web", dtab=[]))
    assert world.outcome(1) == BindFailure(message="no router is called nowhere")


def test_a_policy_that_raises_costs_its_own_name() -> None:
    world = World()
    world.table.at("web", 80)
    world.table.at("bad", 80)

    def policy(client: Path) -> ClientPolicy:
        if client.segments[-1] == b"bad":
            raise ValueError("no policy")
        return ClientPolicy()

    broken = Router("http", world.router.interpreter, client_policy=policy)
    world.binder = Binder([broken], world.engine)
    world.ask(1, "/svc/bad")
    world.ask(2, "/svc/web")
    assert world.outcome(1) == BindFailure(message="no policy")
    assert world.outcome(2) == to((1.0, "/#/t/web"))
    world.release(1)
    world.release(2)
    assert (world.binder.tickets, world.binder.clients) == (0, 0)


def test_a_tree_that_fails_half_way_takes_nothing_from_others() -> None:
    world = World("/svc=>/#/t/bad & /#/t/web ; /ok=>/#/t/web")
    world.table.at("web", 80)
    world.table.at("bad", 80)

    def policy(client: Path) -> ClientPolicy:
        if client.segments[-1] == b"bad":
            raise ValueError("no policy")
        return ClientPolicy()

    world.binder = Binder([Router("http", world.router.interpreter, client_policy=policy)], world.engine)
    world.ask(1, "/ok")
    world.ask(2, "/svc")
    assert world.outcome(2) == BindFailure(message="no policy")
    world.table.at("web", 81)
    assert world.state("/#/t/web") == known(81)


class Explodes(Live[Addresses]):
    def _open(self) -> None:
        raise OSError("no more sockets")


def test_addresses_that_cannot_be_observed_are_failed_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.table.at("web", 80)
    world.table.endpoints[b"web"] = Explodes()  # type: ignore[assignment]  # only `observe` is used
    world.ask(1)
    assert world.state("/#/t/web") == EndpointsFailed(message="no more sockets")
    assert world.outcome(1) == to((1.0, "/#/t/web"))


def test_transformers_change_ids_and_endpoints_in_list_order() -> None:
    kinds = [PortTransformerKind(port=4140), PortTransformerKind(port=4141, prefix="/second")]
    world = World(transformers=kinds)
    world.table.at("web", 80, 81)
    world.ask(1)
    client = "/%/second/%/io.l5d.port/4140/#/t/web"
    assert world.outcome(1) == to((1.0, client))
    assert world.state(client) == known(4141)


def test_const_answers_even_for_what_is_not_there() -> None:
    world = World(transformers=[ConstTransformerKind(path="/#/t/fixed")])
    world.table.at("fixed", 90)
    world.ask(1, "/svc/none")
    assert world.outcome(1) == to((1.0, "/%/io.l5d.const/#/t/fixed"))
    assert world.state("/%/io.l5d.const/#/t/fixed") == known(90)


def test_close_lets_everything_go() -> None:
    world = World()
    world.table.at("web", 80)
    world.ask(1)
    world.binder.close()
    assert (world.binder.tickets, world.binder.clients) == (0, 0)
    assert not world.table.endpoints[b"web"].observed
    world.table.at("web", 81)
    assert world.state("/#/t/web") == known(80)


def test_a_delegation_shows_transformations() -> None:
    world = World(transformers=[PortTransformerKind(port=4140)])
    world.table.at("web", 80)
    seen: list[State[Delegation]] = []
    world.router.delegate(Dtab.read("/svc=>/#/t"), Path.read("/svc/web")).observe(seen.append).close()
    assert isinstance(seen[-1], Ok)
    shown = to_json(seen[-1].value, lambda _bound: None)
    leaf = shown["delegate"]
    assert leaf["type"] == "transformation"
    assert leaf["bound"]["id"] == "/#/t/web"
    assert leaf["tree"]["bound"]["id"] == "/%/io.l5d.port/4140/#/t/web"


def test_const_cannot_show_delegations() -> None:
    world = World(transformers=[ConstTransformerKind(path="/#/t/fixed")])
    with pytest.raises(NotImplementedError):
        world.router.delegate(Dtab(), Path.read("/svc"))


class RefusingEngine(FakeEngine):
    """Takes no endpoints on port 1, as the compiled engine refuses what it cannot read."""

    def endpoints(self, letter: Endpoints) -> None:
        if isinstance(letter.state, EndpointsKnown) and letter.state.addresses[0][1] == 1:
            raise ValueError("not a endpoints")
        super().endpoints(letter)


def test_endpoints_that_the_engine_refuses_are_a_failure_until_better_ones_come() -> None:
    table = Table()
    engine = RefusingEngine()
    binder = Binder([Router("http", LocalInterpreter(Live.ok(Dtab.read("/svc=>/#/t")), Namers([table])))], engine)
    table.at("web", 1)
    binder.take(Ask(ticket=1, router="http", path="/svc/web", dtab=[]))
    states: list[object] = [engine.clients["http", "/#/t/web"].state]
    for port in (2, 1):
        table.at("web", port)
        states.append(engine.clients["http", "/#/t/web"].state)
    refused = EndpointsFailed(message="not a endpoints")
    assert states == [refused, EndpointsKnown(addresses=[("127.0.0.1", 2, 1.0)]), refused]


@pytest.mark.parametrize(
    "bad", [("web.test", 80), ("", 80), ("127.0.0.1", 70_000), ("::1%lo", 80), (None, 80), ("::1", True)], ids=str
)
def test_one_address_that_is_none_does_not_take_the_others_out_of_use(bad: tuple[Any, int]) -> None:
    class ReadingEngine(FakeEngine):
        def endpoints(self, letter: Endpoints) -> None:
            if isinstance(letter.state, EndpointsKnown) and bad in [one[:2] for one in letter.state.addresses]:
                raise ValueError("not an address")
            super().endpoints(letter)

    table = Table()
    engine = ReadingEngine()
    binder = Binder([Router("http", LocalInterpreter(Live.ok(Dtab.read("/svc=>/#/t")), Namers([table])))], engine)
    table.at("web", 1)
    binder.take(Ask(ticket=1, router="http", path="/svc/web", dtab=[]))
    good = [Address("127.0.0.1", 2), Address("::1", 3)]
    table.endpoints[b"web"].set(AddressSet((good[0], Address(*bad), good[1])))
    known = EndpointsKnown(addresses=[("127.0.0.1", 2, 1.0), ("::1", 3, 1.0)])
    assert engine.clients["http", "/#/t/web"].state == known
    table.endpoints[b"web"].set(AddressSet((Address(*bad),)))
    assert isinstance(engine.clients["http", "/#/t/web"].state, EndpointsFailed), "nothing good is known"


@pytest.mark.parametrize(
    ("dtab", "path", "override"),
    [
        ("/svc=>/#/t", "/svc/{}", ""),
        ("/svc=>/#/t/web", "/svc/{}", ""),
        ("/svc=>/#/t", "/svc/web", "/svc/web => /#/nowhere/{} | /#/t/web"),
        ("/svc=>/$/inet/127.0.0.1", "/svc/{}", ""),
    ],
    ids=["unknown names", "one client, many residuals", "a dtab a request", "a client a name"],
)
def test_names_that_came_and_went_leave_nothing_behind(dtab: str, path: str, override: str) -> None:
    table = Table()
    table.at("web", 80)
    engine = FakeEngine()
    binder = Binder([Router("http", LocalInterpreter(Live.ok(Dtab.read(dtab)), Namers([table])))], engine)

    def come_and_go(numbers: range) -> None:
        for number in numbers:
            own = [override.format(number)] if override else []
            binder.take(Ask(ticket=number, router="http", path=path.format(number), dtab=own))
            # As many stay as the engine holds by default.
            binder.take(Release(ticket=number - 1000))
        for number in numbers[-1000:]:
            binder.take(Release(ticket=number))
        table.names = {b"web": table.names[b"web"]}
        table.endpoints = {b"web": table.endpoints[b"web"]}
        engine.answers.clear()
        engine.journal.clear()

    come_and_go(range(1, 2000))
    gc.collect()
    # The linker collects seldom: what goes must go by itself.
    gc.disable()
    try:
        before = len(gc.get_objects())
        come_and_go(range(2000, 52_000))
        left = len(gc.get_objects()) - before
    finally:
        gc.enable()
    assert left < 200
    assert (binder.tickets, binder.clients, engine.clients) == (0, 0, {})


def test_an_ask_that_comes_after_the_end_opens_nothing() -> None:
    world = World()
    world.table.at("web", 80)
    world.binder.close()
    assert world.ask(1) is None
    assert world.binder.tickets == 0
    assert not world.table.names[b"web"].observed


# ── Another configuration ────────────────────────────────────────────────────────────────────────────────────────────


def renewed(world: World, *, dtab: str | None = None, connect_timeout_ms: int = 0, timeout_ms: int = 0) -> Router:
    """Give a router `http` like the world's, but for what is told."""
    interpreter = world.router.interpreter
    if dtab is not None:
        interpreter = LocalInterpreter(Live.ok(Dtab.read(dtab)), Namers([world.table]))
    return Router(
        "http",
        interpreter,
        world.router.transformers,
        service_policy=lambda path: ServicePolicy(total_timeout_ms=timeout_ms or len(path)),
        client_policy=lambda client: ClientPolicy(connect_timeout_ms=connect_timeout_ms or len(client)),
    )


async def test_with_the_same_router_the_engine_is_told_nothing() -> None:
    world = World()
    world.table.at("web", 1)
    world.ask(7)
    told = len(world.engine.journal)
    await world.binder.replan([world.router])
    assert len(world.engine.journal) == told


async def test_a_new_router_answers_what_was_asked_before_and_what_is_unknown_to_it_keeps_its_answer() -> None:
    world = World()
    world.table.at("web", 1)
    world.table.at("other", 2)
    world.ask(7)
    world.table.names[b"slow"] = Source()
    await world.binder.replan([renewed(world, dtab="/svc => /#/t/slow")])
    assert world.outcome(7) == to((1.0, "/#/t/web")), "until the namer has answered"
    world.table.at("web", 3)
    assert world.state("/#/t/web") == EndpointsKnown(addresses=[("127.0.0.1", 3, 1.0)]), "and it is kept current"
    world.table.at("slow", 4)
    assert world.outcome(7) == to((1.0, "/#/t/slow", "/web"))
    assert list(world.engine.clients) == [("http", "/#/t/slow")]
    await world.binder.replan([renewed(world, dtab="/svc/web => /#/t/other")])
    assert world.outcome(7) == to((1.0, "/#/t/other"))
    world.release(7)
    assert world.engine.clients == {}


async def test_a_changed_client_policy_is_sent_and_put_to_use_by_the_answer_that_follows() -> None:
    world = World()
    world.table.at("web", 1)
    world.ask(7)
    world.ask(8, "/svc/nothing")
    world.engine.journal.clear()
    await world.binder.replan([renewed(world, connect_timeout_ms=99)])
    assert world.engine.clients["http", "/#/t/web"].policy.connect_timeout_ms == 99
    assert [(kind, what) for kind, what, _ in world.engine.journal] == [("endpoints", "/#/t/web"), ("answer", 7)]


async def test_a_changed_service_policy_comes_with_the_answer_again() -> None:
    world = World()
    world.table.at("web", 1)
    world.ask(7)
    await world.binder.replan([renewed(world, timeout_ms=99)])
    assert world.engine.answers[7].policy.total_timeout_ms == 99
    assert world.outcome(7) == to((1.0, "/#/t/web"))


async def test_a_router_that_is_gone_answers_for_the_requests_that_it_has() -> None:
    world = World()
    world.table.at("web", 1)
    world.ask(7)
    await world.binder.replan([])
    world.table.at("late", 2)
    world.ask(8, "/svc/late")
    assert world.outcome(8) == to((1.0, "/#/t/late"))
    world.release(7)
    world.release(8)
    await world.binder.replan([])
    world.ask(9)
    assert world.outcome(9) == BindFailure(message="no router is called http")


async def test_names_that_are_asked_for_and_released_meanwhile_are_right_all_the_same() -> None:
    world = World()
    for number in range(500):
        world.table.at(f"n{number}", 1)
        world.ask(number, f"/svc/n{number}")

    async def meanwhile() -> None:
        world.release(450)
        world.ask(1000, "/svc/n0")

    await asyncio.gather(world.binder.replan([renewed(world, dtab="/svc => /#/t/n7")]), meanwhile())
    expected = {number: to((1.0, "/#/t/n7", f"/n{number}")) for number in range(500) if number != 450}
    assert {number: world.outcome(number) for number in expected} == expected
    assert world.outcome(1000) == to((1.0, "/#/t/n7", "/n0"))
    assert world.binder.tickets == 500


class TestWhatWasKnown:
    """A name or client of which nobody has said anything yet is as it was known."""

    def restarted(self, world: World, settings: StateFile = StateFile(), now: float = 0.0) -> World:  # noqa: B008 - frozen
        """Give a world of the same configuration, whose namers say nothing, with what this one leaves behind."""
        knowledge = Knowledge({"http": "same"}, settings, lambda: 100.0 + now)
        for client in world.binder.known_clients(100.0):
            knowledge.clients.keep(client.key, client)
        for name in world.binder.known_names(100.0):
            knowledge.names.keep(name.key, name)
        other = World()
        other.binder = Binder([other.router], other.engine, knowledge)
        return other

    def known(self) -> World:
        world = World()
        world.table.endpoints[b"web"] = Source(
            Ok(AddressSet((Address("127.0.0.1", 1),), origin=Origin("table", "7", 90.0, 95.0)))
        )
        world.table.names[b"web"] = Source(Ok(True))
        world.ask(1, "/svc/web/rest")
        return world

    def test_a_failure_is_answered_from_what_was_known(self) -> None:
        world = self.restarted(self.known())
        world.table.names[b"web"] = Source(Failed(ResolutionError("away")))
        world.ask(1, "/svc/web/rest")
        assert world.outcome(1) == to((1.0, "/#/t/web", "/rest"))
        assert world.state("/#/t/web") == EndpointsKnown(addresses=[("127.0.0.1", 1, 1.0)])
        ((_, origin),) = world.binder.origins()
        assert (origin.registry, origin.version, origin.error, origin.remembered) == ("table", "7", "away", True)

    def test_the_first_word_wins_even_if_it_is_that_there_is_nothing(self) -> None:
        world = self.restarted(self.known())
        names: Source[bool] = Source(Failed(ResolutionError("away")))
        world.table.names[b"web"] = names
        world.ask(1, "/svc/web/rest")
        names.set(False)
        assert world.outcome(1) == NegativeTree()
        names.fail(ResolutionError("away again"))
        assert isinstance(world.outcome(1), BindFailure)

    async def test_endpoints_that_are_told_at_last_take_the_place_of_those_that_were_known(self) -> None:
        world = self.restarted(self.known())
        names: Source[bool] = Source(Failed(ResolutionError("away")))
        world.table.names[b"web"] = names
        world.ask(1, "/svc/web/rest")
        names.set(True)
        # Where it is, nobody has said yet.
        assert world.state("/#/t/web") == EndpointsKnown(addresses=[("127.0.0.1", 1, 1.0)])
        world.table.at("web", 2)
        assert world.state("/#/t/web") == EndpointsKnown(addresses=[("127.0.0.1", 2, 1.0)])

    def test_a_table_that_leads_nowhere_is_no_registry_that_is_away(self) -> None:
        world = self.restarted(self.known())
        world.base.set(Dtab.read("/svc=>/svc"))
        world.ask(1, "/svc/web/rest")
        assert isinstance(world.outcome(1), BindFailure)

    def test_what_can_not_be_read_is_not_used(self) -> None:
        world = self.restarted(World())
        branches: list[tuple[float, str | None, str]] = [(1.0, "no path", "/")]
        known = KnownName(router="http", path="/svc/web", branches=branches, at=100.0)
        world.binder.knowledge.names.keep(known.key, known)
        world.table.names[b"web"] = Source(Failed(ResolutionError("away")))
        world.ask(1, "/svc/web")
        assert isinstance(world.outcome(1), BindFailure)

    def test_what_is_too_old_is_not_used(self) -> None:
        world = self.restarted(self.known(), StateFile(max_age_secs=60), now=61.0)
        world.table.names[b"web"] = Source(Failed(ResolutionError("away")))
        world.ask(1, "/svc/web/rest")
        assert isinstance(world.outcome(1), BindFailure)

    async def test_who_says_nothing_is_waited_for(self) -> None:
        world = self.restarted(self.known(), StateFile(patience_ms=50))
        world.table.names[b"web"] = Source()
        assert world.ask(1, "/svc/web/rest") is None
        await asyncio.sleep(0.1)
        assert world.outcome(1) == to((1.0, "/#/t/web", "/rest"))

    def test_a_request_with_a_table_of_its_own_is_bound_afresh(self) -> None:
        world = self.restarted(self.known())
        world.table.names[b"web"] = Source(Failed(ResolutionError("away")))
        world.ask(1, "/svc/web/rest", "/x=>/y")
        assert isinstance(world.outcome(1), BindFailure)

    def test_a_client_that_is_in_use_is_not_taken_back_to_what_was_known(self) -> None:
        world = self.restarted(self.known())
        world.table.at("web", 2)
        world.ask(1, "/svc/web")
        world.table.names[b"web"] = Source(Failed(ResolutionError("away")))
        world.ask(2, "/svc/web/rest")
        assert world.outcome(2) == to((1.0, "/#/t/web", "/rest"))
        assert world.state("/#/t/web") == EndpointsKnown(addresses=[("127.0.0.1", 2, 1.0)])
        world.table.at("web", 3)
        assert world.state("/#/t/web") == EndpointsKnown(addresses=[("127.0.0.1", 3, 1.0)])

    def test_a_name_that_was_let_go_is_remembered(self) -> None:
        world = self.known()
        world.release(1)
        world.table.names[b"web"] = Source(Failed(ResolutionError("away")))
        world.ask(2, "/svc/web/rest")
        assert world.outcome(2) == to((1.0, "/#/t/web", "/rest"))

    def test_what_was_known_by_another_configuration_is_forgotten(self) -> None:
        world = self.restarted(self.known())
        world.binder.knowledge.replan({"http": "other"}, StateFile())
        world.table.names[b"web"] = Source(Failed(ResolutionError("away")))
        world.ask(1, "/svc/web/rest")
        assert isinstance(world.outcome(1), BindFailure)
