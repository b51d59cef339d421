"""Protects approximate products: the error is the one announced, the bound holds, light methods gain."""

import warnings

import numpy as np
import pytest
from scipy import sparse

from tony.projections import approximate_matmul


def matrices(width=64, rows=80, seed=0):
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(rows, width)) * np.geomspace(1, 0.01, width)
    right = (rng.normal(size=(width, rows + 5)).T * rng.permutation(np.geomspace(1, 0.01, width))).T
    return left, right


@pytest.mark.parametrize("method", ["oblivious", "diagonal", "low-rank", "full", "hybrid"])
def test_announced_error_is_the_error_and_the_bound_holds(method):
    """60 draws: within 10% of the mean; at most 5% beyond the bound at 5%."""
    left, right = matrices()
    drawn = [approximate_matmul(left, right, 16, method=method, random_state=s) for s in range(60)]
    off = np.array([np.square(one.estimate - left @ right).sum() for one in drawn])
    assert drawn[0].expected_squared_error == pytest.approx(off.mean(), rel=0.10)
    assert np.mean(np.sqrt(off) > drawn[0].bound(0.05)) <= 0.05


def test_light_methods_gain_where_the_spectra_differ():
    left, right = matrices(300)
    plain, light, low = (
        approximate_matmul(left, right, 16, method=m, random_state=0).expected_squared_error
        for m in ("oblivious", "diagonal", "low-rank")
    )
    assert light < 0.8 * plain and low <= light * 1.05


def test_sparse_and_tensors():
    torch = pytest.importorskip("torch")
    left, right = matrices()
    expected = approximate_matmul(left, right, 8, random_state=0).estimate
    found = approximate_matmul(sparse.csr_matrix(left), sparse.csr_matrix(right), 8, random_state=0).estimate
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)
    found = approximate_matmul(torch.tensor(left), torch.tensor(right), 8, random_state=0).estimate
    assert found == pytest.approx(expected)


def test_full_width_is_exact():
    left, right = matrices(24)
    assert approximate_matmul(left, right, 24).estimate == pytest.approx(left @ right, abs=1e-8)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("method", ["auto", "full", "unbiased-optimal", "truncated"])
def test_bounds_of_exact_products_count_rounding_in(method, kind):
    """More numbers than the rank: the estimate is exact but for rounding, and the bound is no less than that."""
    rng = np.random.default_rng(0)
    a = (rng.normal(size=(30, 3)) @ rng.normal(size=(3, 20))).astype(kind)
    b = rng.normal(size=(20, 25)).astype(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for rows in (a, a[:1]):
            within = 0
            for seed in range(20):
                product = approximate_matmul(rows, b, 5, method=method, random_state=seed)
                off = np.linalg.norm(product.estimate - rows.astype(float) @ b)
                within += off <= product.bound(0.05)
            assert within >= 19
