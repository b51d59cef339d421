"""Protects the study of levels: grades are those of greedy decoding, laws are told apart, finished models are only read."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tony.data.mathematics import LEVELS, Mathematics, Problem
from tony.errors import TonyError
from tony.forecast.climb import Climber
from tony.forecast.ladder import load_ladder
from tony.forecast.studies import levels, study_named
from tony.forecast.studies.levels import Graded, kink, left_out_error, report
from tony.model import Segments
from tony.train.progress import Silent

SMALL = (
    "forecast.sizes=4", "forecast.smallest=8", "forecast.tokens_per_parameter=[2, 4]", "forecast.ray=4",
    "forecast.seeds=1", "forecast.growth=0", "model.head_dim=4", "train.compile=false", "forecast.gap=5.0", "forecast.heldout_tokens=2000", "forecast.beyond=1.5", "forecast.allowance=2e10", "model.depth=1",
    "model.context=64", "train.batch_tokens=640", "train.precision=float32", "data.problems=8000", "name=small",
)  # fmt: skip


def drawn(self, jobs):
    """Copies to write out, longer ones at higher levels: drawn at once, in place of the package's problems."""
    for level, part in jobs:
        rng = random.Random(f"{level} {part}")
        texts = ["".join(rng.choices("01", k=1 + level)) for _ in range(100)]
        yield [Problem("copy", level, f"Copy {text}.", text) for text in texts]


@pytest.fixture(scope="module")
def climber(repository, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Mathematics, "_parts", drawn)
        patch.setattr(Mathematics, "split_of", lambda self, q: "train" if hash_of(q) % 4 else "heldout")
        patch.setattr(levels, "NUMBER", 20)
        ladder = load_ladder(repository / "recipes" / "ladders" / "mathematics.toml", SMALL)
        found = Climber(ladder, tmp_path_factory.mktemp("runs"), Silent())
        found.climb()
        yield found


def hash_of(text):
    return sum(text.encode()) * 31 + len(text) + int("1" + "".join(c for c in text if c in "01"), 2)


@pytest.fixture(scope="module")
def finding(climber):
    return study_named("levels")(climber)


def test_every_finished_size_is_graded_at_every_level(climber, finding):
    sizes = sorted({rung.n for rung in climber.ladder.rungs})
    assert finding.columns == ("level", *(f"N={n:,}" for n in sizes), "right", "by loss", "by N")
    assert [row[0] for row in finding.rows] == list(LEVELS)
    assert all(len(curve.x) == len(climber.ladder.rungs) for curve in finding.curves)
    assert all(0.1 < value < 10 for row in finding.rows for value in row[1 : 1 + len(sizes)])
    assert any("target is not finished" in w for w in finding.warnings)


def test_grades_are_those_of_greedy_decoding_alone(climber):
    """Without packing, one id after the other, until the model says that the answer ends."""
    source = Mathematics(climber.ladder.base.data)
    trainer = climber.trained(climber.ladder.rungs[-1])
    found = levels._grade(trainer, levels._problems(climber, source))
    vocabulary = climber.material.vocabulary
    for level in (1, 2, 8):
        right, nats, ids = [], 0.0, 0
        for problem in source.level(level, 20):
            tokens = vocabulary.encode(problem.document())
            logits = _logits(trainer, tokens.ids)
            answer = np.flatnonzero(tokens.counted)
            nats += float(
                F.cross_entropy(logits[answer - 1], torch.tensor(tokens.ids[answer]), reduction="sum")
            )
            ids += len(answer)
            written = list(tokens.ids[: answer[0]])
            while len(written) <= answer[-1]:
                written.append(int(_logits(trainer, np.array(written))[-1].argmax()))
            right.append(written[answer[0] :] == list(tokens.ids[answer]))
        assert found["accuracy"][level - 1] == np.mean(right)
        assert found["loss"][level - 1] == pytest.approx(nats / ids, rel=1e-4)


@torch.no_grad()
def _logits(trainer, ids):
    segments = Segments.from_lengths([[len(ids)]], len(ids))
    return trainer.model.readout(trainer.model.trunk(torch.tensor(ids)[None], segments))


