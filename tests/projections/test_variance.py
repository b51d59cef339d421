"""Protects the closed forms: each against simulation, and against the two-dimensional example done by hand."""

from itertools import pairwise

import numpy as np
import pytest

from tony.projections import balance
from tony.projections.draws import draw, project, sample
from tony.projections.moments import SecondMoment
from tony.projections.variance import PROJECTIONS, coefficients, inclusion, padded, sampled

A, B = np.diag([4.0, 1.0]), np.diag([1.0, 9.0])


def moments(a, b):
    return SecondMoment(np.diag(a), matrix=a), SecondMoment(np.diag(b), matrix=b)


def estimates(projection, x, w, k, draws, seed=0):
    """Estimates of <x, w> of that many independent draws."""
    rng = np.random.default_rng(seed)
    pair = np.stack([x, w])
    out = np.empty(draws)
    for i in range(draws):
        left, right = project(pair, draw(projection, len(x), k, rng))
        out[i] = left @ right
    return out


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize(("width", "k"), [(32, 6), (11, 5)])
def test_variance_of_a_fixed_pair_is_the_closed_form(projection, width, k):
    """4,000 draws: the standard error of a variance is about 3%, checked at four of it; the mean at four of its own."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=width) * np.linspace(0.2, 2, width)
    w = 0.6 * x + rng.normal(size=width)
    found = estimates(projection, x, w, k, 4000)
    p, t, q = (x @ x) * (w @ w), x @ w, np.square(x) @ np.square(w)
    alpha, beta, gamma = coefficients(projection, width, k)
    expected = alpha * p + beta * t**2 + gamma * q
    assert found.var() == pytest.approx(expected, rel=0.12)
    assert abs(found.mean() - t) < 4 * found.std() / np.sqrt(len(found))


@pytest.mark.parametrize("projection", ["srht", "orthogonal"])
def test_nothing_is_lost_at_full_width(projection):
    x, w = np.random.default_rng(0).normal(size=(2, 16))
    assert coefficients(projection, 16, 16) == pytest.approx((0, 0, 0), abs=1e-12)
    assert estimates(projection, x, w, 16, 3) == pytest.approx(x @ w)


def test_the_example_in_two_dimensions():
    """A = diag(4, 1), B = diag(1, 9): every figure of the sheet's table."""
    a, b = moments(A, B)
    plain = balance.oblivious(2).tails(a, b)
    basis = balance.full(a, b, floor=0.0, ridge=0.0)
    tails = basis.tails(a, b)
    assert basis.spectrum == pytest.approx([3, 2], rel=1e-6)
    assert (plain.left[0] * plain.right[0], plain.cross[0]) == pytest.approx((50, 13))
    assert (tails.left[0], tails.right[0]) == pytest.approx((5, 5), rel=1e-6)
    assert plain.projected("gaussian", 1) == pytest.approx(63)
    assert tails.projected("gaussian", 1) == pytest.approx(38, rel=1e-6)
    assert tails.projected("sign", 1) == pytest.approx(12, rel=1e-6)
    assert tails.projected("srht", 1) == pytest.approx(12, rel=1e-6)
    assert tails.projected("srht", 2) == pytest.approx(0, abs=1e-9)
    assert tails.truncated(1) == pytest.approx(4, rel=1e-6)
    r, probabilities = inclusion(basis.spectrum, 1)
    assert r == 0 and sampled(basis.products(a, b), probabilities) == pytest.approx(12, rel=1e-6)


def test_optimum_of_the_sampler_and_order_of_the_closed_forms():
    """truncation <= unbiased optimum <= hybrid <= full Gaussian <= oblivious Gaussian, at every k."""
    rng = np.random.default_rng(1)
    roots = rng.normal(size=(2, 12, 12)) * np.geomspace(1, 20, 12)
    a, b = moments(*(root @ root.T for root in roots))
    basis = balance.full(a, b, 0.0, 0.0)
    tails, plain = basis.tails(a, b), balance.oblivious(12).tails(a, b)
    values, products = basis.spectrum, basis.products(a, b)
    for k in range(1, 13):
        r, probabilities = inclusion(values, k)
        assert probabilities.sum() == pytest.approx(k) and probabilities.max() <= 1 + 1e-9
        optimum = sampled(products, probabilities)
        bound = values[r:].sum() ** 2 / (k - r) - np.square(values[r:]).sum() if k < 12 else 0.0
        assert optimum == pytest.approx(bound, rel=1e-3, abs=1e-6 * values[0] ** 2)
        hybrid = min(tails.projected("gaussian", k, r) for r in range(k)) if k < 12 else 0.0
        chain = [
            tails.truncated(k),
            optimum,
            hybrid,
            tails.projected("gaussian", k),
            plain.projected("gaussian", k),
        ]
        assert all(low <= high * (1 + 1e-6) + 1e-6 for low, high in pairwise(chain)), (
            k,
            chain,
        )


def test_sampling_has_the_inclusion_probabilities_it_is_given():
    """8,000 draws: standard error at most 0.0056, checked at five of it; every draw has exactly k members."""
    _, probabilities = inclusion(np.geomspace(1, 0.01, 9), 4)
    rng = np.random.default_rng(0)
    counts = np.zeros(9)
    for _ in range(8000):
        picked = sample(probabilities, rng)
        assert len(set(picked)) == 4
        counts[picked] += 1
    assert counts / 8000 == pytest.approx(probabilities, abs=0.028)


def test_variance_of_sampling_where_the_moments_are_not_those_of_the_basis():
    """Hajek's joint probabilities against 8,000 draws on moments with strong off-diagonal terms."""
    rng = np.random.default_rng(2)
    root = rng.normal(size=(10, 10)) + 1.0
    products = np.square(root @ root.T)  # A' = B', all entries positive: the off-diagonal terms matter
    _, probabilities = inclusion(np.geomspace(1, 0.1, 10), 4)
    errors = []
    for _ in range(8000):
        weight = np.zeros(10)
        picked = sample(probabilities, rng)
        weight[picked] = 1 / probabilities[picked]
        errors.append((weight - 1) @ products @ (weight - 1))
    assert sampled(products, probabilities) == pytest.approx(np.mean(errors), rel=0.1)


def test_padding():
    assert [padded(d) for d in (1, 2, 3, 8, 9)] == [1, 2, 4, 8, 16]
