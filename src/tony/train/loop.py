"""The training loop: one pass over steps, from nothing or from the last checkpoint."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tony.data.batches import Batches
from tony.data.shards import Shard
from tony.errors import TonyError
from tony.model import Segments, Transformer
from tony.model.machine import autocast, choose_device, choose_precision, has_compiler, prepare_threads
from tony.model.weights import save_model
from tony.runs import Run
from tony.runs.recipe import TrainRecipe
from tony.tokens.vocabulary import MODALITIES, Vocabulary
from tony.train.checkpoint import load_checkpoint, save_checkpoint, saved_steps
from tony.train.distributed import Group
from tony.train.kinship import relate
from tony.train.loss import weighted_nats
from tony.train.optimizer import build_optimizer, clip_gradients, plan_for, set_learning_rate
from tony.train.pretrained import Pretrained, config_of
from tony.train.progress import Reporter


def learning_rate(recipe: TrainRecipe, step: int, steps: int) -> float:
    """Linear warm-up, constant, linear decay to 0 over the last `decay` share of the steps."""
    warmup = max(1, round(recipe.warmup * steps))
    decay = max(1, round(recipe.decay * steps))
    return recipe.lr * min(1.0, (step + 1) / warmup, (steps - step) / decay)


def loss_weights(shares: dict[str, float], shard: Shard, vocabulary: Vocabulary) -> Tensor:
    """A weight for every id, float32 (vocabulary,), that gives each modality its share of the loss.

    A modality's weight is its share of the loss over its share of the counted ids; without shares every weight is 1.
    """
    kinds = torch.from_numpy(vocabulary.modality_of)
    weights = torch.ones(len(MODALITIES) + 1)
    counts = shard.modality_counts(vocabulary, counted_only=True)
    present = {m: share for m, share in shares.items() if share and counts.get(m)}
    if any(shares.values()) and not present:
        raise TonyError(
            f"train.loss_shares names only {', '.join(shares)}, of which the data ask nothing: share the loss anew"
        )
    if present:
        total = sum(counts.values())
        for index, name in enumerate(MODALITIES):
            share = present.get(name, 0.0) / sum(present.values())
            weights[index] = share / (counts[name] / total) if counts[name] else 0.0
    return weights[kinds]


def _loss_shares(weights: Tensor, shard: Shard, vocabulary: Vocabulary) -> dict[str, float]:
    """The share of the loss that each modality has under `weights`, if all ids cost the same."""
    counts = shard.modality_counts(vocabulary, counted_only=True)
    kinds = torch.from_numpy(vocabulary.modality_of)
    shares = {
        name: counts[name] * float(weights[kinds == index].max()) for index, name in enumerate(MODALITIES)
    }
    total = sum(shares.values()) or 1.0
    return {name: share / total for name, share in shares.items()}


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C has come, as a function; in the block it only asks, so that no step is cut in half.

    The second one interrupts as usual. Only the main thread hears of signals: elsewhere nothing is deferred.
    """
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, previous)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = signal.signal(signal.SIGINT, ask) or signal.SIG_DFL  # None: a handler that Python did not set
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, previous)


@dataclass
class Losses:
    """Sums of losses and counts by modality, float64."""

    sums: np.ndarray
    counts: np.ndarray

    @classmethod
    def zero(cls) -> Losses:
        return cls(np.zeros(len(MODALITIES)), np.zeros(len(MODALITIES)))

    @classmethod
    def of(cls, nats: Tensor, kinds: Tensor) -> Losses:
        """Of losses (n,) of ids of modalities (n,)."""
        n = len(MODALITIES)
        sums = torch.bincount(kinds, nats.double(), minlength=n).cpu().numpy()
        return cls(sums, torch.bincount(kinds, minlength=n).double().cpu().numpy())

    def add(self, sums: np.ndarray, counts: np.ndarray) -> None:
        self.sums = self.sums + sums
        self.counts = self.counts + counts

    @property
    def by_modality(self) -> dict[str, float]:
        """Nats per counted id of each modality that was met."""
        pairs = zip(MODALITIES, self.sums, self.counts, strict=True)
        return {name: float(s / c) for name, s, c in pairs if c}

    @property
    def mean(self) -> float:
        return float(self.sums.sum() / max(1.0, self.counts.sum()))


