"""Protects: intervals against scipy's, and the paired bootstrap."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tony.evals.intervals import Z, bootstrap, bootstrap_difference, newcombe, quantile, wilson


@pytest.mark.parametrize("n", [1, 2, 7, 164, 10_000])
def test_wilson_is_scipys(n):
    for right in {0, 1, n // 3, n - 1, n}:
        other = binomtest(right, n).proportion_ci(0.95, method="wilson")
        assert wilson(right / n, n) == pytest.approx((other.low, other.high), abs=1e-12)
    assert wilson(0, n)[0] == 0 and wilson(1, n)[1] == 1


def test_the_bootstrap_has_the_width_that_the_normal_distribution_says():
    values = np.random.default_rng(1).normal(3, 2, 400)
    low, high = bootstrap(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.15 * half)


def test_differences_of_two_means_are_paired():
    """A constant gain has an interval of no width, for both means are redrawn alike."""
    values = np.random.default_rng(2).random(50)
    (low, high), (gained_low, gained_high) = bootstrap(values), bootstrap(values + 0.25)
    assert (gained_low - low, gained_high - high) == pytest.approx((0.25, 0.25))


def test_a_difference_of_shares_has_newcombes_interval():
    """56 of 70 against 48 of 80 in Newcombe 1998, table II, method 10."""
    assert newcombe(56 / 70, 70, 48 / 80, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert newcombe(0.5, 20, 0.5, 20, 2 * Z)[1] > newcombe(0.5, 20, 0.5, 20)[1]


def test_many_intervals_are_each_wider():
    assert quantile(1) == pytest.approx(Z) and quantile(5) == pytest.approx(2.5758, abs=1e-4)  # 99%


def test_a_difference_of_unpaired_means_has_the_width_that_the_normal_distribution_says():
    stream = np.random.default_rng(4)
    one, other = stream.normal(3, 2, 300), stream.normal(1, 1, 500)
    low, high = bootstrap_difference(one, other)
    half = 1.96 * np.sqrt(one.var(ddof=1) / 300 + other.var(ddof=1) / 500)
    middle = one.mean() - other.mean()
    assert (low, high) == pytest.approx((middle - half, middle + half), abs=0.15 * half)
