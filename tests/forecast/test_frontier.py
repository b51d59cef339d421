"""Protects the frontier: the law lies below every curve and near it, and the hull gives the size that was put in."""

import numpy as np
import pytest
from synthetic import joint_loss, runs_of

from tony.errors import TonyError
from tony.forecast import fit_frontier, fit_size
from tony.forecast.frontier import lower_hull, pareto


def curves(noise=0.0, seed=0, sizes=10, law=joint_loss):
    """Learning curves of several sizes: losses at 25 points of each, up to 400 tokens per parameter."""
    rng = np.random.default_rng(seed)
    n = np.repeat(np.geomspace(1e5, 1e8, sizes), 25)
    d = n * np.tile(np.geomspace(1, 400, 25), sizes)
    loss = law(n, d) * np.exp(noise * rng.normal(size=len(n)))
    return runs_of(loss, n, d, 6 * n * d, run=np.repeat(np.arange(sizes), 25))


def brute_pareto(c, loss):
    return {i for i in range(len(c)) if not any((c[j] <= c[i]) & (loss[j] < loss[i]) for j in range(len(c)))}


def test_pareto_against_brute_force():
    rng = np.random.default_rng(1)
    c, loss = rng.uniform(1, 9, 60), rng.uniform(1, 9, 60)
    rows = pareto(c, loss)
    assert set(rows) == brute_pareto(c, loss)
    assert (np.diff(c[rows]) > 0).all() and (np.diff(loss[rows]) < 0).all()


def test_hull_lies_below_all_points_and_is_convex():
    rng = np.random.default_rng(2)
    x, y = rng.uniform(0, 5, 80), rng.uniform(0, 5, 80)
    rows = lower_hull(x, y)
    slopes = np.diff(y[rows]) / np.diff(x[rows])
    assert (np.diff(slopes) > 0).all() and (slopes < 0).all()
    inside = x <= x[rows].max()
    assert (y[inside] >= np.interp(x[inside], x[rows], y[rows]) - 1e-12).all()


@pytest.mark.parametrize("noise", [0.0, 0.004])
def test_the_law_lies_below_every_curve_and_touches(noise):
    runs = curves(noise)
    law = fit_frontier(runs)
    gap = np.log(runs.loss / law.predict(C=runs.c))
    assert gap.min() >= -1e-9
    assert gap.min() < 1e-3  # no lower than it must be
    frontier = pareto(runs.c, runs.loss)
    assert np.median(gap[frontier]) < 0.01 + 3 * noise


def test_the_irreducible_loss_of_the_frontier_is_that_of_the_law():
    def strong(n, d):
        return joint_loss(n, d, E=2.5, A=20, a=0.3, B=60, b=0.3)

    assert fit_frontier(curves(law=strong)).irreducible == pytest.approx(2.5, rel=0.01)


def test_the_hull_gives_the_exponent_of_the_optimal_size():
    """For E + A/N^a + B/D^b the exponent is b / (a + b)."""

    def steep(n, d):
        return joint_loss(n, d, E=0.5, A=100, a=0.35, B=250, b=0.35)

    law = fit_size(curves(sizes=14, law=steep))
    assert law.beta == pytest.approx(0.5, abs=0.06)
    assert law.beta_low <= law.beta <= law.beta_high
    assert law.size(1e14) == pytest.approx(np.exp(law.log_g) * 1e14**law.beta)


def test_losses_that_do_not_fall_with_compute_are_refused_by_row():
    c = np.geomspace(1e10, 1e14, 6)
    with pytest.raises(TonyError, match=r"rows 3, 4, 5, 6, 7: above the frontier, as row 2 is better"):
        fit_frontier(runs_of(np.linspace(2, 3, 6), c=c))


def test_one_size_has_no_law_of_the_optimal_size():
    runs = curves(sizes=1)
    with pytest.raises(TonyError, match="of 1 size"):
        fit_size(runs)
