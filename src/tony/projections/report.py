"""What to expect of a fitted projection, and the two warnings: too few rows to learn from, and a source that moved."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from tony.projections.balance import Basis
from tony.projections.selection import Choice, Judge
from tony.projections.variance import inclusion

FEW_ROWS_TO_SHIFT = 20  # below this a mean of squared lengths says too little
LOOKED_AT = 256  # rows
SHIFTED = 1.5  # times the error of an oblivious projection
OVERFITTED = 2.0  # times less gain of the balancing on held-out rows than on the fitted ones


class ProjectionWarning(UserWarning):
    """The projection works, but not as well as its fitting data promised."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was chosen and what it should do. Errors are mean squared errors of an inner product.

    Printed as text; `gain` and `fitted_gain` are oblivious error / error, held out and on the fitting rows.
    """

    method: str
    projection: str
    n_components: int
    balancing: str
    exact_coordinates: int | None
    rows_left: int
    rows_right: int  # 0: the second source was taken to be like the first
    held_out: bool
    error: float
    oblivious_error: float
    mean_square: float
    gain: float
    fitted_gain: float
    overfit: float  # gain of the balancing alone, with nothing kept exactly: fitted / held out

    @classmethod
    def of(cls, choice: Choice, fitted: Judge, plain: Judge, k: int, rows: tuple[int, int]) -> Report:
        """`fitted` and `plain` judge the chosen basis and doing nothing on all rows; `rows` of the two sources."""
        exact = choice.exact(k)
        error, nothing = choice.error(k), choice.oblivious_error(k)
        return cls(
            method=fitted.method,
            projection=fitted.projection,
            n_components=k,
            balancing=str(choice.candidate),
            exact_coordinates=exact,
            rows_left=rows[0],
            rows_right=rows[1],
            held_out=len(choice.judges) > 1,
            error=error,
            oblivious_error=nothing,
            mean_square=choice.mean_square,
            gain=ratio(nothing, error),
            fitted_gain=ratio(plain.error(k, 0), fitted.error(k, exact)),
            overfit=ratio(_spread(choice.judges), _spread(choice.oblivious))
            * ratio(_spread((plain,)), _spread((fitted,))),
        )

    def __str__(self) -> str:
        where = "held-out rows" if self.held_out else "the fitting rows"
        second = f"{self.rows_right} of the second source" if self.rows_right else "taken for both sources"
        lines = [
            f"{self.method}, {self.projection}, k = {self.n_components}: balancing {self.balancing}"
            + (f", {self.exact_coordinates} coordinates exact" if self.exact_coordinates else ""),
            f"{self.rows_left} rows of the first source, {second}",
            f"expected squared error on {where}: {self.error:.4g}"
            f" (oblivious {self.oblivious_error:.4g}, mean square of the inner products {self.mean_square:.4g})",
            f"gain over oblivious: x{self.gain:.3g} on {where}, x{self.fitted_gain:.3g} on the rows it was fitted on",
        ]
        return "\n".join(lines)


def _spread(judges) -> float:
    """tr A' tr B', what balancing makes small."""
    return float(np.mean([judge.tails.left[0] * judge.tails.right[0] for judge in judges]))


def ratio(oblivious: float, ours: float) -> float:
    """oblivious / ours; 1 where both are nothing, infinite where only ours is."""
    if ours > 0:
        return oblivious / ours
    return 1.0 if oblivious <= 0 else float("inf")


def warn_of_few_rows(report: Report) -> None:
    """Warn where held-out rows gain much less than the fitted ones, or where nothing could be held out."""
    rows = min(report.rows_left, report.rows_right or report.rows_left)
    if report.held_out and report.overfit <= OVERFITTED:
        return
    if not report.held_out and rows > 1:
        return
    warnings.warn(
        f"{rows} rows are few to learn from: the gain over an oblivious projection is x{report.gain:.3g} on held-out "
        f"rows and x{report.fitted_gain:.3g} on the fitted ones; give more rows of both sources",
        ProjectionWarning,
        stacklevel=4,
    )


def warn_of_shift(choice: Choice, way: str, basis: Basis, exact: int | None, k: int, rows) -> None:
    """Warn where `rows` of the second source (float64 or float32) would fare better under an oblivious projection.

    Compares tr A' tr B' of what is projected with tr A tr B, B being the moment of (at most 256 of) these rows; where
    coordinates are sampled or dropped (`exact` is None), the error on the diagonal of A' B' instead.
    """
    if (exact is not None and exact >= k) or rows.shape[0] < FEW_ROWS_TO_SHIFT:
        return
    rows = rows[:: -(-rows.shape[0] // LOOKED_AT)]
    squares = rows.multiply(rows) if sparse.issparse(rows) else np.square(rows, dtype=np.float64)
    lengths = float(squares.sum(dtype=np.float64)) / rows.shape[0]
    whole = np.mean([judge.tails.left[0] for judge in choice.oblivious])
    if exact is not None:
        left = np.mean([judge.tails.left[exact] for judge in choice.judges])
        ours = left * basis.right_lengths(rows, exact) / (k - exact)
    else:
        lost = np.arange(basis.size) >= k if way == "truncated" else 1 / inclusion(basis.spectrum, k)[1] - 1
        ours = float((lost * basis.spectrum) @ basis.right_squares(rows))
    nothing = whole * lengths / k
    if nothing > 0 and ours > SHIFTED * nothing:
        warnings.warn(
            f"the second source has shifted: on such rows the expected squared error is {ours / nothing:.2g} times "
            "that of an oblivious projection; fit again with them as `other`, or with more shrinkage",
            ProjectionWarning,
            stacklevel=3,
        )
