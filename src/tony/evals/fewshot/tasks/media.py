"""Few-shot tasks about pictures and sounds of the digit world, for runs that were trained on it.

caption       a held-out picture of a digit -> its word
dictation     a held-out voice says a number -> its word
new-labels    pictures of four digits with made-up names that only the worked examples give -> the name
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from tony.data.digits import WORDS, DigitWorld
from tony.engine import Omni
from tony.errors import TonyError
from tony.evals.task import Example, Task
from tony.runs.data_recipes import DigitsData

SEED = 2005_14171
QUESTIONS, SHOWN = 400, 100
NAMES = {1: "wug", 4: "dax", 7: "fep", 8: "zom"}


def media_tasks(omni: Omni) -> list[Task]:
    """The tasks that `omni` can read.

    Raises:
        TonyError: it was not trained on the digit world.
    """
    if not isinstance(omni.recipe.data, DigitsData):
        raise TonyError(
            f"{omni.name} was not trained on the digit world: the media tasks ask about its digits"
        )
    world = cache(lambda: DigitWorld(omni.recipe.data, omni.recipe.seed))

    def examples(kind: str, split: str, count: int) -> Sequence[Example]:
        stream = np.random.default_rng([SEED, split == "train"])
        return [_named(world(), kind, int(stream.integers(10)), split, stream) for _ in range(count)]

    def labelled(split: str, count: int) -> Sequence[Example]:
        stream = np.random.default_rng([SEED, 2, split == "train"])
        choices = tuple(f" {name}" for name in NAMES.values())
        found = []
        for digit in stream.choice(list(NAMES), count).tolist():
            parts = tuple(world().part("image", digit, "en", split, stream))
            found.append(Example(context="", target=f" {NAMES[digit]}", choices=choices, parts=parts))
        return found

    return [
        Task(
            name=name,
            test=cache(lambda kind=kind: examples(kind, "heldout", QUESTIONS)),
            train=cache(lambda kind=kind: examples(kind, "train", SHOWN)),
        )
        for name, kind in (("caption", "image"), ("dictation", "audio"))
    ] + [
        Task(
            name="new-labels",
            test=cache(lambda: labelled("heldout", QUESTIONS)),
            train=cache(lambda: labelled("train", SHOWN)),
            scoring="choice",
            normalise="sum",
        )
    ]


def _named(world: DigitWorld, kind: str, digit: int, split: str, stream: np.random.Generator) -> Example:
    parts = tuple(world.part(kind, digit, "en", split, stream))
    return Example(context="", target=f" {WORDS['en'][digit]}", parts=parts)
