"""Protects the study of test documents: what another draw does is what the theory of samples says, and every size is drawn alike."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from tony.errors import TonyError
from tony.forecast.studies import heldout
from tony.forecast.studies.position import Nats

FLOPS, TARGET = np.array([1e10, 4e10, 16e10]), 5e12


def documents(count=2000, tilt=0.3, seed=0):
    """Nats of three sizes: documents differ in length and difficulty, and the hard ones gain less from size."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 20, count)
    hard = rng.normal(size=count)
    loss = np.array([2.0 + 0.5 * hard, 1.9 + (0.5 - tilt / 2) * hard, 1.8 + (0.5 - tilt) * hard])
    return ids * loss, ids


def error_of(nats, counts):
    """The linearised residual of log(sum nats / sum counts), by document: its mean has the ratio's standard error."""
    ratio = nats.sum(-1, keepdims=True) / counts.sum()
    return (nats - ratio * counts) / (ratio * counts.mean())


def test_the_bootstrap_meets_the_standard_error_of_a_ratio():
    nats, counts = documents()
    finding = heldout.found_of("x", [1000, 2000, 4000], FLOPS, TARGET, nats, counts)
    errors, root = error_of(nats, counts), np.sqrt(len(counts))
    for i, row in enumerate(finding.rows):
        assert row[1] == pytest.approx(nats[i].sum() / counts.sum())
        assert row[2] == pytest.approx(errors[i].std() / root, rel=0.1)
        assert row[3] == pytest.approx((errors[i] - errors[-1]).std() / root, rel=0.1, abs=1e-12)
    x = np.log(FLOPS)
    weights = 1 / 3 + (np.log(TARGET) - x.mean()) * (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    carried = ((weights - 1 / 3) @ errors).std() / root
    assert finding.laws["another draw"]["forecast"] == pytest.approx(carried, rel=0.1)


def test_documents_that_all_sizes_find_as_hard_do_no_harm():
    ids = np.random.default_rng(1).integers(1, 20, 2000)
    hard = np.random.default_rng(2).lognormal(size=2000)
    finding = heldout.found_of("x", [1, 2, 3], FLOPS, TARGET, np.outer([2.0, 1.9, 1.8], ids * hard), ids)
    assert finding.rows[0][2] > 0.01 and finding.rows[0][3] < 1e-12
    assert not finding.warnings


def test_a_small_set_that_tilts_the_ladder_is_warned_of_with_the_number_that_is_enough():
    finding = heldout.found_of("x", [1, 2, 3], FLOPS, TARGET, *documents(500))
    (warning,) = finding.warnings
    assert "data.held_out" in warning
    enough = int(warning.split(": ")[1].split()[0].replace(",", ""))
    again = heldout.found_of("x", [1, 2, 3], FLOPS, TARGET, *documents(enough))
    assert again.laws["another draw"]["forecast"] == pytest.approx(heldout.MUCH, rel=0.2)


class Documents(SimpleNamespace):
    def __len__(self):
        return len(self.lengths)


@dataclass
class FakeLadder:
    rungs: list
    settings: object = field(default_factory=lambda: SimpleNamespace(heldout_tokens=30, budgets=()))
    small: set = field(default_factory=set)
    target: object = field(default_factory=lambda: SimpleNamespace(flops=TARGET))
    base: object = field(default_factory=lambda: SimpleNamespace(name="x", seed=0))

    @property
    def largest(self):
        return max(rung.flops for rung in self.rungs)


def climber_of(rungs, unfinished=()):
    said = []
    return SimpleNamespace(
        ladder=FakeLadder(rungs),
        material=SimpleNamespace(heldout=Documents(lengths=np.full(12, 3))),
        reporter=SimpleNamespace(say=said.append),
        point=lambda rung: None if rung in unfinished else {"loss": 1.0},
        trained=lambda rung: rung,
    )


def test_runs_of_the_ray_are_averaged_and_others_left_out(monkeypatch):
    rungs = [
        SimpleNamespace(n=n, tokens=n * m, flops=6.0 * n * n * m, seed=seed)
        for n in (100, 200) for seed in range(2) for m in (10, 20)
    ]  # fmt: skip
    asked = []

    def nats_of(rung, examples):
        asked.append((rung.n, rung.tokens // rung.n, examples))
        example = np.repeat(np.arange(examples), 2)
        return Nats(example, np.tile([0, 1], examples), (1.0 + example) * (1 + rung.seed) / rung.n)

    monkeypatch.setattr(heldout, "nats_of", nats_of)
    finding = heldout.run(climber_of(rungs))
    assert asked == [
        (n, 20, 10) for n in (100, 100, 200, 200)
    ]  # ten documents of three ids are the thirty tokens
    # Documents 1 to 10, two ids each, of nats 1 and 2 times their number over N: 1.5 on average.
    assert [row[1] for row in finding.rows] == [pytest.approx(1.5 * 5.5 / n) for n in (100, 200)]
    climber = climber_of(rungs, unfinished=[r for r in rungs if r.n == 200])
    with pytest.raises(TonyError, match="needs two"):
        heldout.run(climber)