def test_graded_models_are_read_not_graded_again(climber, finding, monkeypatch):
    monkeypatch.setattr(levels, "_grade", lambda *_: pytest.fail("graded again"))
    assert levels.run(Climber(climber.ladder, climber.root, Silent())).to_dict() == finding.to_dict()


def test_the_picture_is_drawn(finding, tmp_path):
    finding.draw(tmp_path / "levels.png")
    assert (tmp_path / "levels.png").read_bytes()[:4] == b"\x89PNG"


def test_unfinished_ladders_and_other_data_are_refused(repository, climber, tmp_path):
    with pytest.raises(TonyError, match="0 models of small are finished"):
        levels.run(Climber(climber.ladder, tmp_path, Silent()))
    pictures = load_ladder(repository / "recipes" / "ladders" / "images.toml")
    with pytest.raises(TonyError, match=r"needs data\.kind=mathematics, and images has pictures"):
        levels.run(Climber(pictures, tmp_path, Silent()))


def models(loss_of):
    """15 models of 5 sizes and 3 budgets; `loss_of(train loss, N, level)` is what they do at a level."""
    rng = np.random.default_rng(0)
    made = []
    for n in np.geomspace(1e4, 1e5, 5):
        for ratio in (10, 20, 40):
            train = 0.5 + (1e3 / n) ** 0.4 + 3 * (1e3 / (n * ratio)) ** 0.3
            loss = np.array([loss_of(train, n, level) for level in LEVELS]) + rng.normal(
                0, 0.002, len(LEVELS)
            )
            made.append(
                Graded(
                    int(n),
                    int(n * ratio),
                    train,
                    loss,
                    np.full(len(LEVELS), 0.002),
                    np.full(len(LEVELS), 0.5),
                )
            )
    return made


def test_a_loss_that_follows_the_training_loss_is_told_from_one_that_follows_size():
    follows = report("x", models(lambda train, n, level: train * (1 + 0.1 * level)), 0)
    assert "size tells nothing more" in follows.answers[1]
    by_loss, by_size = (np.array([row[i] for row in follows.rows]) for i in (-2, -1))
    assert (by_loss < 0.005).all() and (by_size > 5 * by_loss).all()
    helps = report("x", models(lambda train, n, level: 3 + train + 0.1 * level - 0.2 * np.log(n)), 0)
    assert "size tells something more" in helps.answers[1]


def test_laws_in_size_and_the_kink_are_found():
    found = report(
        "x", models(lambda train, n, level: 1 + (1e4 / n) ** 0.5 + 0.02 * level + 0.1 * max(0, level - 10)), 0
    )
    law = found.laws["loss(N) at level 8, interpolation"]
    assert law["alpha"] == pytest.approx(0.5, abs=0.1) and law["E"] == pytest.approx(1.16, abs=0.1)
    assert found.laws["kink"]["level"] == pytest.approx(10, abs=0.5)
    assert found.laws["kink"]["above"] == pytest.approx(0.12, abs=0.01)


def test_left_out_errors_are_those_of_leaving_out():
    rng = np.random.default_rng(1)
    x, z, loss = rng.normal(size=12), rng.normal(size=12), rng.normal(size=(12, 3))
    for others in ((), (z,)):
        columns = np.stack([np.ones(12), x, x**2, *others], 1)
        missed = []
        for i in range(12):
            kept = np.arange(12) != i
            found, *_ = np.linalg.lstsq(columns[kept], loss[kept], rcond=None)
            missed.append(loss[i] - columns[i] @ found)
        expected = np.sqrt(np.mean(np.square(missed), axis=0))
        np.testing.assert_allclose(left_out_error(loss, x, *others), expected, rtol=1e-6)


def test_two_lines_that_meet_are_found():
    at = np.arange(3.0, 20.0)
    level, below, above = kink(at, 0.3 + 0.05 * at + 0.2 * np.maximum(0, at - 12))
    assert (level, below, above) == pytest.approx((12, 0.05, 0.25))
