"""Protects: training that stops and goes on is the training that never stopped, to the last bit."""

import json
import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from tony.errors import TonyError
from tony.runs.recipe import TrainRecipe
from tony.train.checkpoint import saved_steps
from tony.train.loop import Losses, deferred_interrupt, learning_rate, loss_weights
from tony.train.optimizer import build_optimizer

TIMES = ("seconds", "tokens_per_second")


@pytest.fixture(scope="module")
def tiny(beside):
    return beside(Path(__file__).with_name("tiny.py"))


def outcome(trainer):
    """Parameters, optimiser state and metrics, without what the clock says."""
    parameters = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    names = {parameter: name for name, parameter in trainer.model.named_parameters()}
    state = {(names[p], key): v for p, values in trainer.optimizer.state.items() for key, v in values.items()}
    rows = [{k: v for k, v in row.items() if k not in TIMES} for row in trainer.run.metrics()]
    return parameters, state, rows


def assert_same(first, second):
    for name, parameter in first[0].items():
        assert torch.equal(parameter, second[0][name]), name
    assert first[1].keys() == second[1].keys() and len(first[1]) == 3 * len(first[0])
    for key, value in first[1].items():
        assert torch.equal(value, second[1][key]), key
    assert first[2] == second[2]


@pytest.fixture(scope="module")
def uninterrupted(tiny, tmp_path_factory):
    trainer = tiny.trainer(tmp_path_factory.mktemp("whole"))
    assert not trainer.resume()
    trainer.fit()
    return outcome(trainer)


def test_training_learns_and_logs(tiny, uninterrupted):
    rows = uninterrupted[2]
    assert [row["step"] for row in rows] == [4, 8, 12, 16, 20, 24]
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert set(rows[-1]) >= {
        "step",
        "tokens",
        "flops",
        "loss",
        "loss_by_modality",
        "lr",
        "grad_norm",
        "skipped",
    }
    assert rows[-1]["tokens"] == 24 * 640 and set(rows[-1]["loss_by_modality"]) == {"text", "image"}
    assert [row["step"] for row in rows if "heldout_by_modality" in row] == [8, 16, 24]
    # The readout begins at zero: the first predictions are uniform over the vocabulary.
    assert rows[0]["loss"] < math.log(tiny.vocabulary().size) + 0.1


@pytest.mark.parametrize("stops", [(1,), (5,), (7, 14), (23,)])
def test_resuming_is_exact(tiny, uninterrupted, tmp_path, stops):
    """A fresh Trainer after every stop, at steps that are and are not logged, saved or evaluated ones."""
    for stop in (*stops, None):
        trainer = tiny.trainer(tmp_path)
        assert trainer.resume() == (stop != stops[0])
        trainer.fit(until=stop)
    assert_same(outcome(trainer), uninterrupted)


