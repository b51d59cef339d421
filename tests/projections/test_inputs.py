"""Protects against bad input: one clear line or the right limit, and never a silent NaN."""

import warnings

import numpy as np
import pytest
from scipy import sparse

from tony.errors import TonyError
from tony.projections import AsymmetricRandomProjection, ProjectionWarning, approximate_matmul
from tony.projections.selection import METHODS
from tony.projections.variance import PROJECTIONS

RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(2, 40, 12))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_components": 13}, r"n_components=13 is more than the 12 features"),
        ({"n_components": 0}, "n_components=0 must be"),
        ({"n_components": 2.5}, "n_components=2.5 must be"),
        ({"n_components": True}, "n_components=True must be"),
        ({"method": "best"}, "method='best' is unknown: choose one of auto"),
        ({"projection": "haar"}, "projection='haar' is unknown"),
        ({"shrinkage": -1}, "shrinkage=-1 must be"),
        ({"shrinkage": float("nan")}, "shrinkage=nan must be"),
        ({"shrinkage": "cv"}, "shrinkage='cv' must be"),
    ],
)
def test_wrong_parameters(arguments, message):
    with pytest.raises(TonyError, match=message):
        AsymmetricRandomProjection(**arguments).fit(X, other=W)


@pytest.mark.parametrize(
    ("x", "w", "message"),
    [
        (X, W[:, :5], "other has 5 features and X has 12"),
        (np.where(X > 2, np.nan, X), W, "contains NaN"),
        (X, np.where(W > 2, np.nan, W), "other contains NaN"),
        (np.where(X > 2, np.inf, X), W, "infinity"),
        (X + 1j, W, "Complex data not supported"),
        (X, W + 1j, "Complex data not supported"),
        (X[0], W, "Expected 2D array"),
        (X[:0], W, "0 sample"),
        (np.full((4, 12), "a", dtype=object), W, "could not convert string to float"),
    ],
)
def test_wrong_rows(x, w, message):
    with pytest.raises(ValueError, match=message):
        AsymmetricRandomProjection(3).fit(x, other=w)


def test_wrong_rows_after_the_fit():
    fitted = AsymmetricRandomProjection(3).fit(X, other=W)
    with pytest.raises(ValueError, match="X has 5 features"):
        fitted.transform(X[:, :5])
    with pytest.raises(TonyError, match="Y has 5 features and X has 12"):
        fitted.transform_right(W[:, :5])
    with pytest.raises(TonyError, match="both X and other"):
        fitted.expected_error(X=X)
    with pytest.raises(TonyError, match="n_components=99"):
        fitted.expected_error(99)


def test_wrong_streams():
    with pytest.raises(TonyError, match="X is None"):
        AsymmetricRandomProjection(3).partial_fit(None, other=W)
    with pytest.raises(TonyError, match="no rows"):
        AsymmetricRandomProjection(3).partial_fit(X).partial_fit(None)
    with pytest.raises(TonyError, match="y has shape"):
        AsymmetricRandomProjection(3).fit(X, np.arange(7))


def test_moments_that_would_not_fit_are_refused():
    rows = sparse.random(10, 9000, 0.01, format="csr", random_state=0)
    with pytest.raises(TonyError, match='use "low-rank"'):
        AsymmetricRandomProjection(3, "full").fit(rows, other=rows)


LIMITS = {
    "one row": (X[:1], W[:1]),
    "one row beside many": (X, W[:1]),
    "two rows": (X[:2], W[:2]),
    "zero columns": (X * (np.arange(12) > 3), W * (np.arange(12) < 8)),
    "nothing in common": (X * (np.arange(12) < 6), W * (np.arange(12) >= 6)),
    "all zero": (np.zeros_like(X), np.zeros_like(W)),
    "one side zero": (X, np.zeros_like(W)),
    "constant": (np.ones_like(X), np.ones_like(W)),
    "constant beside ordinary": (X, np.full_like(W, 3.0)),
    "rank one": (np.outer(X[:, 0], X[0]), np.outer(W[:, 0], W[0])),
    "objects that are numbers": (X.astype(object), W.astype(object)),
    "whole numbers": ((10 * X).astype(int), (10 * W).astype(int)),
    "float16": ((1e4 * X).astype(np.float16), W.astype(np.float16)),
    "huge and tiny": (X * 1e60, W * 1e-60),
    "other scales by column": (X * np.geomspace(1e-9, 1e9, 12), W * np.geomspace(1e9, 1e-9, 12)),
    "empty sparse": (sparse.csr_matrix(X.shape), sparse.csr_matrix(W)),
    "CSC": (sparse.csc_matrix(X), sparse.csc_array(W)),
}


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("method", METHODS)
def test_limits_give_finite_numbers(limit, method):
    x, w = LIMITS[limit]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.filterwarnings("ignore", "", UserWarning)
        for projection in PROJECTIONS if method in ("hybrid", "low-rank") else ("gaussian",):
            fitted = AsymmetricRandomProjection(3, method, projection, random_state=0).fit(x, other=w)
            assert np.isfinite(fitted.inner_products(x, w)).all()
            assert np.isfinite(fitted.expected_error())
            assert not np.isnan(fitted.gain_over_oblivious_)


