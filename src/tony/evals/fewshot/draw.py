"""Which worked examples stand before a question: a pure function of (seed, task, K, question)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

from tony.errors import TonyError
from tony.evals.task import Example, Task

Draw = Literal["item", "task"]


def shots_of(task: Task, train: Sequence[Example], k: int, seed: int, draw: Draw, item: int) -> list[Example]:
    """K different examples of `train`: a new draw for each question ("item", as GPT-3 has it) or one for all ("task").

    Raises:
        TonyError: K is larger than the split.
    """
    if k > len(train):
        raise TonyError(
            f"{task.name}: {k} examples are asked for and its train split has {len(train)}: lower --shots"
        )
    name = int.from_bytes(hashlib.blake2b(task.name.encode(), digest_size=6).digest(), "big")
    stream = np.random.default_rng([seed, name, item if draw == "item" else 0])
    return [train[i] for i in stream.permutation(len(train))[:k]]
