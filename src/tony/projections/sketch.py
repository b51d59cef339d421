"""One side of a drawn projection: rows (n, d) -> (n, k), with as little work as the matrices allow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from tony.projections.balance import Basis
from tony.projections.draws import Hadamard, draw, project, sample
from tony.projections.moments import chunks


@dataclass(frozen=True)
class Folded:
    """x -> x @ columns: change of coordinates and projection in one product, the cost of any dense projection."""

    columns: np.ndarray  # (d, k)

    def apply(self, rows) -> np.ndarray:
        """rows (n, d), dense or CSR -> (n, k) in the rows' precision."""
        return np.asarray(rows @ self.columns.astype(rows.dtype))

    def dense(self) -> np.ndarray:
        """(d, k)."""
        return self.columns


@dataclass(frozen=True)
class Light:
    """x -> [x @ exact ; [inner @ inside ; stretch * x - inner @ span^T] @ R] with inner = (stretch * x) @ span.

    For a sparse or Hadamard R before which T is diagonal plus low rank: nothing of d x k is formed.
    """

    exact: np.ndarray  # (d, r)
    stretch: np.ndarray  # (d,)
    span: np.ndarray  # (d, m)
    inside: np.ndarray  # (m, m - r)
    matrix: sparse.csr_matrix | Hadamard  # (m - r + d, k - r)

    def apply(self, rows) -> np.ndarray:
        """rows (n, d), dense or CSR -> (n, k) in the rows' precision."""
        kind = rows.dtype
        if sparse.issparse(rows) and isinstance(self.matrix, Hadamard):
            # The transform fills every row: a piece at a time.
            pieces = chunks(rows, rows.shape[1], as_dense=True)
            return np.vstack([self.apply(piece.toarray().astype(kind)) for piece in pieces])
        scaled = (
            rows.multiply(self.stretch.astype(kind)).tocsr()
            if sparse.issparse(rows)
            else rows * self.stretch.astype(kind)
        )
        inner = np.asarray(scaled @ self.span.astype(kind))
        rest = (
            self._hadamard(scaled, inner)
            if isinstance(self.matrix, Hadamard)
            else self._sparse(scaled, inner)
        )
        return np.hstack([np.asarray(rows @ self.exact.astype(kind)), rest])

    def _hadamard(self, scaled, inner: np.ndarray) -> np.ndarray:
        ambient = scaled - inner @ self.span.T.astype(inner.dtype)
        return project(np.hstack([inner @ self.inside.astype(inner.dtype), ambient]), self.matrix)

    def _sparse(self, scaled, inner: np.ndarray) -> np.ndarray:
        matrix = self.matrix.astype(inner.dtype)
        first, behind = matrix[: self.inside.shape[1]], matrix[self.inside.shape[1] :]
        out = project(scaled, behind)
        if inner.shape[1]:
            # (R2^T span)^T and inside @ R1 are (m, k - r): the ambient rows are never made orthogonal one by one.
            out += inner @ (first.T @ self.inside.T - behind.T @ self.span).T.astype(inner.dtype)
        return out

    def dense(self) -> np.ndarray:
        """(d, k)."""
        width = len(self.stretch)
        return np.vstack(
            [
                self.apply(piece)
                for piece in chunks(sparse.identity(width, format="csr"), width, as_dense=True)
            ]
        )


def drawn(basis: Basis, exact: int, projection: str, k: int, rng: np.random.Generator) -> tuple:
    """(left, right) sides: `exact` coordinates kept, everything else projected to k - exact numbers by one R."""
    width = basis.size - exact + basis.ambient
    if width == 0:
        return Folded(basis.left), Folded(basis.right)
    matrix = draw(projection, width, k - exact, rng)
    return (
        _side(basis.left, basis.stretch, basis.span, exact, matrix),
        _side(basis.right, None if basis.stretch is None else 1 / basis.stretch, basis.span, exact, matrix),
    )


def _side(columns: np.ndarray, stretch: np.ndarray | None, span: np.ndarray | None, exact: int, matrix):
    kept, others = columns[:, :exact], columns[:, exact:]
    if stretch is None:
        return Folded(np.hstack([kept, project(others, matrix)]))
    if isinstance(matrix, np.ndarray):
        first, behind = matrix[: others.shape[1]], matrix[others.shape[1] :]
        behind = stretch[:, None] * (behind - span @ (span.T @ behind))
        return Folded(np.hstack([kept, others @ first + behind]))
    return Light(kept, stretch, span, span.T @ (others / stretch[:, None]), matrix)


def truncated(basis: Basis, k: int) -> tuple[Folded, Folded]:
    """The first k coordinates of both sides."""
    return Folded(basis.left[:, :k]), Folded(basis.right[:, :k])


def sampled(basis: Basis, probabilities: np.ndarray, rng: np.random.Generator) -> tuple[Folded, Folded]:
    """Coordinates drawn with the given inclusion probabilities; 1 / p is shared by the two sides as 1 / sqrt(p)."""
    picked = sample(probabilities, rng)
    weight = 1 / np.sqrt(probabilities[picked])
    return Folded(basis.left[:, picked] * weight), Folded(basis.right[:, picked] * weight)