def test_sources_of_rank_one_are_exact_with_one_number():
    x, w = LIMITS["rank one"]
    fitted = AsymmetricRandomProjection(2, "hybrid", random_state=0).fit(x, other=w)
    truth = x @ w.T
    assert fitted.inner_products(x, w) == pytest.approx(truth, abs=1e-3 * np.abs(truth).max())


def test_wrong_matrices():
    with pytest.raises(TonyError, match="inner dimensions differ"):
        approximate_matmul(X, W, 3)
    with pytest.raises(TonyError, match="two dimensions"):
        approximate_matmul(X, W[0], 3)
    with pytest.raises(TonyError, match="failure=0"):
        approximate_matmul(X, W.T, 3).bound(0)


@pytest.mark.parametrize("size", [1e200, 1e100, 1e-100])
def test_numbers_whose_moments_do_not_exist_are_refused(size):
    with pytest.raises(TonyError, match=r"X holds values up to .*: scale it"):
        AsymmetricRandomProjection(3).fit(X * size, other=W)
    with pytest.raises(TonyError, match="other holds values"):
        AsymmetricRandomProjection(3).fit(X, other=sparse.csr_matrix(W * size))
    stream = AsymmetricRandomProjection(3).partial_fit(X)
    with pytest.raises(TonyError, match="X holds values"):
        stream.partial_fit(X * size)
    assert stream.report_.rows_left == 40


@pytest.mark.parametrize("method", ["auto", "diagonal", "low-rank"])
def test_very_large_beside_very_small_is_in_reach(method):
    wide = RNG.normal(size=(80, 320)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", ProjectionWarning)
        for x, w in ((wide * np.float32(1e25), wide * np.float32(1e-25)), (X * 1e60, W * 1e-60)):
            fitted = AsymmetricRandomProjection(5, method, random_state=0).fit(x, other=w)
            assert 0 < fitted.expected_error() < np.inf
            assert np.isfinite(fitted.transform(x)).all()


def test_targets_far_too_small_to_square_are_targets():
    fitted, plain = (AsymmetricRandomProjection(3, random_state=0).fit(X, X[:, 0] * c) for c in (1e-170, 1.0))
    assert fitted.transform(X) == pytest.approx(plain.transform(X))


def test_columns_in_another_order_are_refused():
    pandas = pytest.importorskip("pandas")
    x, w = (pandas.DataFrame(rows, columns=list("abcdefghijkl")) for rows in (X, W))
    fitted = AsymmetricRandomProjection(3, random_state=0).fit(x, other=w)
    for call in (
        lambda turned: AsymmetricRandomProjection(3).fit(x, other=turned),
        lambda turned: fitted.transform_right(turned),
        lambda turned: fitted.expected_error(X=x, other=turned),
    ):
        with pytest.raises(TonyError, match="not those of X in the same order"):
            call(w[w.columns[::-1]])
    fitted.transform_right(W)  # arrays have no names
    with pytest.raises(TonyError, match="columns of A are not the rows of B"):
        approximate_matmul(x, w[w.columns[::-1]].T, 3)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array([["x", 0], ["z", 1]] * 20, dtype=object), "y mixes types|Unknown label"),
        ([[1], [1, 2]] * 20, "y is ragged"),
    ],
)
def test_wrong_targets(y, message):
    with pytest.raises(TonyError, match=message):
        AsymmetricRandomProjection(3).fit(X, y)


def test_sparse_targets_are_targets():
    y = (X[:, :3] > 0).astype(int)
    dense, thin = (
        AsymmetricRandomProjection(3, random_state=0).fit(X, own) for own in (y, sparse.csr_matrix(y))
    )
    assert thin.transform(X) == pytest.approx(dense.transform(X))


@pytest.mark.parametrize(
    ("a", "b"), [([1.0, 2.0], [[1.0], [2.0]]), (None, [[1.0]]), ([[1.0, 2.0]], "text"), (3.0, [[1.0]])]
)
def test_products_of_other_things_than_matrices(a, b):
    with pytest.raises(TonyError, match="a matrix has two dimensions"):
        approximate_matmul(a, b, 1)
