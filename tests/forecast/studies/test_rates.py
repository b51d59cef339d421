"""Protects the best rates: the parabola that was put in is found, its fall with tokens too, and no edge is taken for a least."""

import numpy as np
import pytest

from tony.errors import TonyError
from tony.forecast.climb import Climber
from tony.forecast.ladder import LadderRecipe, make_ladder
from tony.forecast.studies import rates
from tony.runs import load_recipe
from tony.train.progress import Silent

BEST, FALL = 0.013, 0.35  # of the smallest size, and with what power of tokens it falls


def climber_of(path, lr=1e-2, horizon=0.2):
    recipe = load_recipe(
        {
            "name": "rated",
            "data": {"kind": "pictures", "path": "-"},
            "vocabulary": {"image": {"kind": "grey", "side": 8}},
            "model": {"width": 64, "depth": 4, "head_dim": 8, "hidden": 192, "context": 136},
            "train": {"batch_tokens": 1360, "lr": lr},
        }
    )
    return Climber(
        make_ladder(recipe, LadderRecipe(allowance=2e13, sizes=5, smallest=16, horizon=horizon)),
        path,
        Silent(),
    )


@pytest.fixture
def trained(monkeypatch):
    """Names of the runs that were trained, on losses whose least is at BEST (N / N of the smallest)^-FALL."""
    points = {}

    def train(self, rung):
        best = BEST * (rung.n / self.ladder.rungs[0].n) ** -FALL
        loss = 3.0 * np.exp(0.02 * np.log(rung.recipe.train.lr / best) ** 2)
        points[rung.recipe.name] = {"N": rung.n, "D": rung.tokens, "loss": float(loss)}
        return points[rung.recipe.name]

    monkeypatch.setattr(Climber, "rate", lambda *_: 1e-6)
    monkeypatch.setattr(Climber, "point", lambda self, rung: points.get(rung.recipe.name))
    monkeypatch.setattr(Climber, "train", train)
    return points


@pytest.mark.parametrize("lr", [1e-2, 3e-3, 5e-2])
def test_the_best_rates_and_their_fall_are_found(tmp_path, trained, lr):
    climber = climber_of(tmp_path, lr)
    finding = rates.run(climber)
    assert finding.laws["best rate"]["train.lr"] == pytest.approx(BEST, rel=1e-3)
    assert finding.laws["best rate"]["forecast.horizon"] == pytest.approx(FALL, rel=1e-3)
    assert [row[0] for row in finding.rows] == sorted({row[0] for row in finding.rows}) and len(
        finding.rows
    ) == 3
    count = len(trained)
    rates.run(climber)
    assert len(trained) == count  # read, not trained anew


def test_what_the_recipes_own_rate_costs_is_said(tmp_path, trained):
    climber = climber_of(tmp_path, BEST, FALL)
    assert all(abs(row[-1]) < 1e-6 for row in rates.run(climber).rows)
    trained.clear()
    off = rates.run(climber_of(tmp_path, BEST * 2, FALL))
    assert off.rows[0][-1] == pytest.approx(np.exp(0.02 * np.log(2) ** 2) - 1, rel=0.05)


def test_rates_of_a_rung_differ_in_nothing_else(tmp_path):
    climber = climber_of(tmp_path)
    own, double = (rates.rung_at(climber, 16, times) for times in (1.0, 2.0))
    assert double.recipe.train.lr == pytest.approx(2 * own.recipe.train.lr)
    assert own.tokens == double.tokens and own.recipe.name != double.recipe.name
    same = {"name": own.recipe.name, "train": own.recipe.train}
    assert double.recipe.model_copy(update=same) == own.recipe


def test_a_least_that_lies_far_away_is_refused(tmp_path, trained):
    with pytest.raises(TonyError, match=r"of 6 rates the lowest is still the best. Begin nearer: train.lr="):
        rates.run(climber_of(tmp_path, 10.0))
