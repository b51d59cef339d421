"""Protects the shapes: about one N and the same tokens, trained once, and the parabola that was put in."""

import numpy as np
import pytest

from tony.errors import TonyError
from tony.forecast.climb import Climber
from tony.forecast.ladder import LadderRecipe, make_ladder
from tony.forecast.studies import aspect
from tony.runs import load_recipe
from tony.train.progress import Silent


def ladder_of(head_dim=8, depth=4):
    recipe = load_recipe(
        {
            "name": "shapes",
            "data": {"kind": "pictures", "path": "-"},
            "vocabulary": {"image": {"kind": "grey", "side": 8}},
            "model": {"width": 64, "depth": depth, "head_dim": head_dim, "hidden": 192, "context": 136},
            "train": {"batch_tokens": 2720},
        }
    )
    return make_ladder(recipe, LadderRecipe(allowance=2e13, sizes=5, smallest=16))


@pytest.fixture
def climber(tmp_path):
    return Climber(ladder_of(), tmp_path, Silent())


def test_shapes_have_about_one_size_and_the_same_tokens(climber):
    base = climber.ladder.rungs[4]  # the second size, 20 tokens a parameter
    shapes = aspect.shapes_of(climber, base)
    assert base in shapes and len({rung.recipe.model.depth for rung in shapes}) == len(shapes) >= 3
    for rung in shapes:
        assert rung.n == pytest.approx(base.n, rel=aspect.NEAR) and rung.tokens == pytest.approx(
            base.tokens, rel=0.01
        )
        assert rung.recipe.model.hidden == 3 * rung.recipe.model.width
    widths = [rung.recipe.model.width for rung in shapes]
    assert widths == sorted(widths, reverse=True)


def test_models_of_the_shapes_have_the_size_that_is_told(climber):
    from tony.model import Transformer
    from tony.train.pretrained import config_of

    for rung in aspect.shapes_of(climber, climber.ladder.rungs[4]):
        assert Transformer(config_of(rung.recipe, 300)).num_parameters_without_embeddings == rung.n


def test_the_study_finds_the_best_aspect_and_trains_each_shape_once(climber, monkeypatch):
    """Losses by a parabola with its least at 6, and a law of N that carries them to one size."""
    trained = []

    def train(self, rung):
        trained.append(rung.recipe.name)
        x = np.log(rung.recipe.model.width / rung.recipe.model.depth / 6)
        scale = 2.5 + (1e3 / rung.n) ** 0.3 + (1e4 / rung.tokens) ** 0.3
        return {"N": rung.n, "D": rung.tokens, "C": rung.flops, "loss": scale * np.exp(0.01 * x**2)}

    points = {}
    monkeypatch.setattr(Climber, "rate", lambda *_: 1e-6)
    monkeypatch.setattr(Climber, "point", lambda self, rung: points.get(rung.recipe.name))
    monkeypatch.setattr(Climber, "train", train)
    for rung in climber.ladder.rungs:
        loss = 2.5 + (1e3 / rung.n) ** 0.3 + (1e4 / rung.tokens) ** 0.3
        points[rung.recipe.name] = {"N": rung.n, "D": rung.tokens, "C": rung.flops, "loss": loss}
    finding = aspect.run(climber)
    assert finding.laws["parabola"]["width / depth"] == pytest.approx(6, rel=0.1)
    assert "(paper: about 5)" in finding.answers[0]
    assert len(trained) == len(finding.rows) - 1  # one shape is the ladder's own


def test_heads_too_wide_for_other_shapes_are_refused(tmp_path):
    climber = Climber(ladder_of(head_dim=16, depth=1), tmp_path, Silent())
    with pytest.raises(TonyError, match=r"in whole heads of 16: lower model.head_dim"):
        aspect.shapes_of(climber, climber.ladder.rungs[0])
