"""Random paths, trees and dtabs: `any_` ones of every form, the others from few names so that they meet each other."""

from __future__ import annotations

from hypothesis import strategies as st

from biandou.dtab import EMPTY, FAIL, NEG, Alt, Dentry, Dtab, Leaf, NameTree, Path, Prefix, Union, Weighted

any_segments = st.one_of(st.binary(min_size=1, max_size=6), st.sampled_from([b"*", b"#", b"$", b"/", b"~", b"a b"]))
any_paths = st.lists(any_segments, max_size=5).map(lambda segments: Path(tuple(segments)))
any_weights = st.one_of(
    st.just(1.0), st.floats(min_value=0, allow_nan=False, allow_infinity=False), st.integers(0, 100).map(float)
)

segments = st.sampled_from([b"a", b"b", b"c"])
paths = st.lists(segments, min_size=1, max_size=3).map(lambda segments: Path(tuple(segments)))
# Most names go on to a namer, or nearly every delegation would be a loop.
names = st.one_of(paths, paths.map(lambda path: Path.of("#") + path), paths.map(lambda path: Path.of("#") + path))
elements = st.one_of(segments, segments, segments, st.none())
# The empty prefix matches every name, also the one it leads to: rare, or again nearly everything would be a loop.
prefixes = st.integers(0, 15).flatmap(
    lambda rare: st.lists(elements, min_size=1 if rare else 0, max_size=3).map(lambda e: Prefix(tuple(e)))
)


def trees_of(
    leaves: st.SearchStrategy[Path], weights: st.SearchStrategy[float] = any_weights, smallest: int = 2
) -> st.SearchStrategy[NameTree[Path]]:
    ends: st.SearchStrategy[NameTree[Path]] = st.sampled_from([NEG, FAIL, EMPTY])
    return st.recursive(
        st.one_of(leaves.map(Leaf), leaves.map(Leaf), ends),
        lambda inner: st.one_of(
            st.lists(inner, min_size=smallest, max_size=3).map(lambda trees: Alt(tuple(trees))),
            st.lists(st.builds(Weighted, weights, inner), min_size=smallest, max_size=3).map(
                lambda branches: Union(tuple(branches))
            ),
        ),
        max_leaves=5,
    )


any_prefixes = st.lists(st.one_of(any_segments, st.none()), max_size=4).map(lambda e: Prefix(tuple(e)))
any_dtabs = st.lists(st.builds(Dentry, any_prefixes, trees_of(any_paths)), max_size=4).map(Dtab)
trees = trees_of(names, st.sampled_from([1.0, 0.5, 3.0]))
dentries = st.builds(Dentry, prefixes, trees)
dtabs = st.lists(dentries, max_size=6).map(Dtab)
