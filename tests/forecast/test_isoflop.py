"""Protects iso-FLOP profiles: the minimum that was put in comes back, and where there is none it is said why."""

import numpy as np
import pytest
from synthetic import joint_loss, joint_runs, runs_of

from tony.errors import TonyError
from tony.forecast import fit_isoflops


def profiles(shift=1.0, noise=0.0, seed=0, law=joint_loss, budgets=(1e18, 1e19, 1e20, 1e21)):
    """Nine sizes a budget around `shift` times the optimum of Hoffmann's constants."""
    rng = np.random.default_rng(seed)
    c = np.repeat(budgets, 9)
    best = 1.3447 * (c / 6) ** 0.4516
    n = shift * best * np.tile(np.geomspace(0.25, 4, 9), len(budgets))
    d = c / (6 * n)
    return runs_of(law(n, d) * np.exp(noise * rng.normal(size=len(n))), n, d, c)


def test_minima_and_exponent_of_hoffmanns_constants():
    found = fit_isoflops(profiles(noise=1e-4))
    assert len(found.profiles) == 4
    for profile in found.profiles:
        assert profile.n == pytest.approx(1.3447 * (profile.flops / 6) ** 0.4516, rel=0.1)
        assert profile.n_low < profile.n < profile.n_high
    assert found.beta == pytest.approx(0.4516, abs=0.02)
    assert found.beta_low < 0.4516 < found.beta_high
    assert found.size(1e22) == pytest.approx(1.3447 * (1e22 / 6) ** 0.4516, rel=0.2)


@pytest.mark.parametrize(("shift", "side"), [(10.0, "smaller"), (0.1, "larger")])
def test_a_minimum_outside_the_sizes_is_refused(shift, side):
    found = fit_isoflops(profiles(shift=shift))
    assert all(f"Add {side} sizes" in p.refused for p in found.profiles)
    with pytest.raises(TonyError, match="not among the sizes"):
        found.size(1e22)


def test_a_parabola_that_opens_downward_is_refused():
    found = fit_isoflops(profiles(law=lambda n, d: 6.0 - joint_loss(n, d)))
    assert all("opens downward" in p.refused for p in found.profiles)
    assert "rows 2, 3" in found.profiles[0].refused
    assert found.beta is None


def test_runs_without_common_budgets_are_refused():
    with pytest.raises(TonyError, match="no budget has runs of three sizes"):
        fit_isoflops(joint_runs(40))


def test_budgets_that_meet_by_chance_are_no_profiles():
    # Budgets drawn evenly: neighbours lie within a tenth of one another.
    runs = joint_runs(60, noise=0.003, seed=4)
    with pytest.raises(TonyError, match="no budget has runs of three sizes"):
        fit_isoflops(runs)
