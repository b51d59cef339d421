"""Recipes made from recipes: a small proxy of the target, the proxy with values to try, the target with values found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tony.errors import TonyError
from tony.runs import Recipe
from tony.runs.recipe import MupRecipe
from tony.train.optimizer import model_at_width

Parametrization = Literal["muP", "standard"]

# What may be tuned, and where a recipe holds it.
KEYS = {
    "lr": ("train", "lr"),
    "warmup": ("train", "warmup"),
    "decay": ("train", "decay"),
    "init_scale": ("mup", "init_scale"),
    "embedding_scale": ("mup", "embedding_scale"),
    "attention_scale": ("mup", "attention_scale"),
    "output_scale": ("mup", "output_scale"),
}


def at_size(recipe: Recipe, width: int, depth: int, tokens: float) -> Recipe:
    """The recipe's model at another width (by whole heads) and depth, trained on `tokens`.

    Raises:
        TonyError: a width that the model cannot have, or banded layers that a shallower model does not have.
    """
    model = model_at_width(recipe.model, width)
    banded = tuple(layer for layer in model.banded if layer < depth)
    model = model.model_copy(update={"depth": depth, "banded": banded})
    return recipe.model_copy(
        update={"model": model, "train": recipe.train.model_copy(update={"tokens": tokens})}
    )


def with_values(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with tuned values in place; scales need its [mup] section.

    Raises:
        TonyError: a name that is not tuned, or a scale without muP.
    """
    changed: dict[str, dict[str, Any]] = {"train": {}, "mup": {}}
    for name, value in values.items():
        if name not in KEYS:
            raise TonyError(f"{name!r} is nothing that is tuned. Known: {', '.join(KEYS)}")
        section, key = KEYS[name]
        changed[section][key] = value
    if changed["mup"] and recipe.mup is None:
        raise TonyError(
            f"{', '.join(changed['mup'])}: scales are part of muP. Give the recipe a [mup] section"
        )
    update = {name: getattr(recipe, name).model_copy(update=new) for name, new in changed.items() if new}
    return recipe.model_copy(update=update)


def parametrized(recipe: Recipe, how: Parametrization, base_width: int, base_depth: int | None) -> Recipe:
    """The recipe under muP relative to a base, or under the standard parametrisation.

    Standard keeps what the scales do (relative to its own size, at which muP's factors are 1): a fair comparison.
    """
    if how == "standard":
        base_width, base_depth = recipe.model.width, None
    scales = recipe.mup.model_dump() if recipe.mup else {}
    mup = MupRecipe(**{**scales, "base_width": base_width, "base_depth": base_depth})
    return recipe.model_copy(update={"mup": mup})


def proxy_width(recipe: Recipe) -> int:
    """A quarter of the target's width or the nearest below that its heads and hidden width allow; the least, if none is.

    The target's own width where it has a single head.
    """
    model = recipe.model
    possible = []
    for heads in range(1, model.width // model.head_dim + 1):
        try:
            model_at_width(model, heads * model.head_dim)
        except TonyError:
            continue
        possible.append(heads * model.head_dim)
    small = [width for width in possible if width <= model.width / 4]
    return max(small) if small else min(possible)


def widths_between(recipe: Recipe, narrowest: int) -> list[int]:
    """The proxy's width, doubled while it stays below the target's, and the target's."""
    widths = [narrowest]
    while 2 * widths[-1] < recipe.model.width:
        widths.append(2 * widths[-1])
    return widths if widths[-1] == recipe.model.width else [*widths, recipe.model.width]
