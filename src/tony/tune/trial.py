"""One trial: a recipe trained for its tokens, with its losses, and stopped where it diverges."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from tony.data.shards import Shard
from tony.runs import Recipe, Run
from tony.tokens.vocabulary import Vocabulary
from tony.train.loop import Losses, Trainer
from tony.train.prepare import prepare
from tony.train.progress import Reporter, Silent

POINTS = 64  # losses kept of a run
LAST = 8  # the loss of a run is the mean over the last eighth of its steps
PATIENCE = 0.25  # share of the steps after which a loss above the first one counts as diverged


@dataclass(frozen=True)
class Data:
    """What every trial of a sweep reads: it depends on no hyperparameter."""

    vocabulary: Vocabulary
    train: Shard
    heldout: Shard

    @classmethod
    def of(cls, run: Run, reporter: Reporter | None = None) -> Data:
        """Of a run folder; what is missing is made."""
        return cls(*prepare(run, reporter or Silent()))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a trial gave.

    loss: nats an id over the last eighth of the steps, modalities weighted by the recipe's shares of the loss; infinity where
        it diverged. Trials of one seed see the same batches, so their losses compare.
    losses: (steps, loss) along the way.
    parameters: without embeddings.   tokens: those that were trained on, the whole budget even if it diverged.
    """

    loss: float
    by_modality: dict[str, float]
    losses: list[tuple[int, float]]
    parameters: int
    tokens: int
    seconds: float

    @property
    def diverged(self) -> bool:
        return not math.isfinite(self.loss)

    def to_dict(self) -> dict[str, Any]:
        """Of plain values that JSON has: no infinity."""
        return {**asdict(self), "loss": None if self.diverged else self.loss}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Outcome:
        loss = math.inf if state["loss"] is None else state["loss"]
        losses = [(step, value) for step, value in state["losses"]]
        return cls(**{**state, "loss": loss, "losses": losses})


def run_trial(
    recipe: Recipe,
    data: Data,
    folder: Path,
    threads: int = 1,
    on_step: Callable[[int, int], None] | None = None,
    change: Callable[[Trainer], None] | None = None,
) -> Outcome:
    """Train `recipe` on `data`, and leave its recipe and metrics in run folder `folder`/<recipe's name>.

    Nothing is saved but losses; a trial that was killed begins anew. `on_step` is told (steps done, steps);
    `change` may change the trainer before its first step.
    """
    run = Run.create(recipe, folder)
    run.truncate_metrics(-1)
    trainer = Trainer(run, data.vocabulary, data.train, data.heldout, Silent())
    torch.set_num_threads(threads)
    if change:
        change(trainer)
    shares = {name: share for name, share in recipe.train.loss_shares.items() if share}
    block = max(1, trainer.steps // POINTS)
    blocks: list[tuple[int, Losses]] = []
    curve: list[tuple[int, float]] = []
    began = time.perf_counter()
    lost = False
    while trainer.step < trainer.steps and not lost:
        lr, norm, _ = trainer.update()
        if trainer.step % block and trainer.step < trainer.steps:
            continue
        blocks.append((trainer.step, trainer.losses))
        trainer.losses = Losses.zero()
        losses = blocks[-1][1]
        curve.append((trainer.step, weighted(losses, shares)))
        run.log({"step": trainer.step, "tokens": trainer.step * trainer.batches.tokens_per_batch,
                 "loss": curve[-1][1], "loss_by_modality": losses.by_modality, "lr": lr, "grad_norm": norm,
                 "skipped": trainer.skipped})  # fmt: skip
        lost = trainer.skipped > 0 or has_diverged([loss for _, loss in curve], trainer.step / trainer.steps)
        if on_step:
            on_step(trainer.step, trainer.steps)
    end = Losses.zero()
    for step, losses in blocks:
        if step > trainer.steps * (1 - 1 / LAST):
            end.add(losses.sums, losses.counts)
    return Outcome(
        loss=math.inf if lost else weighted(end, shares),
        by_modality={} if lost else end.by_modality,
        losses=[(step, loss) for step, loss in curve if math.isfinite(loss)],
        parameters=trainer.model.num_parameters_without_embeddings,
        tokens=trainer.steps * trainer.batches.tokens_per_batch,
        seconds=time.perf_counter() - began,
    )


def weighted(losses: Losses, shares: dict[str, float]) -> float:
    """Nats an id, modalities weighted by the recipe's shares of the loss; every id alike where it names none."""
    if not shares:
        return losses.mean
    present = {name: shares.get(name, 0.0) for name in losses.by_modality}
    total = sum(present.values())
    return sum(losses.by_modality[name] * share for name, share in present.items()) / total


def has_diverged(losses: list[float], progress: float) -> bool:
    """Whether a run is lost: a loss that is no number, or that is above the first one after a quarter of the steps."""
    return not math.isfinite(losses[-1]) or (progress > PATIENCE and losses[-1] > losses[0])