class Trainer:
    """One model, its optimiser and its batches; `step` is how many steps are behind it.

    With more than one process in `group`, each works on its share of every batch's windows, and the first one writes.
    """

    def __init__(
        self, run: Run, vocabulary: Vocabulary, train: Shard, heldout: Shard, reporter: Reporter,
        group: Group | None = None,
    ) -> None:  # fmt: skip
        recipe = run.recipe
        self.run, self.recipe, self.vocabulary, self.reporter = run, recipe.train, vocabulary, reporter
        self.group = group = group or Group()
        prepare_threads(group.size)
        self.device = choose_device(recipe.train.device)
        self.precision = choose_precision(recipe.train.precision, self.device)
        config = config_of(recipe, vocabulary.size)
        self.model = Transformer(config)
        generator = torch.Generator().manual_seed(recipe.seed)
        self.model.reset(generator)
        start = Pretrained(recipe.start) if recipe.start else None
        self.plan = (
            plan_for(recipe.model, recipe.mup, vocabulary.size, start is not None) if recipe.mup else None
        )
        if self.plan is not None:
            self.plan.init_(self.model)
        relate(self.model.embedding.weight, vocabulary, recipe.train.kinship, generator)
        if start is not None:
            start.fill(self.model, vocabulary)  # of the plan, only learning rates are left
        self.model.to(self.device)
        if recipe.train.compile:
            self._compile()
        self.optimizer = build_optimizer(self.model, recipe.train, self.plan, group)
        windows = max(1, recipe.train.batch_tokens // config.context)
        self.steps = max(1, round(recipe.train.tokens / (windows * config.context)))
        span = self.steps if recipe.train.curriculum else None
        self.batches = Batches(train, config.context, recipe.train.batch_tokens, recipe.seed, span)
        if self.batches.windows_per_batch < group.size:
            raise TonyError(
                f"train.batch_tokens={recipe.train.batch_tokens} is {self.batches.windows_per_batch} windows of "
                f"{config.context}, too few for {group.size} processes: raise it, or lower train.processes"
            )
        self.heldout = Batches(heldout, config.context, recipe.train.batch_tokens, recipe.seed)
        self.weights = loss_weights(recipe.train.loss_shares, train, vocabulary).to(self.device)
        self.loss_shares = _loss_shares(self.weights.cpu(), train, vocabulary)
        self.kinds = torch.from_numpy(vocabulary.modality_of).to(self.device)
        self.step = 0
        self.seconds = 0.0
        self.skipped = 0
        self.losses = Losses.zero()  # since the last logged step

    def _compile(self) -> None:
        if self.device.type == "cuda" or has_compiler():
            self.model.compile_blocks()
        else:
            self.reporter.say(
                "torch.compile needs a C++ compiler, and none was found: training goes on without it"
            )

    def loss(self, windows: list[int], batches: Batches) -> tuple[Tensor, Tensor, Losses]:
        """The loss () of this process's share of `windows`, the sum () of its weights, and its sums by modality."""
        batch = batches.assemble(windows[self.group.rank :: self.group.size])
        segments = Segments.from_lengths(batch.lengths, batches.context).to(self.device)
        targets = batch.targets.to(self.device)
        with autocast(self.device, self.precision):
            states = self.model.trunk(batch.ids.to(self.device), segments)
            logits = self.model.readout(states.index_select(0, batch.places.to(self.device)))
        weights = self.weights[targets]
        loss, nats = weighted_nats(logits, targets, weights, self.recipe.z_loss)
        return loss, weights.sum(), Losses.of(nats, self.kinds[targets])

    def update(self, stop: Callable[[], bool] = bool) -> tuple[float, float, bool]:
        """One optimiser step on batch `self.step`: the learning rate, the gradient norm, whether any process says `stop`."""
        loss, weight, losses = self.loss(self.batches.windows(self.step), self.batches)
        loss.backward()
        figures = torch.tensor([float(stop()), *losses.sums, *losses.counts], dtype=torch.float64)
        self.group.mean_gradients(list(self.model.parameters()), float(weight), figures)
        norm = clip_gradients(self.model, self.recipe.clip, self.plan)
        lr = learning_rate(self.recipe, self.step, self.steps)
        set_learning_rate(self.optimizer, lr)
        if torch.isfinite(norm):
            self.optimizer.step()
        else:
            self.skipped += 1
        self.optimizer.zero_grad(set_to_none=True)
        self.losses.add(*np.split(figures[1:].numpy(), 2))
        self.step += 1
        return lr, float(norm), bool(figures[0])

    @torch.no_grad()
    def evaluate(self, most_batches: int = 8) -> dict[str, float]:
        """Held-out loss in nats per counted id, by modality."""
        losses = Losses.zero()
        per_batch = self.heldout.windows_per_batch
        windows = list(range(min(len(self.heldout.packing), most_batches * per_batch)))
        for first in range(0, len(windows), per_batch):
            part = windows[first : first + per_batch]
            if len(part[self.group.rank :: self.group.size]):
                _, _, own = self.loss(part, self.heldout)
                losses.add(own.sums, own.counts)
        figures = torch.tensor(np.concatenate([losses.sums, losses.counts]))
        self.group.sum(figures)
        return Losses(*np.split(figures.numpy(), 2)).by_modality

    def resume(self) -> bool:
        """Go to the last checkpoint, if there is one."""
        steps = saved_steps(self.run.checkpoints)
        if not steps:
            if self.group.is_first:
                self.run.truncate_metrics(0)  # of a run that was killed before its first checkpoint
            return False
        extra = load_checkpoint(self.run.checkpoints, steps[-1], self.model, self.optimizer)
        if extra["vocabulary"] != self.vocabulary.hash:
            raise TonyError(
                f"{self.run.checkpoints}: made with another vocabulary. Remove {self.run.path} and train again"
            )
        self.step, self.seconds, self.skipped = steps[-1], extra["seconds"], extra["skipped"]
        self.losses = Losses(np.array(extra["losses"][0]), np.array(extra["losses"][1]))
        if self.group.is_first:
            self.run.truncate_metrics(self.step)
        return True

    def save(self) -> None:
        """Write a checkpoint, if this is the process that writes; all of a group must call it."""
        self.optimizer.gather_state()
        if not self.group.is_first:
            return
        extra = {
            "vocabulary": self.vocabulary.hash,
            "seconds": self.seconds,
            "skipped": self.skipped,
            "losses": [self.losses.sums.tolist(), self.losses.counts.tolist()],
        }
        save_checkpoint(self.run.checkpoints, self.step, self.model, self.optimizer, extra)

    def fit(self, until: int | None = None, on_log: Callable[[dict], None] | None = None) -> None:
        """Train to the last step (or to `until`), logging and saving on the way.

        Ctrl-C lets the step end, saves, and then raises KeyboardInterrupt; a second Ctrl-C does not wait.
        """
        end = min(self.steps, until or self.steps)
        tokens_per_step = self.batches.tokens_per_batch
        flops_per_step = 6 * self.model.num_parameters_without_embeddings * tokens_per_step
        self.reporter.begin("training", self.steps, self.step)
        since, last_step = time.perf_counter(), self.step
        with deferred_interrupt() as interrupted:
            stop = False
            while self.step < end and not stop:
                lr, norm, stop = self.update(stop=interrupted)
                is_last = self.step == self.steps  # a stop at `until` leaves no mark in what is logged
                if self.step % self.recipe.log_every == 0 or is_last:
                    elapsed = time.perf_counter() - since
                    self.seconds += elapsed
                    speed = (self.step - last_step) * tokens_per_step / elapsed
                    row = {
                        "step": self.step, "tokens": self.step * tokens_per_step, "flops": self.step * flops_per_step,
                        "seconds": round(self.seconds, 2), "loss": self.losses.mean, "loss_by_modality": self.losses.by_modality,
                        "lr": lr, "grad_norm": norm, "tokens_per_second": round(speed, 1), "skipped": self.skipped,
                    }  # fmt: skip
                    if self.step % self.recipe.evaluate_every == 0 or is_last:
                        row["heldout_by_modality"] = self.evaluate()
                    if self.group.is_first:
                        self.run.log(row)
                    if on_log:
                        on_log(row)
                    self.reporter.advance(
                        self.step, loss=row["loss"], speed=speed, by=row["loss_by_modality"]
                    )
                    self.losses, since, last_step = Losses.zero(), time.perf_counter(), self.step
                if self.step % self.recipe.checkpoint_every == 0 and not is_last:
                    self.save()
            self.save()
            if stop and self.step < end:
                raise KeyboardInterrupt

    def finish(self) -> None:
        """Write the finished model in exchange form, if this is the process that writes."""
        if self.group.is_first:
            save_model(self.run.model, self.model)
