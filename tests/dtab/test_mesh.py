"""The messages of `io.l5d.mesh`: byte for byte what protoc's own code makes of `mesh.proto`, and hostile bytes."""

from __future__ import annotations

import random
from typing import Any

import pytest

from biandou.dtab import EMPTY, FAIL, NEG, Alt, Dentry, Dtab, Leaf, NameTree, Path, Union
from biandou.dtab.bound import WEIGHT, Address, AddressSet, Bound, Negative
from biandou.dtab.explain import Absent, Alternatives, Broken, Found, Refused, Shares, Step, Transformed, Vacant
from biandou.dtab.mesh import (
    MAX_NESTING,
    Asked,
    bound_leaf,
    bound_leaf_reader,
    decode_asked,
    decode_delegation,
    decode_dtab,
    decode_path,
    decode_tree,
    encode_asked,
    encode_delegation,
    encode_dtab,
    encode_path,
    encode_tree,
    read_path_leaf,
)
from biandou.dtab.mesh_replicas import decode_replicas, encode_replicas
from biandou.dtab.protobuf import MalformedMessage, bytes_field
from biandou.dtab.tree import Weighted
from biandou.live import PENDING, Failed, Live, Ok, State

P = Path.read


def bound(client: Path, residual: Path | None = None) -> Bound:
    return Bound(client, Live(), residual or Path())


# What protoc 1.85's Python code writes for these values; its order of a map's entries is its own.
DTAB = "/svc/*/x => 0.25*/a & 0.75*(/b | ! | $) ; /\\xff\\x00 => ~ ; / => /z"
DTAB_BYTES = (
    "0a4a0a100a050a037376630a0212000a030a017812362a340a1209000000000000d03f120732050a030a01610a1e09000000000000e83f"
    "121322110a0732050a030a01620a0212000a021a000a0c0a060a040a02ff0012020a000a0b0a00120732050a030a017a"
)
TREE = Union(
    (
        Weighted(0.0, Leaf(bound(P("/#/x/y"), P("/r")))),
        Weighted(1.0, Alt((FAIL, EMPTY, NEG, Leaf(bound(P("/$/inet/1/2")))))),
    )
)
TREE_BYTES = (
    "2a480a14121232100a090a01230a01780a017912030a01720a3009000000000000f03f122522230a0212000a021a000a020a000a153213"
    "0a0f0a01240a04696e65740a01310a01321200"
)
REPLICAS: list[tuple[State[Any], str]] = [
    (
        Ok(AddressSet((Address("10.0.0.1", 8080, {"nodeName": "n1"}), Address("::1", 80)), {"authority": "web"})),
        "224b0a1f12040a00000118903f22040a026e312a0e0a086e6f64654e616d6512026e31"
        "0a160801121000000000000000000000000000000001185012100a09617574686f726974791203776562",
    ),
    (Ok(Negative()), "1200"),
    (PENDING, "0a00"),
]
ENTRY = Dentry.read("/svc=>/#/x")
DELEGATION = Alternatives(
    path=P("/svc/web"),
    dentry=None,
    trees=(
        Found(path=P("/a"), dentry=ENTRY, bound=bound(P("/#/x/w"), P("/r"))),
        Refused(path=P("/b"), dentry=ENTRY),
        Vacant(path=P("/c"), dentry=ENTRY),
        Absent(path=Path(), dentry=ENTRY),
        Broken(path=P("/e"), dentry=ENTRY, message="no"),
        Step(
            path=P("/f"),
            dentry=ENTRY,
            tree=Shares(
                path=P("/g"),
                dentry=ENTRY,
                branches=(
                    (0.5, Absent(path=P("/h"), dentry=ENTRY)),
                    (
                        0.0,
                        Transformed(
                            path=P("/i"),
                            dentry=None,
                            name="T",
                            before=bound(P("/#/q")),
                            tree=Found(path=P("/j"), dentry=ENTRY, bound=bound(P("/#/q"))),
                        ),
                    ),
                ),
            ),
        ),
    ),
)
DELEGATION_BYTES = (
    "0a0a0a037376630a03776562120b0a050a030a012f12020a0032fb020a2e0a030a016112150a070a050a03737663120a32080a060a01"
    "230a017842100a090a01230a01780a017712030a01720a1e0a030a016212150a070a050a03737663120a32080a060a01230a0178220"
    "00a1e0a030a016312150a070a050a03737663120a32080a060a01230a01782a000a1b0a0012150a070a050a03737663120a32080a060"
    "a01230a01781a000a3d0a030a016512150a070a050a03737663120a32080a060a01230a01785a1f426f756e6444656c65676174655472"
    "656520457863657074696f6e3a206e6f0aac010a030a016612150a070a050a03737663120a32080a060a01230a01784a8d010a030a01"
    "6712150a070a050a03737663120a32080a060a01230a01783a6f0a2909000000000000e03f121e0a030a016812150a070a050a037376"
    "63120a32080a060a01230a01781a000a4212400a030a016952390a0154120a0a060a01230a017112001a280a030a016a12150a070a05"
    "0a03737663120a32080a060a01230a0178420a0a060a01230a01711200"
)
BIND = "0a090a0764656661756c74120a0a037376630a037765621a00"


def test_a_dtab_is_what_protoc_makes_of_it() -> None:
    assert encode_dtab(Dtab.read(DTAB)).hex() == DTAB_BYTES
    assert decode_dtab(bytes.fromhex(DTAB_BYTES)) == Dtab.read(DTAB)


def test_a_bound_tree_is_what_protoc_makes_of_it() -> None:
    assert encode_tree(TREE, bound_leaf).hex() == TREE_BYTES
    assert decode_tree(bytes.fromhex(TREE_BYTES), bound_leaf_reader(bound)) == TREE


