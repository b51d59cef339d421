"""The random matrices: R (width, k) with E[R R^T] = I, one class of behaviour for dense, sparse and Hadamard ones."""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse

from tony.projections.variance import padded, sparsity


class Hadamard:
    """Subsampled randomised Hadamard transform: random signs, fast Walsh-Hadamard, k of the outputs; O(d log d)."""

    def __init__(self, width: int, k: int, rng: np.random.Generator):
        self.shape = (width, k)
        self.signs = rng.choice([-1.0, 1.0], size=width)
        self.kept = rng.choice(padded(width), size=k, replace=False)

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """rows (n, width) -> (n, k)."""
        width, k = self.shape
        size = padded(width)
        out = np.zeros((rows.shape[0], size), dtype=rows.dtype)
        out[:, :width] = rows * self.signs.astype(rows.dtype)
        half = 1
        while half < size:
            pairs = out.reshape(rows.shape[0], -1, 2, half)
            out = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2)
            half *= 2
        return out.reshape(rows.shape[0], size)[:, self.kept] / rows.dtype.type(np.sqrt(k))


def draw(projection: str, width: int, k: int, rng: np.random.Generator):
    """A random (width, k) matrix: an array, a CSR matrix ("sparse", "countsketch") or a `Hadamard`."""
    if projection == "gaussian":
        return rng.standard_normal((width, k)) / np.sqrt(k)
    if projection == "sign":
        return (2.0 * rng.integers(0, 2, (width, k)) - 1.0) / np.sqrt(k)
    if projection == "orthogonal":
        # QR of a Gaussian matrix is Haar-distributed once the signs of R's diagonal are taken out (Mezzadri 2007).
        q, r = linalg.qr(rng.standard_normal((width, k)), mode="economic")
        return q * np.where(np.diag(r) < 0, -1.0, 1.0) * np.sqrt(width / k)
    if projection == "sparse":
        s = sparsity(width)
        cells = width * k
        filled = rng.choice(cells, size=rng.binomial(cells, 1 / s), replace=False)
        values = rng.choice([-1.0, 1.0], size=len(filled)) * np.sqrt(s / k)
        return sparse.csr_matrix((values, np.divmod(filled, k)), shape=(width, k))
    if projection == "countsketch":
        places = (np.arange(width), rng.integers(0, k, width))
        return sparse.csr_matrix((rng.choice([-1.0, 1.0], size=width), places), shape=(width, k))
    if projection == "srht":
        return Hadamard(width, k, rng)
    raise AssertionError(projection)


def project(rows, matrix) -> np.ndarray:
    """rows @ R, (n, k) dense, whatever form R has."""
    if isinstance(matrix, Hadamard):
        return matrix.apply(rows)
    out = rows @ matrix
    return out.toarray() if sparse.issparse(out) else np.asarray(out)


def sample(probabilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices drawn with the given inclusion probabilities, as many as they sum to: systematic, in random order."""
    order = rng.permutation(len(probabilities))
    ends = np.cumsum(probabilities[order])
    count = round(float(ends[-1]))
    ends *= count / ends[-1]
    picks = np.searchsorted(ends, rng.uniform() + np.arange(count), side="right")
    return np.sort(order[np.minimum(picks, len(order) - 1)])
