"""Protects L(D): sets hold one another, training stops where test loss is least, and crossings are those of the laws."""

import json
from itertools import pairwise

import numpy as np
import pytest

from tony.errors import TonyError
from tony.forecast.climb import Climber, Material
from tony.forecast.fit import Law
from tony.forecast.forms import FORMS
from tony.forecast.ladder import LadderRecipe, make_ladder
from tony.forecast.studies import data
from tony.forecast.table import Runs
from tony.runs import load_recipe
from tony.train.progress import Silent


class Lengths:
    def __init__(self, lengths):
        self.lengths = np.array(lengths)

    def __len__(self):
        return len(self.lengths)


def test_sets_are_nested_and_of_the_size_asked_for():
    shard = Lengths(np.random.default_rng(0).integers(5, 50, 400))
    sets = data.nested(shard, [200, 400, 800, 1600])
    for (d, documents), asked in zip(sets, (200, 400, 800, 1600), strict=True):
        assert d == shard.lengths[documents].sum() and asked <= d < asked + 50
        assert len(set(documents.tolist())) == len(documents)
    for (_, small), (_, large) in pairwise(sets):
        assert set(small.tolist()) < set(large.tolist())
    with pytest.raises(TonyError, match="fewer than the 1,000,000"):
        data.nested(shard, [1e6])


@pytest.fixture
def climber(tmp_path, monkeypatch):
    """A ladder of tiny models on synthetic 4x4 pictures of 8 levels, each pixel near the one before."""
    from tony.data.shards import Shard
    from tony.media import Document, Image
    from tony.tokens.pixels import PixelCodec
    from tony.tokens.text import TextCodec
    from tony.tokens.vocabulary import Vocabulary

    monkeypatch.setattr(data, "TESTED", 2000)
    monkeypatch.setattr(data, "SETS", 4)
    monkeypatch.setattr(data, "EPOCHS", 5)
    monkeypatch.setattr(data, "LARGEST", 0.5)
    monkeypatch.setattr(data, "WARMUP", 8)
    monkeypatch.setattr(data, "PACE", 1.5)
    rng = np.random.default_rng(0)
    words = Vocabulary(TextCodec.train(["a"], 256), PixelCodec.grey(4, 8))
    shards = []
    for split, count in (("train", 400), ("heldout", 200)):
        walks = rng.integers(-1, 2, (count, 16)).cumsum(1) % 8
        documents = (words.encode(Document([Image(words.image.palette[w].reshape(4, 4, 1))])) for w in walks)
        shards.append(Shard.write(tmp_path / split, documents, words))
    recipe = load_recipe(
        {
            "name": "sets",
            "data": {"kind": "pictures", "path": "-"},
            "model": {"width": 16, "depth": 1, "head_dim": 8, "hidden": 48, "context": 40},
            "train": {"batch_tokens": 400, "lr": 1e-2, "precision": "float32", "device": "cpu"},
        }
    )
    ladder = make_ladder(
        recipe, LadderRecipe(allowance=1e10, sizes=4, smallest=8, tokens_per_parameter=(2, 4), ray=4)
    )
    return Climber(ladder, tmp_path / "runs", Silent(), Material(words, *shards))


def test_the_study_learns_more_from_more_data_and_reads_what_is_finished(climber, monkeypatch):
    monkeypatch.setattr(Climber, "rate", lambda *_: 1e-6)
    finding = data.run(climber)
    d, loss = [row[0] for row in finding.rows], [row[5] for row in finding.rows]
    assert len(d) == 4 and d == sorted(d)
    assert loss[-1] < loss[0] < np.log(8) + 0.5
    for row in finding.rows:
        assert (
            row[5] <= 1.05 * row[4]
        )  # a decay never counts against it, but for the sample it is measured on
    assert any("Climb the ladder first" in w for w in finding.warnings)
    json.dumps(finding.to_dict(), allow_nan=False)
    monkeypatch.setattr(data, "train", lambda *_: pytest.fail("trained again"))
    assert data.run(climber).rows == finding.rows
    kept = {path.name for path in climber.root.rglob("*") if path.is_file()}
    assert kept == {data.RESULT}  # sets and checkpoints are gone


def test_a_point_of_another_recipe_is_refused(climber):
    rung = climber.ladder.rungs[0]
    folder = climber.root / data.name_of(rung, 100)
    folder.mkdir(parents=True)
    (folder / data.RESULT).write_text(json.dumps({"recipe": "other"}))
    with pytest.raises(TonyError, match="trained from another recipe"):
        data.least_loss(climber, rung, 100)


def law(form, *theta):
    lines = np.arange(4)
    return Law(
        FORMS[form], np.array(theta), 0.0, Runs(None, None, None, np.ones(4), lines.astype(str), lines)
    )


def test_the_crossing_is_where_both_laws_say_the_same():
    """L(C) = 0.5 + C^-0.2 1e3, L(D) = 1 + 60 D^-0.4; N_opt = G (C/6)^.5 with A = B, so D = (C/6)^.5."""
    compute = law("power+constant:C", np.log(0.5), np.log(1e3), 0.2)
    least = law("power+constant:D", np.log(1.0), np.log(60.0), 0.4)
    joint = law("overtraining", np.log(1.0), np.log(10.0), 0.4, np.log(10.0))
    found = data.crosses(compute, least, joint, 1e12)
    difference = lambda c: 0.5 + 1e3 * c**-0.2 - 1 - 60 * (c / 6) ** -0.2  # noqa: E731
    assert difference(found) < 0 < difference(found / 1.02)
    above = law("power+constant:C", np.log(1.5), np.log(1e3), 0.2)
    assert data.crosses(above, least, joint, 1e12) is None
