"""95% intervals of shares and means over independent questions or problems."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Z = 1.959963984540054  # the normal distribution's 97.5% quantile
REDRAWS = 2000


def quantile(intervals: int) -> float:
    """What takes the place of Z where so many intervals are to be right together in 95% (Bonferroni)."""
    from scipy.stats import norm

    return float(norm.isf(0.025 / intervals))


def wilson(share: float, n: int, z: float = Z) -> tuple[float, float]:
    """Of a share of n (Wilson 1927): a share of 0 or 1 has an interval of some width too."""
    centre, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if share == 0 else (centre - half) / (1 + z * z / n)  # exactly, whatever the rounding
    high = 1.0 if share == 1 else (centre + half) / (1 + z * z / n)
    return low, high


def newcombe(share: float, n: int, other: float, m: int, z: float = Z) -> tuple[float, float]:
    """Of share - other, of n and of m others, from their Wilson intervals (Newcombe 1998, method 10)."""
    (low, high), (other_low, other_high) = wilson(share, n, z), wilson(other, m, z)
    difference = share - other
    return (
        difference - math.hypot(share - low, other_high - other),
        difference + math.hypot(high - share, other - other_low),
    )


def student(values: Sequence[float]) -> tuple[float, float]:
    """Of the mean of `values`, by Student's t; of one value it is not known (NaN)."""
    from scipy.stats import t

    n = len(values)
    if n == 1:
        return math.nan, math.nan
    mean = math.fsum(values) / n
    error = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)
    half = float(t.ppf(0.975, n - 1)) * error
    return mean - half, mean + half


def bootstrap(values: Sequence[float] | np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Of the mean of `values`: percentiles of the means of redrawn values.

    The same seed redraws the same places, so intervals of differences of two means are paired.
    """
    values = np.asarray(values, float)
    rows = np.random.default_rng(seed).integers(len(values), size=(REDRAWS, len(values)))
    low, high = np.quantile(values[rows].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def bootstrap_difference(
    values: Sequence[float], others: Sequence[float], seed: int = 0
) -> tuple[float, float]:
    """Of mean(values) - mean(others), where nothing pairs the two: each is redrawn for itself."""
    stream = np.random.default_rng(seed)
    groups = [np.asarray(group, float) for group in (values, others)]
    means = np.array([[stream.choice(group, len(group)).mean() for group in groups] for _ in range(REDRAWS)])
    low, high = np.quantile(means[:, 0] - means[:, 1], (0.025, 0.975))
    return float(low), float(high)
