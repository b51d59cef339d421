"""What a search may choose from, and the points of a random or a grid search."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from tony.errors import TonyError
from tony.runs import Recipe
from tony.runs.recipe import MupRecipe, TrainRecipe
from tony.tune.proxy import KEYS

DIGITS = 4  # significant ones of a drawn value: recipes are read by people


@dataclass(frozen=True)
class Range:
    """Any number from `low` to `high`, evenly in its logarithm; a grid takes it in factors of 2."""

    low: float
    high: float

    def grid(self) -> list[float]:
        steps = math.floor(math.log2(self.high / self.low) + 1e-9)
        return [_rounded(self.low * 2.0**step) for step in range(steps + 1)]

    def draw(self, rng: np.random.Generator) -> float:
        drawn = _rounded(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))
        return min(max(drawn, self.low), self.high)

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class Choice:
    """One of a few numbers."""

    values: tuple[float, ...]

    def grid(self) -> list[float]:
        return list(self.values)

    def draw(self, rng: np.random.Generator) -> float:
        return self.values[int(rng.integers(len(self.values)))]

    def __str__(self) -> str:
        return "|".join(f"{value:g}" for value in self.values)


Space = dict[str, Range | Choice]


def default_space(recipe: Recipe) -> Space:
    """What Tensor Programs V asks to be tuned at least: learning rate, initial scale, multipliers; and the schedule.

    The learning rate a factor of 8 around the recipe's. Without QK-norm there is no attention scale to tune.
    """
    lr = recipe.train.lr
    space: Space = {
        "lr": Range(_rounded(lr / 8), _rounded(lr * 8)),
        "init_scale": Range(0.5, 2.0),
        "embedding_scale": Range(0.25, 4.0),
        "attention_scale": Range(0.5, 2.0),
        "output_scale": Range(0.25, 4.0),
        "decay": Choice((0.2, 0.6, 1.0)),
    }
    if not recipe.model.qk_norm:
        del space["attention_scale"]
    return space


def read_space(items: Sequence[str]) -> Space:
    """From "lr=0.001..0.1" (a range), "decay=0.2|0.6" (a choice) or "decay=0.6" (fixed).

    Raises:
        TonyError: a name that is not tuned, or no such form.
    """
    space: Space = {}
    for item in items:
        name, separator, text = item.partition("=")
        name = name.strip()
        if not separator or name not in KEYS:
            raise TonyError(f"{item!r}: write NAME=LOW..HIGH or NAME=A|B|C, with one of {', '.join(KEYS)}")
        try:
            if ".." in text:
                low, high = (float(part) for part in text.split(".."))
                found: Range | Choice = Range(low, high)
                is_right = 0 < low < high < math.inf
            else:
                found = Choice(tuple(float(part) for part in text.split("|")))
                is_right = all(math.isfinite(value) for value in found.values)
        except ValueError:
            is_right = False
        if not is_right:
            raise TonyError(f"{item!r}: write {name}=LOW..HIGH (0 < LOW < HIGH) or {name}=A|B|C")
        space[name] = found
    return space


def check_space(recipe: Recipe, space: Space) -> None:
    """Whether a recipe can hold what the space may choose.

    Raises:
        TonyError: a value outside of what its key takes, by name.
    """
    sections = {"train": recipe.train.model_dump(), "mup": {"base_width": recipe.model.width}}
    for name, choices in space.items():
        section, key = KEYS[name]
        values = (choices.low, choices.high) if isinstance(choices, Range) else choices.values
        for value in values:
            kind = TrainRecipe if section == "train" else MupRecipe
            try:
                kind.model_validate({**sections[section], key: value})
            except ValidationError as error:
                said = error.errors()[0]["msg"]
                raise TonyError(f"--space {name}={choices}: {value:g}: {said[0].lower()}{said[1:]}") from None


def grid_points(space: Space) -> list[dict[str, Any]]:
    """Every combination, the last name changing fastest."""
    names = list(space)
    return [
        dict(zip(names, values, strict=True))
        for values in itertools.product(*(space[name].grid() for name in names))
    ]


def random_point(space: Space, seed: int, index: int) -> dict[str, Any]:
    """Point `index` of a random search: a pure function of (seed, index)."""
    rng = np.random.default_rng([seed, 23, index])
    return {name: choices.draw(rng) for name, choices in space.items()}


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
