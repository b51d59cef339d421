"""pass@k: how likely it is that one of k samples is right (Chen et al. 2021, section 2.1, equation 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb

import numpy as np

from tony.errors import TonyError
from tony.evals.intervals import bootstrap, wilson


def pass_at_k(n: int, c: int, k: int) -> float:
    """The unbiased estimate 1 - C(n-c, k) / C(n, k), in integers until the last division.

    Args:
        n: samples of one problem.
        c: those that are right.
        k: samples that may be drawn of them.

    Raises:
        TonyError: not 0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise TonyError(
            f"pass@{k} of {c} right in {n} samples: it needs 0 <= right <= samples and 1 <= k <= samples"
        )
    return float(1 - Fraction(comb(n - c, k), comb(n, k)))


@dataclass(frozen=True)
class PassRate:
    """pass@k of a set of problems with its 95% interval over problems; `n` of them had k samples or more."""

    k: int
    value: float
    low: float
    high: float
    n: int


def pass_rate(counts: Sequence[tuple[int, int]], k: int, seed: int = 0) -> PassRate:
    """The mean of pass@k over problems; the interval is the percentile bootstrap over problems.

    Problems and not samples are redrawn: the samples of one problem are alike. Where every problem has the same value
    the bootstrap has no width, so the interval is then Wilson's for that share of problems.

    Args:
        counts: (samples, right ones) of each problem; those with fewer than k samples are left out, and `n` says so.

    Raises:
        TonyError: no problem has k samples.
    """
    values = np.array([pass_at_k(n, c, k) for n, c in counts if n >= k])
    if not len(values):
        raise TonyError(
            f"no problem has {k} samples, so there is no pass@{k}: draw more, or ask for a smaller k"
        )
    return PassRate(k, *rate_over_problems(values, seed), len(values))


def rate_over_problems(values: Sequence[float] | np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """The mean of one share a problem, and its 95% interval: the bootstrap's, or Wilson's where all values are equal."""
    values = np.asarray(values, float)
    if np.ptp(values) == 0:
        mean = float(values.mean())
        return mean, *wilson(mean, len(values))
    return mean_over_problems(values, seed)


def mean_over_problems(values: Sequence[float] | np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """The mean of one value a problem, and its 95% percentile-bootstrap interval over problems."""
    return float(np.mean(values)), *bootstrap(values, seed)
