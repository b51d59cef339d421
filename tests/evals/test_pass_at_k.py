"""Protects pass@k: against the paper sheet's values, rational arithmetic, brute force, and its interval's honesty."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from tony.errors import TonyError
from tony.evals.pass_at_k import pass_at_k, pass_rate


@pytest.mark.parametrize(
    ("n", "c", "k", "value"),
    [(200, 1, 1, 0.005), (200, 1, 10, 0.05), (200, 1, 100, 0.5), (200, 10, 10, 0.408547866),
     (10, 3, 5, 0.916667), (5, 2, 3, 0.9), (100, 4, 10, 0.348369), (5, 4, 3, 1.0), (7, 0, 3, 0.0)],
)  # fmt: skip
def test_published_values(n, c, k, value):
    assert pass_at_k(n, c, k) == pytest.approx(value, abs=1e-6)


def test_equals_the_product_of_fractions_up_to_a_thousand_samples():
    for n, c, k in [(1000, c, k) for c in (0, 1, 17, 500, 999, 1000) for k in (1, 10, 100, 1000)]:
        left = Fraction(1)
        for i in range(n - c + 1, n + 1):
            left *= 1 - Fraction(k, i)
        assert abs(pass_at_k(n, c, k) - (1 - left if n - c >= k else 1)) < 1e-12


def test_equals_all_subsets():
    right = [True, False, False, True, False, False, False]
    drawn = [any(chosen) for chosen in combinations(right, 3)]
    assert pass_at_k(7, 2, 3) == pytest.approx(np.mean(drawn))


def test_the_interval_is_over_problems():
    counts = [(20, 20)] * 30 + [(20, 0)] * 70
    rate = pass_rate(counts, 1)
    assert rate.value == pytest.approx(0.3) and rate.n == 100
    assert rate.high - rate.low == pytest.approx(
        2 * 1.96 * (0.3 * 0.7 / 100) ** 0.5, rel=0.1
    )  # not a twentieth of it


def test_no_success_has_an_interval_of_some_width():
    rate = pass_rate([(20, 0)] * 100, 10)
    assert rate.value == rate.low == 0 and 0.03 < rate.high < 0.05


def test_bad_input_is_one_line():
    with pytest.raises(TonyError, match="pass@5"):
        pass_at_k(4, 1, 5)
    with pytest.raises(TonyError, match="draw more"):
        pass_rate([(4, 1)], 5)