def test_an_older_checkpoint_is_as_good(tiny, uninterrupted, tmp_path):
    """Steps after the last checkpoint are lost in a kill: they are run again and logged once."""
    trainer = tiny.trainer(tmp_path)
    trainer.fit(until=19)
    assert saved_steps(trainer.run.checkpoints) == [15, 19]
    (trainer.run.checkpoints / "step-00000019.safetensors").unlink()
    with (trainer.run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "lo')  # the line that the kill cut short
    trainer = tiny.trainer(tmp_path)
    assert trainer.resume() and trainer.step == 15
    trainer.fit()
    assert_same(outcome(trainer), uninterrupted)


def test_a_kill_before_the_first_checkpoint_starts_anew(tiny, uninterrupted, tmp_path):
    trainer = tiny.trainer(tmp_path)
    trainer.run.log({"step": 4, "loss": 9.0})
    assert not trainer.resume()
    trainer.fit()
    assert_same(outcome(trainer), uninterrupted)


def test_ctrl_c_ends_the_step_and_saves(tiny, uninterrupted, tmp_path):
    """The signal comes in the middle of a backward pass; nothing of the step is lost or done twice."""
    trainer = tiny.trainer(tmp_path)
    seen = []

    def interrupt(*_):
        seen.append(trainer.step)
        if len(seen) == 10:
            os.kill(os.getpid(), signal.SIGINT)

    trainer.model.readout.weight.register_hook(lambda gradient: interrupt())
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert saved_steps(trainer.run.checkpoints)[-1] == 10
    trainer = tiny.trainer(tmp_path)
    assert trainer.resume() and trainer.step == 10
    trainer.fit()
    assert_same(outcome(trainer), uninterrupted)


def test_a_second_ctrl_c_does_not_wait():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        _interrupt_twice()
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupt_twice():
    with pytest.raises(KeyboardInterrupt), deferred_interrupt() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_checkpoint_of_another_vocabulary_is_refused(tiny, tmp_path):
    trainer = tiny.trainer(tmp_path)
    trainer.fit(until=1)
    again = tiny.trainer(tmp_path)
    again.vocabulary = type("Other", (), {"hash": "0" * 12})()
    with pytest.raises(TonyError, match="another vocabulary"):
        again.resume()


def test_an_infinite_gradient_is_skipped(tiny, tmp_path):
    """One step is left out and counted; the metrics stay JSON that any reader takes."""
    trainer = tiny.trainer(tmp_path)
    before = [p.detach().clone() for p in trainer.model.parameters()]
    handle = trainer.model.readout.weight.register_hook(lambda g: g * math.inf)
    trainer.update()
    handle.remove()
    assert trainer.skipped == 1 and trainer.step == 1
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
    trainer.run.log({"step": 1, "grad_norm": math.nan, "loss_by_modality": {"text": math.inf}})
    line = (trainer.run.path / "metrics.jsonl").read_text()
    assert json.loads(line, parse_constant=pytest.fail) == {
        "step": 1, "grad_norm": None, "loss_by_modality": {"text": None}
    }  # fmt: skip


def test_loss_shares_are_what_was_asked(tiny, tmp_path):
    """If every id cost the same, text would make 40% of the loss and pictures 60%."""
    trainer = tiny.trainer(tmp_path)
    shard, words = trainer.batches.shard, trainer.vocabulary
    weights = loss_weights({"text": 0.4, "image": 0.6}, shard, words)
    ids = torch.from_numpy(np.asarray(shard.ids, np.int64)[np.asarray(shard.counted)])
    kinds = torch.from_numpy(words.modality_of)[ids]
    total = weights[ids].sum()
    assert float(weights[ids][kinds == 0].sum() / total) == pytest.approx(0.4, abs=1e-5)
    assert float(weights[ids][kinds == 1].sum() / total) == pytest.approx(0.6, abs=1e-5)
    assert float(weights[ids].mean()) == pytest.approx(1.0, abs=1e-5)
    assert (loss_weights({}, shard, words) == 1).all()
    absent = loss_weights({"text": 0.5, "audio": 0.5}, shard, words)
    assert float(absent[ids][kinds == 0].mean()) > 1 and (absent[ids][kinds == 1] == 0).all()
    with pytest.raises(TonyError, match="loss_shares"):
        loss_weights({"audio": 1.0}, shard, words)


def test_the_learning_rate_warms_up_holds_and_falls():
    recipe = TrainRecipe(lr=2.0, warmup=0.1, decay=0.5)
    rates = [learning_rate(recipe, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
    assert rates[10:50] == pytest.approx([2.0] * 40)
    assert rates[50:] == pytest.approx([2.0 * (100 - s) / 50 for s in range(50, 100)])
    assert min(rates) > 0
    assert [learning_rate(TrainRecipe(lr=1.0, warmup=0, decay=0), s, 3) for s in range(3)] == [1.0, 1.0, 1.0]


def test_weight_decay_falls_on_the_matrices_of_the_blocks_only(tiny, tmp_path):
    trainer = tiny.trainer(tmp_path)
    optimizer = build_optimizer(trainer.model, trainer.recipe)
    names = {id(p): name for name, p in trainer.model.named_parameters()}
    decayed, others = ({names[id(p)] for p in group["params"]} for group in optimizer.param_groups)
    assert decayed | others == set(names.values()) and not decayed & others
    assert {"embedding.weight", "readout.weight", "norm.weight"} <= others
    assert all(name.startswith("blocks.") and "norm" not in name for name in decayed)


def test_losses_are_sums_by_modality():
    losses = Losses.zero()
    first = Losses.of(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 2]))
    losses.add(first.sums, first.counts)
    second = Losses.of(torch.tensor([2.0]), torch.tensor([0]))
    losses.add(second.sums, second.counts)
    assert losses.by_modality == {"text": 2.0, "audio": 5.0} and losses.mean == 11 / 4


def test_held_out_loss_equals_a_plain_computation(tiny, tmp_path):
    trainer = tiny.trainer(tmp_path)
    trainer.fit(until=3)
    found = trainer.evaluate()
    sums, counts = {}, {}
    shard, kinds = trainer.heldout.shard, trainer.vocabulary.modality_of
    for index in range(len(shard)):
        tokens = shard.tokens(index)
        with torch.no_grad():
            logits = trainer.model(torch.from_numpy(tokens.ids)[None])[0]
        nats = -logits.log_softmax(-1)[torch.arange(len(tokens) - 1), torch.from_numpy(tokens.ids[1:])]
        for i in np.flatnonzero(tokens.counted):
            name = ("text", "image")[kinds[tokens.ids[i]]]
            sums[name] = sums.get(name, 0.0) + float(nats[i - 1])
            counts[name] = counts.get(name, 0) + 1
    assert found == pytest.approx({name: sums[name] / counts[name] for name in sums}, rel=1e-4)
