"""Held-out problems of mathematics as finished models answer them, each by itself."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F

from tony.data.batches import Batches
from tony.data.mathematics import Mathematics, Problem
from tony.data.shards import Shard
from tony.data.sources import open_source
from tony.errors import TonyError
from tony.forecast.climb import MOST_WINDOWS, Climber
from tony.model import Segments
from tony.model.machine import autocast
from tony.train.loop import Trainer


def source_of(climber: Climber, study: str) -> Mathematics:
    """The ladder's source of problems.

    Raises:
        TonyError: the ladder is not of mathematics.
    """
    base = climber.ladder.base
    source = open_source(base)
    if not isinstance(source, Mathematics):
        raise TonyError(
            f"study {study} needs data.kind=mathematics, and {base.name} has {base.data.kind}: take "
            "recipes/ladders/mathematics.toml"
        )
    return source


def packed(climber: Climber, study: str, problems: Iterable[Problem]) -> Batches:
    """The problems, encoded and packed, in a folder of the study's own."""
    base, vocabulary = climber.ladder.base, climber.material.vocabulary
    documents = (vocabulary.encode(problem.document()) for problem in problems)
    shard = Shard.write(climber.root / "studies" / f"{base.name}-{study}", documents, vocabulary)
    return Batches(shard, base.model.context, base.model.context, base.seed)


@torch.no_grad()
def grade(trainer: Trainer, batches: Batches) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nats of the answer, ids of the answer, and ids that are the most likely ones, of every document (documents,)."""
    nats, ids, right = (np.zeros(len(batches.shard)) for _ in range(3))
    windows = np.arange(len(batches.packing))
    trainer.model.eval()
    for part in np.array_split(windows, -(-len(windows) // MOST_WINDOWS)):
        batch = batches.assemble([int(window) for window in part])
        segments = Segments.from_lengths(batch.lengths, batches.context).to(trainer.device)
        with autocast(trainer.device, trainer.precision):
            states = trainer.model.trunk(batch.ids.to(trainer.device), segments)
            logits = trainer.model.readout(states.index_select(0, batch.places.to(trainer.device)))
        logits, targets = logits.float().cpu(), batch.targets
        owner = np.zeros(len(part) * batches.context, np.int64)  # the document at each position
        for row, (window, lengths) in enumerate(zip(part, batch.lengths, strict=True)):
            documents = np.repeat(batches.packing.window(int(window)), lengths)
            owner[row * batches.context :][: len(documents)] = documents
        owner = owner[batch.places.numpy()]
        np.add.at(nats, owner, F.cross_entropy(logits, targets, reduction="none").double().numpy())
        np.add.at(ids, owner, 1)
        np.add.at(right, owner, (logits.argmax(-1) == targets).numpy())
    return nats, ids, right
