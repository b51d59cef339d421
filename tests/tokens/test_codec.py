"""Protects: a neighbour of a code differs from it by one step in one dimension, and by nothing else."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tony.tokens.codec import neighbours

levels = st.lists(st.integers(2, 8), min_size=1, max_size=5)


def digits(index, levels):
    out = []
    for level in levels:
        index, digit = divmod(index, level)
        out.append(digit)
    return out


@given(levels=levels, seed=st.integers(0, 2**32))
def test_one_digit_moves_by_one(levels, seed):
    rng = np.random.default_rng(seed)
    indices = rng.integers(math.prod(levels), size=50)
    for before, after in zip(indices, neighbours(indices, levels, rng), strict=True):
        assert 0 <= after < math.prod(levels)
        moved = np.abs(np.subtract(digits(before, levels), digits(after, levels)))
        assert sorted(moved) == [0] * (len(levels) - 1) + [1]


def test_every_neighbour_comes_up():
    found = set(neighbours(np.full(500, 1 + 4 * 1), (4, 3), np.random.default_rng(0)).tolist())
    assert found == {0 + 4, 2 + 4, 1, 1 + 8}
