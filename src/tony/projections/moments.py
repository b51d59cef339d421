"""Second moments of one source of vectors, gathered in one pass: additive, so any chunking gives the same.

A source is rows x of width d; its second moment is the uncentred A = E[x x^T]. Two forms are kept, each in two folds so
that shrinkage can be judged on rows that it has not seen:

    dense      the d x d matrix itself
    sketched   its diagonal and A @ omega for a random omega (d, l), from which a Nystroem factor F is made with
               A ~ F F^T + diag(rest); the diagonal of this model is exact

The Nystroem factor is Algorithm 3 of Tropp, Yurtsever, Udell and Cevher (2017, "Fixed-rank approximation of a
positive-semidefinite matrix from streaming data"): a randomised SVD of A that needs one pass and only sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import linalg, sparse

CHUNK_BYTES = 64 * 2**20


def chunks(rows, width: int, as_dense: bool = False) -> Iterator:
    """`rows` (n, width) in float64 pieces of at most 64 MiB; a memory-mapped array is read piece by piece.

    Pieces of sparse rows are sized by what they hold, or with `as_dense` by what they would as arrays.
    """
    is_sparse = sparse.issparse(rows) and not as_dense
    numbers = 2 * rows.nnz / max(1, rows.shape[0]) if is_sparse else width
    step = max(1, int(CHUNK_BYTES / (8 * max(1, numbers))))
    for start in range(0, rows.shape[0], step):
        piece = rows[start : start + step]
        yield piece.astype(np.float64) if sparse.issparse(piece) else np.asarray(piece, dtype=np.float64)


@dataclass
class SecondMoment:
    """A = F F^T + diag(rest) or, where `matrix` is there, A = matrix (d, d)."""

    diagonal: np.ndarray  # (d,) of A
    matrix: np.ndarray | None = None  # (d, d)
    factor: np.ndarray | None = None  # (d, l): F

    @property
    def trace(self) -> float:
        return float(self.diagonal.sum())

    @property
    def rest(self) -> np.ndarray:
        """(d,) what the factor leaves of the diagonal."""
        return np.maximum(self.diagonal - np.einsum("ij,ij->i", self.factor, self.factor), 0.0)

    def times(self, columns: np.ndarray) -> np.ndarray:
        """A @ columns, (d, m)."""
        if self.matrix is not None:
            return self.matrix @ columns
        return self.factor @ (self.factor.T @ columns) + self.rest[:, None] * columns

    def scaled(self, scale: np.ndarray) -> SecondMoment:
        """The second moment of scale * x."""
        if self.matrix is not None:
            return SecondMoment(self.diagonal * scale**2, matrix=self.matrix * np.outer(scale, scale))
        return SecondMoment(self.diagonal * scale**2, factor=self.factor * scale[:, None])

    def trace_product(self, other: SecondMoment) -> float:
        """tr(A B) = E <x, w>^2 for independent x and w."""
        if self.matrix is not None:
            return float(np.vdot(self.matrix, other.matrix))
        mine, yours = self.rest, other.rest
        return float(
            ((self.factor.T @ other.factor) ** 2).sum()
            + mine @ (other.diagonal - yours)
            + yours @ (self.diagonal - mine)
            + mine @ yours
        )

    def top(self, rank: int) -> np.ndarray:
        """(d, <= rank) leading eigenvectors of A (of F F^T where there is no matrix), of unit length."""
        width = len(self.diagonal)
        rank = min(rank, width)
        if self.matrix is not None:
            values, vectors = linalg.eigh(self.matrix, subset_by_index=(width - rank, width - 1))
            vectors, values = vectors[:, ::-1], np.maximum(values[::-1], 0.0)
        else:
            # Through the small Gram matrix: not quite orthonormal for the weakest, which is made good by whoever joins
            # two such frames by QR.
            values, turned = linalg.eigh(self.factor.T @ self.factor)
            values, turned = np.maximum(values[::-1][:rank], 0.0), turned[:, ::-1][:, :rank]
            vectors = self.factor @ (turned / np.sqrt(np.maximum(values, 1e-300)))
        return vectors[:, values > 1e-12 * max(values[0], 1e-300)] if values.size else vectors


class Fold:
    """Sums over the rows of one fold: count, x, x^2, and x x^T or x x^T omega."""

    def __init__(self, width: int, omega: np.ndarray | None):
        self.count = 0
        self.sum = np.zeros(width)
        self.squares = np.zeros(width)
        self.products = np.zeros((width, width if omega is None else omega.shape[1]))

    def add(self, rows, omega: np.ndarray | None, scale: np.ndarray | None) -> None:
        """Add `rows` (n, d), dense or CSR, float64."""
        if rows.shape[0] == 0:
            return
        self.count += rows.shape[0]
        self.sum += np.asarray(rows.sum(axis=0)).ravel()
        squared = rows.multiply(rows) if sparse.issparse(rows) else np.square(rows)
        self.squares += np.asarray(squared.sum(axis=0)).ravel()
        if omega is None:
            product = rows.T @ rows
            self.products += product.toarray() if sparse.issparse(product) else product
            return
        probes = omega if scale is None else omega * scale[:, None]
        product = rows.T @ np.asarray(rows @ probes)
        self.products += product if scale is None else product * scale[:, None]


class Source:
    """What is known of one source: two folds of sums. Row i goes to fold (number of ones in binary i) mod 2.

    That is the Thue-Morse sequence: balanced after every second row, not periodic, and a function of the row's number
    only, so that the folds do not depend on the chunks. With `centred`, moments are around the mean; dense rows are then
    summed from the first of them on, or a mean far from 0 would drown what is around it in rounding.
    """

    def __init__(
        self,
        width: int,
        omega: np.ndarray | None = None,
        scale: np.ndarray | None = None,
        centred: bool = False,
    ):
        self.width, self.omega, self.scale, self.centred = width, omega, scale, centred
        self.folds = (Fold(width, omega), Fold(width, omega))
        self._origin: np.ndarray | None = None  # (d,) where the sums of a centred source begin

    @property
    def count(self) -> int:
        return self.folds[0].count + self.folds[1].count

    def add(self, rows) -> None:
        """Add `rows` (n, width), dense or CSR, any float type."""
        seen = self.count
        if self.centred and self._origin is None and rows.shape[0]:
            dense = not sparse.issparse(rows)
            self._origin = np.asarray(rows[0], dtype=np.float64) if dense else np.zeros(self.width)
        moved = self._origin is not None and bool(self._origin.any())
        for piece in chunks(rows, self.width, as_dense=moved):
            if moved:
                piece = (piece.toarray() if sparse.issparse(piece) else piece) - self._origin
            numbers = np.arange(seen, seen + piece.shape[0], dtype=np.uint64)
            fold = np.bitwise_count(numbers) & 1
            for which in (0, 1):
                self.folds[which].add(piece[fold == which], self.omega, self.scale)
            seen += piece.shape[0]

    def moment(self, *which: int) -> SecondMoment:
        """The second moment over the given folds (0, 1 or both)."""
        folds = [self.folds[i] for i in which or (0, 1)]
        count = max(1, sum(fold.count for fold in folds))
        diagonal = sum(fold.squares for fold in folds) / count
        products = sum(fold.products for fold in folds) / count
        mean = sum(fold.sum for fold in folds) / count if self.centred else np.zeros(self.width)
        diagonal = np.maximum(diagonal - mean**2, 0.0)
        if self.omega is None:
            return SecondMoment(
                diagonal, matrix=products - np.outer(mean, mean) if self.centred else products
            )
        scale = np.ones(self.width) if self.scale is None else self.scale
        mean = mean * scale
        products = products - np.outer(mean, mean @ self.omega)
        return SecondMoment(diagonal, factor=nystrom(products, self.omega) / scale[:, None])


def nystrom(products: np.ndarray, omega: np.ndarray) -> np.ndarray:
    """F (d, l) with F F^T ~ A, from products = A @ omega and omega (d, l) with orthonormal columns.

    The shift nu keeps the Cholesky factor of omega^T A omega from failing on a source of low rank; it is taken off the
    eigenvalues again.
    """
    size = linalg.norm(products)
    if size == 0.0:
        return np.zeros_like(products)
    nu = 1e-10 * size
    while True:
        shifted = products + nu * omega
        core = omega.T @ shifted
        try:
            lower = linalg.cholesky((core + core.T) / 2, lower=True)
            break
        except linalg.LinAlgError:  # rounding in the sums is larger than that
            nu *= 100
    factor = linalg.solve_triangular(lower, shifted.T, lower=True).T
    vectors, singular, _ = linalg.svd(factor, full_matrices=False)
    return vectors * np.sqrt(np.maximum(singular**2 - nu, 0.0))


def probes(width: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """omega (width, count): a random orthonormal frame; both sources of a projection share one."""
    return linalg.qr(rng.standard_normal((width, min(count, width))), mode="economic")[0]


def sketching_scale(left, right) -> np.ndarray:
    """(d,) a first, floored guess of the diagonal balance: the coordinates in which sketches lose least."""
    squares = []
    for rows in (left, right):
        total = np.zeros(rows.shape[1])
        for piece in chunks(rows, rows.shape[1]):
            squares_here = (
                piece.multiply(piece).sum(axis=0)
                if sparse.issparse(piece)
                else np.einsum("ij,ij->j", piece, piece)
            )
            total += np.asarray(squares_here).ravel()
        squares.append(total / max(total.mean(), np.finfo(float).tiny) + 1e-2)
    return (squares[1] / squares[0]) ** 0.25
