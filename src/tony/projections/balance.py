"""The linear change of coordinates that comes before the projection: T on the left, its inverse transpose on the right.

<T x, T^-T w> = <x, w> for every pair, whatever T is; which T makes the projection's error least follows from the second
moments A and B. With A = La La^T, B = Lb Lb^T and La^T Lb = U S V^T,

    T = S^-1/2 V^T Lb^T,    T^-T = S^-1/2 U^T La^T,    T A T^T = T^-T B T^-1 = S

(square-root balancing; Moore 1981). Then tr A' tr B' = (sum S)^2, the least that any T reaches. Light versions balance
only the diagonal, or the diagonal and then a subspace of 2 rank columns. Source: the sheet on arXiv 1906.09489,
sections 3 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg, sparse

from tony.projections.moments import SecondMoment
from tony.projections.variance import Tails

# What keeps a direction that a source does not have from being divided by nothing: relative to the mean moment.
ROUNDING = 1e-8


@dataclass(frozen=True)
class Basis:
    """x -> [left^T x ; stretch * x - span span^T (stretch * x)], w -> the same with `right` and 1 / stretch.

    m ordered coordinates, and where `stretch` is there d ambient ones behind them: what the coordinates leave over.
    """

    left: np.ndarray  # (d, m)
    right: np.ndarray  # (d, m), left^T right = I
    spectrum: np.ndarray  # (m,) descending: the moment of both sides in each coordinate, as fitted
    stretch: np.ndarray | None = None  # (d,) or None where the coordinates are all there is
    span: np.ndarray | None = None  # (d, m) orthonormal, the coordinates' space after stretching

    @property
    def size(self) -> int:
        return self.left.shape[1]

    @property
    def ambient(self) -> int:
        return 0 if self.stretch is None else len(self.stretch)

    def right_squares(self, rows) -> np.ndarray:
        """(m,) mean squares of rows (n, d) of the second source in the ordered coordinates."""
        return np.square(np.asarray(rows @ self.right)).mean(axis=0)

    def right_lengths(self, rows, exact: int) -> float:
        """Mean squared length of rows (n, d) of the second source in the coordinates behind the first `exact`."""
        kind = rows.dtype  # of float32 rows in float32: this is looked at whenever rows are projected
        total = np.square(np.asarray(rows @ self.right[:, exact:].astype(kind))).sum(dtype=np.float64)
        if self.stretch is not None:
            scaled = (rows.toarray() if sparse.issparse(rows) else rows) / self.stretch.astype(kind)
            inside = np.square(scaled @ self.span.astype(kind)).sum(dtype=np.float64)
            total += max(np.square(scaled).sum(dtype=np.float64) - inside, 0.0)
        return float(total) / rows.shape[0]

    def products(self, a: SecondMoment, b: SecondMoment) -> np.ndarray:
        """A' * B' elementwise over the ordered coordinates, (m, m)."""
        return (self.left.T @ a.times(self.left)) * (self.right.T @ b.times(self.right))

    def tails(self, a: SecondMoment, b: SecondMoment) -> Tails:
        """The moments A and B, which need not be those of the fit, in these coordinates."""
        a_left, b_right = a.times(self.left), b.times(self.right)
        a_here, b_here = self.left.T @ a_left, self.right.T @ b_right
        products = a_here * b_here
        left, right, aligned = np.diag(a_here), np.diag(b_here), np.diag(products)
        within = _corner(products)
        if self.stretch is None:
            return Tails(_tail(left), _tail(right), within, _tail(aligned), 0)
        a_rest, a_mixed = self._ambient(a, a_left, self.stretch)
        b_rest, b_mixed = self._ambient(b, b_right, 1 / self.stretch)
        mixed = _tail(2 * np.einsum("ij,ij->j", a_mixed, b_mixed))
        # tr(A' B') does not depend on the coordinates, which gives the part of the ambient ones alone.
        alone = max(a.trace_product(b) - within[0] - mixed[0], 0.0)
        return Tails(
            _tail(left) + a_rest.sum(),
            _tail(right) + b_rest.sum(),
            within + mixed + alone,
            _tail(aligned) + a_rest @ b_rest,
            self.ambient,
        )

    def _ambient(self, moment: SecondMoment, mixed: np.ndarray, stretch: np.ndarray):
        """(diagonal (d,) of the ambient coordinates' moment, their cross moment (d, m) with the ordered ones)."""
        q, scaled = self.span, moment.scaled(stretch)
        spread = scaled.times(q)  # (d, m)
        inner = q.T @ spread
        diagonal = (
            scaled.diagonal - 2 * np.einsum("ij,ij->i", spread, q) + np.einsum("ij,ij->i", q @ inner, q)
        )
        mixed = stretch[:, None] * mixed
        return np.maximum(diagonal, 0.0), mixed - q @ (q.T @ mixed)


def oblivious(width: int) -> Basis:
    """No change of coordinates: T = I."""
    return _ambient_only(np.ones(width))


def diagonal(a: SecondMoment, b: SecondMoment, floor: float) -> Basis:
    """T = diag((B_ii / A_ii)^(1/4)), the best diagonal T; `floor` is added to both, relative to their means."""
    return _ambient_only(diagonal_scale(a, b, floor))


def diagonal_scale(a: SecondMoment, b: SecondMoment, floor: float) -> np.ndarray:
    """(d,) what x is multiplied by, and w divided by, so that both have the same diagonal moments."""
    if np.isinf(floor) or a.trace <= 0 or b.trace <= 0:
        return np.ones(len(a.diagonal))
    floor = max(floor, 1e-12)
    # Squared lengths are divided out first: only the shapes of the diagonals matter to the floor.
    a_shape, b_shape = (m.diagonal / (m.trace / len(m.diagonal)) + floor for m in (a, b))
    return (b_shape / a_shape) ** 0.25 * (b.trace / a.trace) ** 0.25


def full(a: SecondMoment, b: SecondMoment, floor: float, ridge: float) -> Basis:
    """The balanced basis of all d coordinates, with `ridge` added in the diagonally scaled ones (relative to their mean).

    An infinite ridge leaves the diagonal version, its coordinates in descending order.
    """
    scale = diagonal_scale(a, b, floor)
    a, b = a.scaled(scale), b.scaled(1 / scale)
    if np.isinf(ridge):
        # A coordinate that one source lacks still gets a little, or sampling could never draw it.
        least = ROUNDING if np.isinf(floor) else max(floor, ROUNDING)
        values = np.sqrt((a.diagonal + least * a.diagonal.mean()) * (b.diagonal + least * b.diagonal.mean()))
        values = np.maximum(values, np.finfo(float).tiny)
        order = np.argsort(-values, kind="stable")
        left = right = np.eye(len(values))[:, order]
        values = values[order]
    else:
        left, right, values = _balanced(a.matrix, b.matrix, ridge)
    return Basis(left * scale[:, None], right / scale[:, None], values)


class Leading:
    """Two sources after diagonal scaling, and the directions in which they are largest.

    A low-rank balance works in those. What settings of one floor have in common is computed once.

    Args:
        a, b: moments of the left and of the right source.
        floor: of the diagonal scaling, as in `diagonal`.
        rank: the most directions of each source that `low_rank` will be asked for.
    """

    def __init__(self, a: SecondMoment, b: SecondMoment, floor: float, rank: int) -> None:
        self.scale = diagonal_scale(a, b, floor)
        self.a, self.b = a.scaled(self.scale), b.scaled(1 / self.scale)
        # What is left is floored as the diagonal is, so that an empty rest of one source does not blow up the other's.
        self._least = (ROUNDING if np.isinf(floor) else max(floor, ROUNDING)) / len(self.scale)
        tops = self.a.top(rank), self.b.top(rank)
        self._counts = tuple(top.shape[1] for top in tops)
        # Interleaved: the first columns of one Q then span the leading directions of both sources for every rank.
        order = np.argsort(np.concatenate([np.arange(count) for count in self._counts]), kind="stable")
        self.span = linalg.qr(np.hstack(tops)[:, order], mode="economic")[0]
        self.a_inner = self.span.T @ self.a.times(self.span)
        self.b_inner = self.span.T @ self.b.times(self.span)

    def low_rank(self, ridge: float, rank: int) -> Basis:
        """The low-rank balance of these sources; see the function of that name."""
        size = min(sum(min(rank, count) for count in self._counts), self.span.shape[1])
        if size == 0:
            return _ambient_only(self.scale)
        span, a_inner, b_inner = self.span[:, :size], self.a_inner[:size, :size], self.b_inner[:size, :size]
        left, right, values = _balanced(a_inner, b_inner, ridge)
        a_left = max(self.a.trace - np.trace(a_inner), 0.0) + self._least * self.a.trace
        b_left = max(self.b.trace - np.trace(b_inner), 0.0) + self._least * self.b.trace
        c = (b_left / a_left) ** 0.25 if a_left > 0 and b_left > 0 else 1.0
        scale = self.scale[:, None]
        return Basis(scale * (span @ left), (span @ right) / scale, values, c * self.scale, span)


def low_rank(a: SecondMoment, b: SecondMoment, floor: float, ridge: float, rank: int) -> Basis:
    """Diagonal scaling, then balance within the leading `rank` directions of each source; O(d rank) to apply.

    Outside that space one number c balances what is left of both traces, so that the cost is
    (sum of the inner spectrum + sqrt(a_perp b_perp))^2.
    """
    return Leading(a, b, floor, rank).low_rank(ridge, rank)


def _ambient_only(stretch: np.ndarray) -> Basis:
    none = np.zeros((len(stretch), 0))
    return Basis(none, none, np.zeros(0), stretch, none)


def _balanced(a: np.ndarray, b: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(T^T, T^-1, spectrum) for two moments with a ridge, relative to the mean of each; signs fixed."""
    a_root, b_root = _root(a, ridge), _root(b, ridge)
    u, values, vt = linalg.svd(a_root.T @ b_root)
    values = np.maximum(values, np.finfo(float).tiny)
    left, right = b_root @ vt.T / np.sqrt(values), a_root @ u / np.sqrt(values)
    largest = np.abs(left).argmax(axis=0)
    signs = np.where(left[largest, np.arange(len(values))] < 0, -1.0, 1.0)
    return left * signs, right * signs, values


def _root(matrix: np.ndarray, ridge: float) -> np.ndarray:
    """L with L L^T = matrix + (ridge * mean of its diagonal) I."""
    width = len(matrix)
    mean = np.trace(matrix) / width
    if mean <= 0:
        return np.eye(width)
    lifted = matrix + (max(ridge, ROUNDING) * mean) * np.eye(width)
    try:
        return linalg.cholesky(lifted, lower=True)
    except linalg.LinAlgError:  # rounding made the smallest eigenvalue negative
        values, vectors = linalg.eigh(lifted)
        return vectors * np.sqrt(np.maximum(values, ROUNDING * mean))


def _tail(values: np.ndarray) -> np.ndarray:
    """(m + 1,) sums of values[r:] for r = 0..m."""
    return np.append(np.cumsum(values[::-1])[::-1], 0.0)


def _corner(products: np.ndarray) -> np.ndarray:
    """(m + 1,) sums of products[r:, r:] for r = 0..m."""
    # The pair (i, j) is in corner r exactly when min(i, j) >= r, so each is booked on its smaller index.
    booked = np.tril(products).sum(axis=0) + np.triu(products, 1).sum(axis=1)
    return _tail(booked)