@pytest.mark.parametrize(("state", "message"), REPLICAS)
def test_replicas_are_what_protoc_makes_of_them(state: State[Any], message: str) -> None:
    assert encode_replicas(state).hex() == message
    assert decode_replicas(bytes.fromhex(message)) == state


def test_a_failure_keeps_its_reason() -> None:
    message = encode_replicas(Failed(ValueError("no")))
    assert message.hex() == "1a040a026e6f"
    state = decode_replicas(message)
    assert isinstance(state, Failed)
    assert str(state.error) == "no"


@pytest.mark.parametrize("message", ["1a00", "1a020a00"])
def test_a_failure_without_a_reason_says_so(message: str) -> None:
    state = decode_replicas(bytes.fromhex(message))
    assert isinstance(state, Failed)
    assert str(state.error) == "namerd gives no reason"


def test_a_delegation_is_what_protoc_makes_of_it() -> None:
    assert encode_delegation(DELEGATION).hex() == DELEGATION_BYTES
    assert decode_delegation(bytes.fromhex(DELEGATION_BYTES), bound) == DELEGATION


def test_what_is_asked_is_what_protoc_makes_of_it() -> None:
    assert encode_asked(P("/default"), encode_path(P("/svc/web")), Dtab()).hex() == BIND
    assert decode_asked(bytes.fromhex(BIND)) == Asked(P("/default"), encode_path(P("/svc/web")), Dtab())


def test_metadata_become_text_and_a_weight_a_number_again() -> None:
    """Over the reference's mesh a weight stays text, which weighs nothing (reference/naming.md §8.4)."""
    meta = {WEIGHT: 2.5, "yes": True, "list": [1, "a"], "empty": ""}
    state = decode_replicas(encode_replicas(Ok(AddressSet((Address("10.0.0.1", 80, meta),)))))
    assert isinstance(state, Ok)
    assert isinstance(state.value, AddressSet)
    (address,) = state.value.addresses
    assert address.meta == {WEIGHT: 2.5, "yes": "true", "list": '[1,"a"]', "empty": ""}
    assert address.weight == 2.5


def test_unknown_fields_are_passed_over_and_the_last_of_several_nodes_counts() -> None:
    later = bytes.fromhex("78051a00") + bytes.fromhex("f2060161") + bytes.fromhex("1200")
    assert decode_tree(later, read_path_leaf) is FAIL
    assert decode_path(bytes.fromhex("0a01611d0000000021" + "00" * 8 + "0a0162")) == P("/a/b")


@pytest.mark.parametrize(
    "message",
    [
        "",  # no node
        "32",  # a length is missing
        "3205",  # five bytes are missing
        "ffffffffffffffffffffff",  # a number without an end
        "00",  # the field 0
        "0b0c",  # a group
        "3001",  # a number where a message should be
        "32040a020a00",  # an empty segment
        "2a0d0a0b09000000000000f07f1200",  # an infinite weight
        "2a0d0a0b09000000000000f0bf1200",  # a negative one
        "2a0d0a0b09000000000000f87f1200",  # one that is no number
    ],
)
def test_what_is_no_tree_is_refused(message: str) -> None:
    with pytest.raises(MalformedMessage):
        decode_tree(bytes.fromhex(message), read_path_leaf)


def test_a_tree_may_be_so_deep_and_no_deeper() -> None:
    tree: NameTree[Path] = NEG
    for _ in range(MAX_NESTING):
        tree = Alt((tree,))
    assert decode_tree(encode_tree(tree, encode_path), read_path_leaf) == tree
    with pytest.raises(MalformedMessage, match="too deep"):
        decode_tree(encode_tree(Alt((tree,)), encode_path), read_path_leaf)
    deep = encode_path(P("/a"))
    for _ in range(5000):
        deep = bytes_field(9, deep)
    with pytest.raises(MalformedMessage, match="too deep"):
        decode_delegation(deep, bound)


@pytest.mark.parametrize("endpoint", ["0a00", "12040a000001", "12050a000001011850", "12040a00000118ffff7f", "08021850"])
def test_an_endpoint_without_an_address_and_a_port_is_refused(endpoint: str) -> None:
    message = bytes.fromhex(endpoint)
    with pytest.raises(MalformedMessage):
        decode_replicas(bytes_field(4, bytes_field(1, message)))


def test_bytes_at_random_are_read_or_refused_and_nothing_else() -> None:
    chance = random.Random(5)
    read: list[Any] = [
        decode_asked,
        decode_dtab,
        decode_replicas,
        lambda message: decode_delegation(message, bound),
        lambda message: decode_tree(message, bound_leaf_reader(bound)),
    ]
    good = [bytes.fromhex(text) for text in (DTAB_BYTES, TREE_BYTES, DELEGATION_BYTES, BIND, REPLICAS[0][1])]
    refused = 0
    for _ in range(4000):
        message = bytearray(chance.choice(good))
        for _ in range(chance.randrange(1, 4)):
            message[chance.randrange(len(message))] = chance.randrange(256)
        try:
            chance.choice(read)(bytes(message))
        except MalformedMessage:
            refused += 1
    assert refused


def test_a_request_that_brings_a_dtab_of_more_than_a_bound_is_refused_unread() -> None:
    dentry = "/svc/some-name-that-is-long => /#/io.l5d.fs/another-name"
    small, large = (Dtab.read(";".join([dentry] * count)) for count in (1_000, 2_000))
    asked = encode_asked(P("/default"), encode_path(P("/svc/web")), small)
    assert decode_asked(asked).dtab == small
    with pytest.raises(MalformedMessage, match="at most 131072 bytes"):
        decode_asked(encode_asked(P("/default"), encode_path(P("/svc/web")), large))
