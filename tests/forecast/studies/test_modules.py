"""Protects the study of modules: losses are those of each module's problems, and a sudden fall is told from a steady one."""

import random
from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tony.data.mathematics import Mathematics, Problem
from tony.errors import TonyError
from tony.forecast.climb import Climber
from tony.forecast.ladder import load_ladder
from tony.forecast.studies import modules, study_named
from tony.model import Segments
from tony.train.progress import Silent

SMALL = (
    "forecast.sizes=4", "forecast.smallest=8", "forecast.tokens_per_parameter=[2, 4]", "forecast.ray=4", "forecast.seeds=2",
    "forecast.growth=0", "forecast.gap=5.0", "forecast.heldout_tokens=2000", "forecast.beyond=1.5", "forecast.allowance=4e10",
    "model.head_dim=4", "model.depth=1", "model.context=64", "train.batch_tokens=640", "train.precision=float32",
    "train.compile=false", "data.problems=8000", "name=small",
)  # fmt: skip


def drawn(self, jobs):
    """Copies and constants by turns, drawn at once in place of the package's problems."""
    for level, part in jobs:
        rng = random.Random(f"{level} {part}")
        texts = ["".join(rng.choices("01", k=5)) for _ in range(100)]
        yield [
            Problem(module, level, f"{module} {text}{rng.random()}.", answer)
            for text in texts
            for module, answer in (("copy", text), ("constant", "yes"))
        ]


@pytest.fixture(scope="module")
def climber(repository, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Mathematics, "_parts", drawn)
        patch.setattr(modules, "NUMBER", 60)
        ladder = load_ladder(repository / "recipes" / "ladders" / "mathematics.toml", SMALL)
        found = Climber(ladder, tmp_path_factory.mktemp("runs"), Silent())
        found.climb()
        yield found


def test_a_module_has_the_loss_of_its_own_problems(climber):
    finding = study_named("modules")(climber)
    sizes = sorted({rung.n for rung in climber.ladder.rungs})
    assert [row[0] for row in finding.rows] == ["all", "constant", "copy"]
    assert finding.columns[2:5] == tuple(f"N={sizes[k]:,}" for k in (0, -2, -1))
    problems = list(islice(Mathematics(climber.ladder.base.data).problems("heldout"), 60))
    vocabulary = climber.material.vocabulary
    rungs = [r for r in climber.ladder.rungs if r.n == sizes[-1] and r.recipe.name.endswith("-m4")]
    assert len(rungs) == 2
    for row in finding.rows[1:]:
        logs = []
        for rung in rungs:
            trainer, nats, ids = climber.trained(rung), 0.0, 0
            for problem in problems:
                if problem.module == row[0]:
                    tokens = vocabulary.encode(problem.document())
                    answer = np.flatnonzero(tokens.counted)
                    logits = logits_of(trainer, tokens.ids)[answer - 1]
                    nats += float(F.cross_entropy(logits, torch.tensor(tokens.ids[answer]), reduction="sum"))
                    ids += len(answer)
            logs.append(np.log(nats / ids))
        assert row[1] == ids
        assert row[4] == pytest.approx(np.exp(np.mean(logs)), rel=1e-4)
        assert finding.laws[row[0]][f"loss at N={sizes[-1]:,}"] == row[4]
    constant, copy = (row[4] for row in finding.rows[1:])
    assert constant < copy


@torch.no_grad()
def logits_of(trainer, ids):
    return trainer.model.readout(
        trainer.model.trunk(torch.tensor(ids)[None], Segments.from_lengths([[len(ids)]], len(ids)))
    )


def test_a_sudden_fall_is_told_from_a_steady_one_and_from_noise(tmp_path):
    sizes = [10_000, 20_000, 40_000, 80_000]
    flops = np.array(sizes, float) ** 2 * 120
    x = np.log(flops / flops[0])
    steady, slow = -0.06 * x, -0.01 * x
    sudden, noisy = steady - 0.2 * (x == x[-1]), slow - 0.02 * (x == x[-1])
    logs = np.stack([steady - 0.05 * (x == x[-1]), steady, sudden, noisy], 1)
    finding = modules.found("x", sizes, flops, dict.fromkeys(("all", "steady", "sudden", "noisy"), 500), logs)
    assert [row[-1] for row in finding.rows] == ["", "", "yes", ""]
    assert "1 of 3 modules" in finding.answers[1] and finding.answers[1].endswith(": sudden")
    sudden_law = finding.laws["sudden"]
    assert (sudden_law["below"], sudden_law["last"]) == pytest.approx((0.06, 0.06 + 0.2 / (x[-1] - x[-2])))
    over = {curve.name: curve.y for curve in finding.curves}
    assert over["sudden"] == pytest.approx([1, 1, 1, np.exp(-0.2)])
    assert over["steady"] == pytest.approx([1, 1, 1, 1])
    finding.draw(tmp_path / "modules.png")
    assert (tmp_path / "modules.png").read_bytes()[:4] == b"\x89PNG"


def test_unfinished_ladders_and_other_data_are_refused(repository, climber, tmp_path):
    with pytest.raises(TonyError, match="0 sizes of small are finished"):
        modules.run(Climber(climber.ladder, tmp_path, Silent()))
    pictures = load_ladder(repository / "recipes" / "ladders" / "images.toml")
    with pytest.raises(TonyError, match=r"needs data\.kind=mathematics, and images has pictures"):
        modules.run(Climber(pictures, tmp_path, Silent()))
