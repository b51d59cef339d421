"""Approximate matrix products: rows of A and columns of B are two sources whose moments are known exactly."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

import numpy as np
from scipy import sparse

from tony.errors import TonyError
from tony.projections.balance import ROUNDING
from tony.projections.inputs import as_rows
from tony.projections.projection import AsymmetricRandomProjection


@dataclass(frozen=True)
class Product:
    """An estimate of A @ B, and how far off it is to be expected, in the Frobenius norm; rounding is counted in."""

    estimate: np.ndarray  # (n, m)
    expected_squared_error: float  # E |estimate - A B|_F^2 over draws, in closed form

    def bound(self, failure: float = 0.05) -> float:
        """|estimate - A B|_F is at most this in all but a share `failure` of the draws (Markov's inequality)."""
        if not isinstance(failure, Real) or not 0 < failure < 1:
            raise TonyError(f"failure={failure!r} must lie between 0 and 1")
        return float(np.sqrt(self.expected_squared_error / failure))


def approximate_matmul(A, B, k, *, method="auto", projection="gaussian", random_state=None) -> Product:
    """A @ B of (n, d) and (d, m) through k numbers for each row and column, O((n + m) d k + n m k).

    Nothing is held out, as the matrices themselves are all that the product will ever see: the moments are exact, and
    so is the expected error where they are kept whole (diagonal and low-rank methods of more than 256 inner dimensions
    model tr(A A^T B B^T), which is small beside the rest). "diagonal" costs two passes over the data, "low-rank" two
    products with 160 columns.
    """
    if hasattr(A, "columns") and hasattr(B, "index") and list(A.columns) != list(B.index):
        raise TonyError("the columns of A are not the rows of B in their order: give A[B.index] or arrays")
    A, B = as_rows(A), as_rows(B)
    for name, matrix in (("A", A), ("B", B)):
        if np.ndim(matrix) != 2 and not sparse.issparse(matrix):
            raise TonyError(f"{name} has shape {np.shape(matrix)}: a matrix has two dimensions")
    columns = B.T.tocsr() if sparse.issparse(B) else np.asarray(B).T
    if np.shape(A)[1] != columns.shape[1]:
        raise TonyError(f"A is {np.shape(A)} and B is {np.shape(B)}: the inner dimensions differ")
    sketch = AsymmetricRandomProjection(k, method, projection, shrinkage=0.0, random_state=random_state)
    sketch.fit(A, other=columns)
    estimate = sketch.inner_products(A, columns)
    # Balanced coordinates may be as ill-conditioned as ROUNDING allows: nothing is known better than that.
    left, right = sketch._moments()
    rounding = max(ROUNDING, float(np.finfo(estimate.dtype).eps)) ** 2 * left.trace * right.trace
    return Product(estimate, estimate.size * max(sketch.expected_error(), rounding))
