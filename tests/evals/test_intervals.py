"""Protects: intervals against scipy's, and the paired bootstrap."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tony.evals.intervals import bootstrap, wilson


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
