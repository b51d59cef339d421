"""Closed forms of the error: what a random projection costs, for a pair and on average over two sources.

R is (d, k), the estimate of t = <x, w> is (R^T x) . (R^T w). With p = |x|^2 |w|^2 and q = sum_i x_i^2 w_i^2,

    Var = alpha p + beta t^2 + gamma q

for every projection here; only the coefficients differ. The expectation over independent x and w with second moments
A and B replaces p by tr A tr B, t^2 by tr(A B) and q by sum_i A_ii B_ii. Source: the sheet on Asymmetric Random
Projections (Ryder, Karnin and Liberty, arXiv 1906.09489), sections 2 and 5; the tests check each by simulation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PROJECTIONS = ("gaussian", "sign", "sparse", "countsketch", "orthogonal", "srht")

FEW = 16  # coordinates left to chance, up to which their joint probabilities are simulated
SIMULATED = 4096  # samples


def sparsity(width: int) -> float:
    """s of the sparse projection: an entry is non-zero with probability 1/s (Li, Hastie and Church 2006: sqrt(d))."""
    return max(1.0, float(np.sqrt(width)))


def padded(width: int) -> int:
    """The power of two that the Hadamard transform works on."""
    return 1 << max(0, int(width) - 1).bit_length()


def coefficients(projection: str, width: int, k: int) -> tuple[float, float, float]:
    """(alpha, beta, gamma) of the variance of one estimate, from `width` coordinates to `k`."""
    if projection == "gaussian":
        return 1 / k, 1 / k, 0.0
    if projection in ("sign", "countsketch"):
        return 1 / k, 1 / k, -2 / k
    if projection == "sparse":
        return 1 / k, 1 / k, (sparsity(width) - 3) / k
    if projection == "srht":
        d = padded(width)
        left = (d - k) / (d - 1) / k if d > 1 else 0.0
        return left, left, -2 * left
    if projection == "orthogonal":
        d = width
        if k >= d:
            return 0.0, 0.0, 0.0
        a = (k**2 * (d + 1) - 2 * k) / (d * (d - 1) * (d + 2))
        b = k * (d - k) / (d * (d - 1) * (d + 2))
        return (d / k) ** 2 * b, (d / k) ** 2 * (a + b) - 1, 0.0
    raise AssertionError(projection)


@dataclass(frozen=True)
class Tails:
    """Two sources seen in the coordinates of a basis, without the first r of them, for r = 0..m.

    Coordinates 0..m-1 are ordered (balanced); behind them come `ambient` more, which belong to every tail.
    """

    left: np.ndarray  # (m + 1,) tr A' of the tail
    right: np.ndarray  # (m + 1,) tr B' of the tail
    cross: np.ndarray  # (m + 1,) tr(A' B') of the tail
    aligned: np.ndarray  # (m + 1,) sum_i A'_ii B'_ii of the tail
    ambient: int

    @property
    def size(self) -> int:
        """m, the number of ordered coordinates."""
        return len(self.left) - 1

    def projected(self, projection: str, k: int, exact: int = 0) -> float:
        """Mean squared error of keeping `exact` coordinates and projecting the tail to k - exact numbers."""
        width = self.size - exact + self.ambient
        if width == 0:
            return 0.0
        if exact >= k:
            return float("inf")
        alpha, beta, gamma = coefficients(projection, width, k - exact)
        spread = alpha * self.left[exact] * self.right[exact]
        # Where the tail holds nothing, what is left of its sums is rounding, of either sign.
        return max(float(spread + beta * self.cross[exact] + gamma * self.aligned[exact]), 0.0)

    def truncated(self, k: int) -> float:
        """Mean squared error, bias included, of keeping k coordinates and dropping the tail."""
        return max(float(self.cross[min(k, self.size)]), 0.0)


def inclusion(spectrum: np.ndarray, k: int) -> tuple[int, np.ndarray]:
    """(r, probabilities) of the optimal unbiased sampler: the first r of `spectrum` (descending) for certain.

    r is the smallest with (k - r) lambda_{r+1} <= sum_{i > r} lambda_i; the rest are drawn with probability
    (k - r) lambda_i / sum_{i > r} lambda_i, so that the probabilities sum to k.
    """
    if k >= len(spectrum):
        return len(spectrum), np.ones(len(spectrum))
    tail = np.cumsum(spectrum[::-1])[::-1]
    ranks = np.arange(k)
    r = int(np.argmax((k - ranks) * spectrum[:k] <= tail[:k] * (1 + 1e-12)))
    probabilities = np.ones(len(spectrum))
    probabilities[r:] = np.minimum(1.0, (k - r) * spectrum[r:] / tail[r])
    return r, probabilities


def sampled(products: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean squared error of Horvitz-Thompson sampling, for products = A' * B' elementwise (m, m).

    E Var = sum_ij A'_ij B'_ij (p_ij / (p_i p_j) - 1). On the diagonal p_ii = p_i, exactly. Off it p_ij is counted in
    simulated samples where few coordinates are left to chance, and Hajek's approximation
    p_i p_j (1 - (1 - p_i)(1 - p_j) / sum p (1 - p)) where many are. In the balanced basis of A and B themselves the
    off-diagonal terms vanish and the value is exact.
    """
    open_ones = np.flatnonzero(probabilities < 1)
    if 0 < len(open_ones) <= FEW:
        p, some = probabilities[open_ones], products[np.ix_(open_ones, open_ones)]
        joint = _joint(p)
        return max(float((some * (joint / np.outer(p, p) - 1)).sum()), 0.0)
    free = 1 - probabilities
    diagonal = np.diag(products)
    variance = float(diagonal @ (1 / probabilities - 1))
    spread = float(probabilities @ free)
    if spread > 0:
        variance -= (free @ products @ free - diagonal @ free**2) / spread
    return max(variance, 0.0)


def _joint(probabilities: np.ndarray) -> np.ndarray:
    """(n, n) how often two of n coordinates are drawn together by `draws.sample`: systematic, in random order."""
    rng, n = np.random.default_rng(0), len(probabilities)
    order = np.argsort(rng.random((SIMULATED, n)), axis=1)
    ends = np.cumsum(probabilities[order], axis=1) + rng.random((SIMULATED, 1))
    starts = np.floor(np.concatenate([ends[:, :1] - probabilities[order[:, :1]], ends[:, :-1]], axis=1))
    drawn = np.zeros((SIMULATED, n))
    np.put_along_axis(drawn, order, np.floor(ends) - starts, axis=1)
    joint = drawn.T @ drawn / SIMULATED
    np.fill_diagonal(joint, probabilities)  # known exactly
    return joint
