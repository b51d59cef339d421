"""Protects regret, wider-is-better and the tuning cost: closed forms, and the paper's own figure."""

import numpy as np
import pytest

from tony.errors import TonyError
from tony.tune import Curve, regret, tuning_cost, wider_is_better

RATES = np.arange(-9.0, -4.0)


def curve(size, *rows):
    return Curve(size, RATES, np.array(rows))


def test_the_papers_cost_of_tuning_gpt3():
    """350 trials of 4B tokens and 117 of 16B, a target 168 times larger, of 300B tokens: 0.065 (the abstract's 7%)."""
    trials = [(1.0, 4e9)] * 350 + [(1.0, 16e9)] * 117
    assert tuning_cost(trials, (168.0, 300e9)) == pytest.approx(0.065, abs=5e-4)


def test_regret_is_measured_at_the_proxys_best_rate():
    proxy = curve(64, [3.0], [2.5], [2.0], [2.5], [3.0])
    target = curve(512, [1.5, 1.5], [1.0, 1.0], [1.03, 1.05], [1.3, 1.2], [9.0, 9.0])
    found = regret(proxy, target)
    assert (found.log2_lr, found.best_loss) == (-7.0, 1.0)
    assert found.relative == pytest.approx(0.04)
    assert found.error == pytest.approx(
        0.01
    )  # differences .03 and .05: deviation .01414, over the square root of 2
    assert regret(proxy, proxy).relative == 0 and regret(proxy, proxy).error is None


def test_a_target_that_diverges_there_has_infinite_regret():
    proxy = curve(64, [3.0], [2.5], [2.0], [2.5], [3.0])
    target = curve(512, [1.5], [1.0], [np.inf], [np.inf], [np.inf])
    assert regret(proxy, target).relative == np.inf


def test_a_target_that_was_not_run_there_is_an_error():
    proxy = Curve(64, RATES + 0.5, np.array([[3.0], [2.5], [2.0], [2.5], [3.0]]))
    with pytest.raises(TonyError, match="Run it there"):
        regret(proxy, curve(512, [1.5], [1.0], [2.0], [3.0], [4.0]))


def test_wider_is_better_counts_smoothed_points_after_warm_up():
    steps = np.arange(1, 101)
    narrow = 1 / steps
    wide = narrow - 0.001
    wide[:10] += 1  # worse in the warm-up, which does not count
    share, pairs = wider_is_better({64: narrow, 128: wide, 256: wide + 0.0005}, warmup=0.1, smooth=1)
    assert pairs == {"64 to 128": 1.0, "128 to 256": 0.0} and share == 0.5
    wiggle = wide + 0.05 * (-1.0) ** steps  # averages out over an even window
    assert wider_is_better({64: narrow, 128: wiggle}, warmup=0.2, smooth=2)[0] == 1.0


def test_wider_is_better_needs_equal_steps():
    with pytest.raises(TonyError, match="equal steps"):
        wider_is_better({64: [1.0] * 9, 128: [1.0] * 8})
    with pytest.raises(TonyError, match="two sizes"):
        wider_is_better({64: [1.0] * 9})
