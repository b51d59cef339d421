"""95% intervals of shares and means over independent questions or problems."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Z = 1.959963984540054  # the normal distribution's 97.5% quantile
REDRAWS = 2000


def wilson(share: float, n: int) -> tuple[float, float]:
    """Of a share of n (Wilson 1927): a share of 0 or 1 has an interval of some width too."""
    centre, half = share + Z * Z / (2 * n), Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    low = 0.0 if share == 0 else (centre - half) / (1 + Z * Z / n)  # exactly, whatever the rounding
    high = 1.0 if share == 1 else (centre + half) / (1 + Z * Z / n)
    return low, high


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
