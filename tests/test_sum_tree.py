"""SumTree against a plain list whose running sums are added up again each time."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from simple_dqn.memory.sum_tree import SumTree

numbers = st.one_of(st.just(0.0), st.floats(1e-3, 1e3))


def naive_find(leaves: list[float], wanted: float) -> int:
    running = 0.0
    for index, leaf in enumerate(leaves):
        running += leaf
        if running > wanted:
            return index
    raise AssertionError("beyond the total")


@settings(max_examples=100, deadline=None)
@given(
    size=st.sampled_from([1, 2, 63, 64, 65, 200, 4096, 4097, 5000]),
    changes=st.lists(
        st.lists(st.tuples(st.integers(0, 10**6), numbers), min_size=1, max_size=20), max_size=6
    ),
    shares=st.lists(
        st.floats(0, 1, exclude_max=True, allow_subnormal=False), min_size=1, max_size=8
    ),
)
@example(size=65, changes=[[(64, 1.0)], [(0, 0.0)]], shares=[0.0, 0.5])
def test_tree_agrees_with_a_list(
    size: int, changes: list[list[tuple[int, float]]], shares: list[float]
) -> None:
    tree, leaves = SumTree(size), [0.0] * size
    for change in changes:
        last = {index % size: number for index, number in change}
        tree[np.array(list(last))] = np.array(list(last.values()))
        for index, number in last.items():
            leaves[index] = number
    assert tree.total == pytest.approx(sum(leaves), rel=1e-12)
    np.testing.assert_array_equal(tree[np.arange(size)], leaves)
    if tree.total == 0:
        return
    # In the middle of a leaf's own part of the sum, where rounding cannot decide.
    starts = np.cumsum([0.0, *leaves])[:-1]
    positive = np.flatnonzero(leaves)
    middles = starts[positive] + np.array(leaves)[positive] / 2
    np.testing.assert_array_equal(tree.find(middles), positive)
    assert [naive_find(leaves, middle) for middle in middles] == positive.tolist()
    # Anywhere, edges included: never a leaf of 0.
    anywhere = np.array([*shares, 0.0, np.nextafter(1, 0)]) * tree.total
    assert (tree[tree.find(anywhere)] > 0).all()
