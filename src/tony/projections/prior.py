"""The second source of a regression or classification: regressors that the data make likely, by bootstrap ridge.

A model fitted later on projected features estimates <x, w> for a regressor w that is not known yet. Its prior is taken
from ridge regressors fitted on bootstrap samples of the rows: numbers as they are, classes one against the rest (+-1).
How strong the ridge is, and whether features are brought to one scale first, is chosen by what predicts held-out rows
best: a prior of noise costs accuracy (sheet on arXiv 1906.09489, section 6, "Re-fitted classifiers").
"""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse
from sklearn.utils.multiclass import type_of_target

from tony.errors import TonyError

COUNT = 400  # regressors, over all outputs together at least
MOST_CLASSES = 32
ROWS = 1000  # of one bootstrap sample, at most
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # of the ridge, relative to the mean moment of a feature


def targets(y, rows: int) -> np.ndarray:
    """(rows, outputs) float: numbers as they are, classes as one column of +-1 each (one column for two classes).

    Whole numbers of at most 32 different values are taken for classes, whatever their type: the target of a regression
    is often whole, so type_of_target's "multiclass" does not tell the two apart.
    """
    try:
        y = y.toarray() if sparse.issparse(y) else np.asarray(y)
    except ValueError:
        raise TonyError("y is ragged: give one target, or as many targets, for each row") from None
    if y.ndim not in (1, 2) or y.shape[0] != rows:
        raise TonyError(f"y has shape {y.shape} beside {rows} rows of X: give one target for each row")
    try:
        kind = type_of_target(y, input_name="y")
    except TypeError:  # from comparing what cannot be ordered
        raise TonyError("y mixes types that cannot be compared: give numbers or strings, not both") from None
    if kind == "unknown":
        raise TonyError(f"Unknown label type: {kind!r}: y must hold numbers or classes")
    columns = []
    for column in y.reshape(rows, -1).T:
        classes = np.unique(column)
        numbers = np.issubdtype(column.dtype, np.number) and (
            len(classes) > MOST_CLASSES or kind.startswith("continuous")
        )
        if numbers:
            columns.append(column.astype(np.float64))
        else:
            chosen = classes[1:] if len(classes) <= 2 else classes
            columns += [np.where(column == one, 1.0, -1.0) for one in chosen]
    return np.stack(columns, axis=1) if columns else np.zeros((rows, 0))


def regressors(X, y, rng: np.random.Generator, count: int = COUNT) -> np.ndarray:
    """(at least `count`, d) regressors of y on the rows of X (n, d); none where y has nothing to explain."""
    rows = X.shape[0]
    goals = targets(y, rows)
    goals = goals[:, np.ptp(goals, axis=0) > 0] if rows else goals
    if rows < 3 or goals.shape[1] == 0:
        return np.zeros((0, X.shape[1]))
    goals = goals / np.ptp(goals, axis=0)  # first, as squares of very small numbers would vanish
    goals = goals / goals.std(axis=0)
    scaled, strength = strongest(X, goals, rng)
    drawn = []
    for _ in range(-(-count // goals.shape[1])):
        picked = rng.integers(0, rows, min(rows, ROWS))
        drawn.append(ridge(X[picked], goals[picked], [strength], scaled)[0].T)
    return np.concatenate(drawn)


def strongest(X, goals: np.ndarray, rng: np.random.Generator) -> tuple[bool, float]:
    """(features brought to one scale?, ridge strength) of the least squared error on a held-out third of the rows."""
    order = rng.permutation(X.shape[0])[: 3 * ROWS]
    cut = max(1, len(order) // 3)
    seen, unseen = np.sort(order[cut:]), np.sort(order[:cut])
    best = (np.inf, True, 1.0)
    for scaled in (True, False):
        for strength, weights in zip(STRENGTHS, ridge(X[seen], goals[seen], STRENGTHS, scaled), strict=True):
            residual = goals[unseen] - np.asarray(X[unseen] @ weights)
            residual -= (goals[seen] - np.asarray(X[seen] @ weights)).mean(axis=0)  # the intercept
            best = min(best, (float(np.square(residual).mean()), scaled, strength))
    return best[1:]


def ridge(X, goals: np.ndarray, strengths, scaled: bool) -> list[np.ndarray]:
    """(d, outputs) for each strength: argmin |X w - goal|^2 / n + strength * tr(Cov X) / d * |w|^2, around the means.

    With `scaled`, in the coordinates in which every feature has variance one (constant features get weight 0).
    Solved through the smaller of the two Gram matrices, so that neither n nor d need be small; sparse rows of more features
    than rows stay sparse.
    """
    if sparse.issparse(X) and X.shape[0] < X.shape[1]:
        return _wide_sparse_ridge(X.astype(np.float64), goals, strengths, scaled)
    dense = (X.toarray() if sparse.issparse(X) else np.asarray(X)).astype(np.float64)
    dense = dense - dense.mean(axis=0)
    goals = goals - goals.mean(axis=0)
    scale = _scale(dense.std(axis=0), scaled)
    dense = dense * scale
    rows, width = dense.shape
    mean = float(np.square(dense).mean()) or 1.0
    tall = rows >= width
    gram = (dense.T @ dense if tall else dense @ dense.T) / rows
    moments = (dense.T @ goals if tall else goals) / rows
    out = []
    for strength in strengths:
        lifted = gram + strength * mean * np.eye(len(gram))
        solved = linalg.solve(lifted, moments, assume_a="pos")
        out.append(scale[:, None] * (solved if tall else dense.T @ solved))
    return out


def _scale(spread: np.ndarray, scaled: bool) -> np.ndarray:
    """(d,) what features of these standard deviations are multiplied by."""
    if not scaled:
        return np.ones_like(spread)
    return np.where(spread > 1e-10 * spread.max(initial=0.0), 1 / np.maximum(spread, 1e-300), 0.0)


def _wide_sparse_ridge(X, goals: np.ndarray, strengths, scaled: bool) -> list[np.ndarray]:
    """`ridge` for CSR rows (n, d), n < d: the mean is taken out of the Gram matrix, not out of the rows."""
    goals = goals - goals.mean(axis=0)
    rows, width = X.shape
    mean = np.asarray(X.mean(axis=0)).ravel()
    squares = np.asarray(X.multiply(X).mean(axis=0)).ravel()
    scale = _scale(np.sqrt(np.maximum(squares - mean**2, 0.0)), scaled)
    X = (X @ sparse.diags(scale)).tocsr()
    gram = (X @ X.T).toarray()
    gram = (gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()) / rows
    power = float(np.trace(gram)) / width or 1.0
    out = []
    for strength in strengths:
        solved = linalg.solve(gram + strength * power * np.eye(rows), goals / rows, assume_a="pos")
        # The columns of `solved` sum to nothing, as those of `goals` do: the mean drops out of the product.
        out.append(scale[:, None] * np.asarray(X.T @ solved))
    return out
