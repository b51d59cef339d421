"""Protects the change of coordinates: it leaves inner products alone, balances both sources, and is the best there is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tony.projections import balance
from tony.projections.moments import SecondMoment

BASES = {
    "oblivious": lambda a, b: balance.oblivious(len(a.diagonal)),
    "diagonal": lambda a, b: balance.diagonal(a, b, 1e-6),
    "full": lambda a, b: balance.full(a, b, 1e-6, 1e-4),
    "full, no ridge": lambda a, b: balance.full(a, b, 0.0, 0.0),
    "full, infinite ridge": lambda a, b: balance.full(a, b, 1e-3, np.inf),
    "low rank": lambda a, b: balance.low_rank(a, b, 1e-3, 0.0, 3),
}


def sources(seed, width=9, rows=60, spread=3.0):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(2, width, width)) * 10 ** rng.uniform(-spread / 2, spread / 2, (2, 1, width))
    return rng.normal(size=(rows, width)) @ mix[0], rng.normal(size=(rows, width)) @ mix[1]


def moment(rows, form="dense"):
    matrix = rows.T @ rows / len(rows)
    if form == "dense":
        return SecondMoment(np.diag(matrix).copy(), matrix=matrix)
    return SecondMoment(np.diag(matrix).copy(), factor=rows.T / np.sqrt(len(rows)))


def coordinates(basis, rows, right=False):
    """Ordered and ambient coordinates of rows, side by side."""
    columns, stretch = (basis.right if right else basis.left), basis.stretch
    out = rows @ columns
    if stretch is None:
        return out
    scaled = rows * (1 / stretch if right else stretch)
    return np.hstack([out, scaled - scaled @ basis.span @ basis.span.T])


@pytest.mark.parametrize("kind", BASES)
@given(seed=st.integers(0, 10**6))
def test_inner_products_are_left_as_they_were(kind, seed):
    x, w = sources(seed)
    basis = BASES[kind](moment(x), moment(w))
    found = coordinates(basis, x) @ coordinates(basis, w, right=True).T
    lengths = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(w, axis=1)
    assert np.abs(found - x @ w.T).max() < 1e-9 * lengths.max()


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("form", ["dense", "factor"])
def test_tails_are_the_moments_of_the_coordinates(kind, form):
    """Computed the long way: from the coordinates of all rows."""
    x, w = sources(5)
    unseen_x, unseen_w = sources(6)
    basis = BASES[kind](moment(x), moment(w))
    tails = basis.tails(moment(unseen_x, form), moment(unseen_w, form))
    left, right = coordinates(basis, unseen_x), coordinates(basis, unseen_w, right=True)
    for r in range(basis.size + 1):
        a, b = left[:, r:].T @ left[:, r:] / len(left), right[:, r:].T @ right[:, r:] / len(right)
        expected = np.trace(a), np.trace(b), np.vdot(a, b), np.diag(a) @ np.diag(b)
        found = tails.left[r], tails.right[r], tails.cross[r], tails.aligned[r]
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-8 * tails.cross[0])


def test_both_sources_are_balanced():
    x, w = sources(1, spread=1.0)
    a, b = moment(x), moment(w)
    basis = balance.full(a, b, 0.0, 0.0)
    assert basis.left.T @ a.matrix @ basis.left == pytest.approx(np.diag(basis.spectrum), rel=1e-4, abs=1e-5)
    assert basis.right.T @ b.matrix @ basis.right == pytest.approx(
        np.diag(basis.spectrum), rel=1e-4, abs=1e-5
    )


def test_spectrum_is_the_root_of_the_eigenvalues_of_the_product():
    x, w = sources(2, spread=0.0)
    a, b = moment(x), moment(w)
    expected = np.sort(np.sqrt(np.linalg.eigvals(a.matrix @ b.matrix).real))[::-1]
    # The rounding guard adds to the squares, so it is there that the smallest may be told from zero.
    found = np.square(balance.full(a, b, 0.0, 0.0).spectrum)
    assert found == pytest.approx(np.square(expected), rel=1e-4, abs=1e-7 * expected[0] ** 2)


def test_no_other_change_of_coordinates_is_better():
    """f(M) = tr(A M) tr(B M^-1) at M* is (sum of the spectrum)^2, and larger at 200 perturbed M."""
    x, w = sources(3, spread=1.0)
    a, b = moment(x), moment(w)
    basis = balance.full(a, b, 0.0, 0.0)
    best = basis.left @ basis.left.T  # M = T^T T

    def cost(m):
        return np.trace(a.matrix @ m) * np.trace(b.matrix @ np.linalg.inv(m))

    assert cost(best) == pytest.approx(basis.spectrum.sum() ** 2, rel=1e-5)
    rng = np.random.default_rng(0)
    for _ in range(200):
        change = np.eye(len(best)) + 0.05 * rng.normal(size=best.shape)
        assert cost(change.T @ best @ change) >= cost(best)
    assert cost(np.diag(np.square(balance.diagonal_scale(a, b, 0.0)))) >= cost(best)


def test_nothing_is_gained_where_the_sources_are_alike():
    x, _ = sources(4)
    a = moment(x)
    scaled = SecondMoment(7 * a.diagonal, matrix=7 * a.matrix)
    basis = balance.full(a, scaled, 0.0, 0.0)
    tails, plain = basis.tails(a, scaled), balance.oblivious(9).tails(a, scaled)
    assert tails.left[0] * tails.right[0] == pytest.approx(plain.left[0] * plain.right[0], rel=1e-6)
    m = basis.left @ basis.left.T
    assert m == pytest.approx(np.eye(9) * m[0, 0], rel=1e-5, abs=1e-5 * m[0, 0])


def test_scales_cancel():
    """x times c and w over c change nothing; features scaled one by one change nothing in the balanced basis."""
    x, w = sources(7)
    scale = np.geomspace(0.1, 10, 9)
    spectra = [balance.full(moment(x * c), moment(w / c), 0.0, 0.01).spectrum for c in (1.0, 40.0, scale)]
    assert spectra[1] == pytest.approx(spectra[0], rel=1e-9)
    assert spectra[2] == pytest.approx(spectra[0], rel=1e-6)


def test_a_diagonal_that_one_source_lacks_is_floored():
    a, b = (SecondMoment(np.array(d), matrix=np.diag(d)) for d in ([1.0, 0.0, 2.0], [1.0, 3.0, 0.0]))
    for make in BASES.values():
        basis = make(a, b)
        assert np.isfinite(basis.left).all() and np.isfinite(basis.right).all()


def test_empty_sources_give_the_identity():
    nothing = SecondMoment(np.zeros(3), matrix=np.zeros((3, 3)))
    for make in BASES.values():
        basis = make(nothing, nothing)
        assert np.isfinite(basis.left).all() and np.isfinite(basis.right).all()
