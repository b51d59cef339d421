"""Protects the intervals: they cover what is measured afterwards as often as they say, and say when they are far out."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import joint_loss, joint_runs, power_runs, runs_of

from tony.forecast import bootstrap, fit


def covered(make, form, ladders, first, resamples=200):
    """The share of ladders whose 90% interval holds a measured loss at 30 times the compute of the largest run."""
    hits, rng = 0, np.random.default_rng(99)
    for seed in range(first, first + ladders):
        runs, target, truth, noise = make(seed)
        law = fit(runs, form, starts=60)
        forecast = bootstrap(law, resamples, seed).predict(**target)
        hits += forecast.low <= truth * np.exp(noise * rng.normal()) <= forecast.high
    return hits / ladders


def compute_ladder(seed, noise=0.003):
    runs, truth = power_runs(8, noise, seed)
    return runs, {"C": 3e16}, truth(3e16), noise


def joint_ladder(seed, noise=0.005):
    n, m = (a.ravel() for a in np.meshgrid(np.geomspace(1e6, 1e8, 5), [5.0, 20.0, 80.0, 320.0]))
    rng = np.random.default_rng(seed)
    loss = joint_loss(n, m * n) * np.exp(noise * rng.normal(size=len(n)))
    target = {"N": 5.5e8, "D": 20 * 5.5e8}
    return (
        runs_of(loss, n, m * n, 6 * n * m * n),
        target,
        joint_loss(**{k.lower(): v for k, v in target.items()}),
        noise,
    )


@pytest.mark.parametrize(("make", "form"), [(compute_ladder, "power+constant:C"), (joint_ladder, "joint")])
def test_the_90_percent_interval_covers_85_to_95_percent_of_200_ladders(make, form):
    """With a true coverage of 90% a share outside happens once in fifty draws of 200; the seed is fixed."""
    assert 0.85 <= covered(make, form, 200, first=1000) <= 0.95


def hidden_constant(seed, noise=0.002):
    """Five sizes whose losses look like a power of C, of a law that bends: L = 0.8 + (C0 / C)^0.115."""
    c = np.geomspace(4e9, 8e11, 5)
    loss = 0.8 + (3e11 / c) ** 0.115
    measured = loss * np.exp(noise * np.random.default_rng(seed).normal(size=5))
    return runs_of(measured, c=c), {"C": 3e13}, 0.8 + (3e11 / 3e13) ** 0.115, noise


def test_a_constant_that_was_not_seen_is_not_taken_as_none():
    assert covered(hidden_constant, "power:C", 40, first=1) >= 0.85
    runs, target, *_ = hidden_constant(3)
    alone = bootstrap(fit(runs, "power:C"), 200)
    (other,) = alone.beside
    assert other.law.form.name == "power+constant:C" and other.beside == ()
    wide, narrow = alone.predict(**target), replace(alone, beside=()).predict(**target)
    assert wide.loss == narrow.loss and wide.high > narrow.high
    assert bootstrap(other.law, 50).beside == ()


def test_a_law_of_variables_that_were_not_given_is_not_asked():
    runs = joint_runs(40, noise=0.003, seed=3)
    found = bootstrap(fit(runs, "joint", starts=100), 100, beside=[fit(runs, "power+constant:C")])
    n, d = 1e9, 2e10
    alone = replace(found, beside=()).predict(N=n, D=d)
    assert found.predict(N=n, D=d) == alone
    both = found.predict(N=n, D=d, C=6 * n * d)
    other = found.beside[0].predict(C=6 * n * d)
    assert (both.low, both.high) == (min(alone.low, other.low), max(alone.high, other.high))


def test_rows_of_one_run_do_not_count_as_independent():
    """Eighty points of eight curves that err together leave more doubt than eighty runs."""
    c = np.tile(np.geomspace(1e13, 1e15, 10), 8)
    _, truth = power_runs(10)
    together = np.repeat(np.random.default_rng(0).normal(size=8), 10) * 0.01
    loss = truth(c) * np.exp(together)
    curves, single = runs_of(loss, c=c, run=np.repeat(np.arange(8), 10)), runs_of(loss, c=c)
    wide, narrow = (
        bootstrap(fit(runs, "power+constant:C", delta=0.1), 300).predict(C=1e15, noisy=False)
        for runs in (curves, single)
    )
    assert wide.half_width > 1.3 * narrow.half_width


def test_constants_and_optimum_have_intervals_around_them():
    law = fit(joint_runs(60, noise=0.01), "joint", starts=500)
    found = bootstrap(law, 300)
    for name, (value, low, high) in found.constants().items():
        assert low <= value <= high, name
    assert found.constants()["E"][1] < 1.69 < found.constants()["E"][2]
    best = found.optimum(1e24)
    assert best["N"][1] < best["N"][0] < best["N"][2]
    assert best["exponent"][0] == pytest.approx(0.28 / 0.62, abs=0.08)


def test_a_forecast_says_when_it_is_far_out():
    runs, _ = power_runs(8)
    found = bootstrap(fit(runs, "power+constant:C"), 50)
    assert not found.predict(C=5e16).warnings  # the data span 100 times: 50 times further is borne
    assert "further than they span" in found.predict(C=1e19).warnings[0]
    joint = bootstrap(fit(joint_runs(40), "joint", starts=200), 50)
    assert any("tokens per parameter" in w for w in joint.predict(N=1e8, D=1e13).warnings)


def test_the_same_seed_gives_the_same_interval():
    runs, _ = power_runs(8)
    law = fit(runs, "power+constant:C")
    assert bootstrap(law, 50, seed=3).predict(C=1e16) == bootstrap(law, 50, seed=3).predict(C=1e16)


def test_a_few_runs_that_went_badly_do_not_push_the_interval_below_the_law():
    """They err to one side only; a Huber fit hardly regards them, and so must its refits."""
    runs = joint_runs(40, noise=0.003, seed=3)
    runs.loss[::10] *= 1.1
    found = bootstrap(fit(runs, "overtraining", starts=100), 400)
    n, d = found.law.optimum(1e20)
    law = found.predict(N=n, D=d, noisy=False)
    assert (law.loss - law.low) / (law.high - law.low) == pytest.approx(0.5, abs=0.2)
