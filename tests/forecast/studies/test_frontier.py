"""Protects the study of the compute-optimal size: sizes at the same budgets, and the optimum of the law that made the losses."""

from types import SimpleNamespace

import numpy as np
import pytest
from synthetic import joint_loss

from tony.errors import TonyError
from tony.forecast.climb import Climber, runs_of
from tony.forecast.fit import optimum
from tony.forecast.forms import JOINT
from tony.forecast.ladder import SHORT, LadderRecipe, make_ladder
from tony.forecast.studies import frontier
from tony.runs import load_recipe
from tony.train.progress import Silent

THETA = (np.log(1.69), np.log(406.4), 0.34, np.log(410.7), 0.28)  # Hoffmann et al. 2022, as `joint_loss` is


def ladder_of(batch=680, **settings):
    recipe = load_recipe(
        {
            "name": "pixels",
            "data": {"kind": "pictures", "path": "-"},
            "vocabulary": {"image": {"kind": "grey", "side": 8}},
            "model": {"width": 64, "depth": 4, "head_dim": 8, "hidden": 192, "context": 136},
            "train": {"batch_tokens": batch, "lr": 0.01},
        }
    )
    wanted = {"allowance": 4e13, "sizes": 5, "smallest": 16, "horizon": 0.3, "growth": 0.5} | settings
    return make_ladder(recipe, LadderRecipe(**wanted))


def test_every_size_has_the_same_budgets():
    ladder = ladder_of()
    same = frontier.same_budgets(ladder)
    assert {rung.n for rung in same.rungs} == {rung.n for rung in ladder.rungs}
    for rung in same.rungs:
        share = rung.flops / ladder.largest
        assert min(abs(share / b - 1) for b in frontier.BUDGETS) < 0.05
        assert rung.steps >= SHORT and rung.recipe.name.startswith("pixels-frontier-w")
    # The largest size at the whole budget is the ladder's largest run but for the name.
    n = max(rung.n for rung in ladder.rungs)
    old = max((r for r in ladder.rungs if r.n == n), key=lambda r: r.tokens)
    new = max((r for r in same.rungs if r.n == n), key=lambda r: r.tokens)
    assert new.recipe.train.lr == pytest.approx(old.recipe.train.lr, rel=0.02)  # of whole steps and windows
    assert new.recipe.train.batch_tokens == old.recipe.train.batch_tokens


def test_a_ladder_of_budgets_is_read_as_it_is():
    ladder = ladder_of(budgets=(0.25, 0.5, 1), tokens_per_parameter=(20,), seeds=2)
    assert frontier.same_budgets(ladder) == ladder


def test_sizes_with_too_few_steps_are_left_out_and_fewer_than_three_refused():
    ladder = ladder_of(growth=0.0)
    few = frontier.same_budgets(ladder_of(batch=136_000, growth=0.0))
    assert len(few.rungs) < len(frontier.same_budgets(ladder).rungs)
    with pytest.raises(TonyError, match="fewer than three sizes"):
        frontier.same_budgets(ladder_of(batch=900_000, growth=0.0))


def points_of(noise=0.0, budgets=(1e20, 2e20, 4e20), ratios=(1 / 4, 1 / 2, 1, 2, 4)):
    """Losses of a known law, sizes around its optimum."""
    rng = np.random.default_rng(0)
    points = []
    for c in budgets:
        middle, _ = optimum(JOINT, np.array(THETA), c)
        for ratio in ratios:
            n = middle * ratio
            d = c / 6 / n
            loss = float(joint_loss(n, d) * np.exp(noise * rng.normal()))
            points.append({"name": f"{n} {d}", "N": n, "D": d, "C": c, "loss": loss, "seed": 0})
    return points


def climber():
    base = SimpleNamespace(name="x", seed=0, data=SimpleNamespace(kind="dictionary"), vocabulary=None)
    return SimpleNamespace(ladder=SimpleNamespace(base=base))


@pytest.fixture(autouse=True)
def no_row_of_the_paper(monkeypatch):
    monkeypatch.setattr(frontier, "paper_domain", lambda base: "language")


def test_the_optimum_and_its_exponent_come_back():
    points = points_of()
    finding = frontier.found(climber(), points, runs_of(points))
    law = finding.laws["N_opt(C), iso-FLOP profiles"]
    assert law["beta"] == pytest.approx(0.28 / 0.62, abs=0.01)
    n, _ = optimum(JOINT, np.array(THETA), 2e20)
    assert (2e20 / law["C0"]) ** law["beta"] == pytest.approx(n, rel=0.15)  # the law is no parabola
    assert len(finding.rows) == 15 and len(finding.curves) == 3
    assert "N_opt grows as C^0.4" in " ".join(finding.answers)


def test_a_hull_that_the_profiles_deny_is_warned_of(monkeypatch):
    points = points_of(noise=1e-4)
    for beta, warned in ((0.09, True), (0.28 / 0.62, False)):
        monkeypatch.setattr(
            frontier, "of_hull", lambda runs, b=beta: frontier.SizeRule(b, 0.0, "convex hull")
        )
        finding = frontier.found(climber(), points, runs_of(points))
        assert any("believe those" in warning for warning in finding.warnings) == warned


def test_a_budget_whose_optimum_is_at_the_edge_gives_none_and_says_so():
    points = points_of(ratios=(2, 3, 4, 6))
    finding = frontier.found(climber(), points, runs_of(points))
    assert "N_opt(C), iso-FLOP profiles" not in finding.laws
    assert any("Add smaller sizes" in warning for warning in finding.warnings)


def test_it_trains_each_size_once_and_branches(tmp_path, monkeypatch):
    """Points are made by a stand-in; what is asked for is the ladder of budgets, under a name of its own."""
    ladder, asked = ladder_of(), []

    def climb(self):
        asked.extend(rung.recipe.name for rung in self.ladder.rungs)
        return [
            {"name": r.recipe.name, "N": r.n, "D": r.tokens, "C": r.flops, "loss": 3 + 1e3 / r.n + 1e6 / r.tokens, "seed": 0}
            for r in self.ladder.rungs
        ]  # fmt: skip

    monkeypatch.setattr(Climber, "climb", climb)
    monkeypatch.setattr(Climber, "rate", lambda self, rung: 1e-6)
    material = SimpleNamespace()
    finding = frontier.run(Climber(ladder, tmp_path, Silent(), material))
    assert len(asked) == len(set(asked)) == len(finding.rows)
    assert {row[1] for row in finding.rows} == {rung.n for rung in ladder.rungs}
