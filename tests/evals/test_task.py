"""Protects: results and the intervals that stand beside every share and mean."""

import math

import pytest

from tony.evals.task import Result


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), table I, method 3 (score without continuity correction).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_equals_published_values(right, n, low, high):
    result = Result.share("x", right, n)
    assert (round(result.low, 4), round(result.high, 4)) == (low, high)
    assert result.value == right / n and result.n == n


def test_the_interval_of_a_mean_is_students():
    result = Result.mean("m", [0.0, 0.5, 1.0, 0.5], "F1")
    half = 3.182446305284263 * math.sqrt(0.5 / 3 / 4)  # t of 3 degrees of freedom at 97.5%
    assert (result.value, result.n) == (0.5, 4)
    assert (result.low, result.high) == pytest.approx((0.5 - half, 0.5 + half))
    assert math.isnan(Result.mean("m", [1.0], "F1").low)


def test_forms():
    result = Result.share("x", 9, 10)
    assert set(result.to_dict()) == {"name", "metric", "value", "low", "high", "n"}
    assert set(result.as_cell()) == {"accuracy", "low", "high", "n"}
    assert 0 < result.low < 0.9 < result.high < 1
