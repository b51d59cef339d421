"""The ladder: which small models to train, on how much, so that their losses forecast a large one.

Each size is one stable run (warm-up, then a constant learning rate) with decays branched off it, one for every number of
tokens per parameter: every point that is fitted is annealed, and the stable part is paid for once. A branch is the recipe
with its own budget and decay, begun from the stable run's checkpoint; batch i depends on the seed and i only, so it goes on
as if it had been trained alone.

Such sizes lie along a ray, the same tokens per parameter each, which is what a forecast along it needs; of what the best size
is, or how data and size share the loss, rays near each other say little. Where budgets are given, every size is trained to the
same compute instead (Hoffmann et al. 2022, approach 2), each budget from its beginning: lengths that differ fourfold want
rates that differ, and branches of one stable run have one.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tony.errors import TonyError
from tony.forecast.memory import Shape
from tony.runs import Recipe, load_recipe

# A model with fewer parameters than so many times its context is off the trend: those of 3 and 4 times were, those of 24 and
# 32 times were not (Henighan et al. 2020, appendix; the limit lies between).
SMALL = 10
SHORT = 100  # steps; captioned pictures of 48 and 72 steps lay 10% and more above the law of longer runs (NOTEBOOK.md)
WARMUP = 0.1  # of the shortest branch of a size; the same steps for all its branches


class LadderRecipe(BaseModel):
    """`[forecast]` of a recipe; the rest of it is the model and the training of every rung."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    allowance: Annotated[float, Field(gt=0, description="FLOP (6 N D) of all runs that are fitted")]
    sizes: Annotated[int, Field(ge=4)] = 7
    smallest: Annotated[int, Field(gt=0, description="width of the smallest model")] = 24
    seeds: Annotated[
        int, Field(gt=0, description="runs of every size, which differ by initial weights and order")
    ] = 1
    tokens_per_parameter: tuple[Annotated[float, Field(gt=0)], ...] = (10.0, 20.0, 40.0)
    budgets: Annotated[
        tuple[Annotated[float, Field(gt=0, le=1)], ...],
        Field(
            description="shares of the largest size's compute that every size is trained to; tokens_per_parameter is its alone"
        ),
    ] = ()
    ray: Annotated[float, Field(gt=0, description="tokens per parameter of the target")] = 20.0
    horizon: Annotated[
        float,
        Field(
            ge=0, lt=1, description="learning rates fall as the tokens of a size to the power of minus this"
        ),
    ] = 0.0
    growth: Annotated[
        float, Field(ge=0, lt=1, description="batches grow as the tokens of a size to the power of this")
    ] = 0.0
    beyond: Annotated[
        float, Field(gt=1, description="compute of the target over that of the largest run")
    ] = 30.0
    targets: Annotated[
        int, Field(gt=0, description="runs of the target, of whose losses the mean is measured")
    ] = 1
    decay: Annotated[float, Field(gt=0, lt=1, description="share of a branch's steps")] = 0.2
    gap: Annotated[float, Field(gt=0, description="most that test loss may exceed training loss")] = 0.005
    heldout_tokens: Annotated[int, Field(gt=0, description="that a loss is measured on")] = 400_000

    @model_validator(mode="after")
    def _points_can_be_placed(self) -> LadderRecipe:
        if self.budgets:
            twice = len(set(self.budgets)) < len(self.budgets)
            if twice or len(self.tokens_per_parameter) != 1 or max(self.budgets) != 1:
                raise ValueError(
                    "budgets need a 1 among them, none twice, and one number in tokens_per_parameter, the largest size's"
                )
        elif self.ray not in self.tokens_per_parameter:
            raise ValueError(f"ray={self.ray:g} is none of tokens_per_parameter")
        return self

    @property
    def along(self) -> float | None:
        """The ray that the sizes lie on, or None where they share budgets."""
        return None if self.budgets else self.ray


@dataclass(frozen=True)
class Rung:
    """One annealed point: a size and a budget."""

    recipe: Recipe
    stable: Recipe
    n: int
    tokens: int
    begin: int  # the step at which it leaves the stable run

    @property
    def flops(self) -> float:
        return 6.0 * self.n * self.tokens

    @property
    def steps(self) -> int:
        return round(self.tokens / _per_step(self))


@dataclass(frozen=True)
class Ladder:
    """All rungs, the smallest first, and the runs of the target."""

    base: Recipe
    settings: LadderRecipe
    rungs: tuple[Rung, ...]
    targets: tuple[Rung, ...]

    @property
    def target(self) -> Rung:
        """The first of its runs; the others differ by their seeds."""
        return self.targets[0]

    @cached_property
    def flops(self) -> float:
        """What is computed for the rungs: each stable run once, and the decays."""
        total = 0.0
        for stable in dict.fromkeys(rung.stable.name for rung in self.rungs):
            branches = [rung for rung in self.rungs if rung.stable.name == stable]
            total += sum(_decay_flops(rung) for rung in branches)
            total += max(_begin_flops(rung) for rung in branches)
        return total

    @property
    def small(self) -> set[int]:
        """Sizes N that are left out of fits: small against their context."""
        return {rung.n for rung in self.rungs if rung.n < SMALL * rung.recipe.model.context}

    @property
    def largest(self) -> float:
        return max(rung.flops for rung in self.rungs)


def load_ladder(source: str | Path, overrides: tuple[str, ...] = ()) -> Ladder:
    """The ladder that a recipe with a `[forecast]` section asks for.

    Raises:
        TonyError: no such recipe, no such section, or sizes that the allowance cannot pay for.
    """
    path = Path(source)
    try:
        tree: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TonyError(f"{path}: no such recipe. Give one such as recipes/ladders/images.toml") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TonyError(f"{path}: cannot be read as a recipe ({error})") from None
    section = tree.pop("forecast", None)
    if section is None:
        raise TonyError(f"{path}: has no [forecast] section. See recipes/ladders/images.toml for one")
    own = [o.removeprefix("forecast.") for o in overrides if o.startswith("forecast.")]
    for assignment in own:
        key, separator, value = assignment.partition("=")
        if not separator:
            raise TonyError(f"forecast.{assignment!r} is no key=value: write for example forecast.sizes=5")
        section[key.strip()] = tomllib.loads(f"v = {value}")["v"]
    base = load_recipe(tree, [o for o in overrides if not o.startswith("forecast.")])
    try:
        settings = LadderRecipe.model_validate(section)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, ("forecast", *first["loc"])))
        raise TonyError(f"{path}: {key}: {first['msg']}. Correct that value") from None
    return make_ladder(base, settings)


def make_ladder(base: Recipe, settings: LadderRecipe) -> Ladder:
    """Sizes in geometric steps up to the one that uses up the allowance.

    Raises:
        TonyError: the allowance does not pay for that many sizes.
    """
    if base.start is not None:
        raise TonyError(f"start={base.start}: sizes of a ladder are trained from nothing. Leave it out")
    widths = np.arange(settings.smallest, 4096, base.model.head_dim)
    widths = widths[(widths % base.model.head_dim == 0)]
    if not len(widths):
        raise TonyError(
            f"forecast.smallest={settings.smallest}: give a multiple of model.head_dim={base.model.head_dim}"
        )
    best: Ladder | None = None
    for largest in widths:
        chosen = _spread(base, widths[widths <= largest], settings.sizes)
        if len(chosen) < settings.sizes:
            continue
        ladder = _ladder(base, settings, chosen)
        if ladder.flops > settings.allowance:
            break
        best = ladder
    if best is None:
        raise TonyError(
            f"forecast.allowance={settings.allowance:.3g} FLOP does not pay for {settings.sizes} sizes from width "
            f"{settings.smallest} up: raise it, or ask for fewer sizes"
        )
    return best


def num_parameters(recipe: Recipe, width: int) -> int:
    """N, without embedding and readout, of the recipe's model at a width."""
    model = _model(recipe, width)
    heads = width // model.head_dim
    hidden = model.hidden or -(-8 * width // (3 * 64)) * 64
    shape = Shape(
        width=width, depth=model.depth, heads=heads, kv_heads=model.kv_heads or heads, head_dim=model.head_dim,
        hidden=hidden, vocabulary=1, context=model.context,
    )  # fmt: skip
    return shape.n - (0 if model.qk_norm else 2 * model.head_dim * model.depth)


def _model(recipe: Recipe, width: int) -> Any:
    """The model at another width, hidden and kv_heads in proportion."""
    changed: dict[str, Any] = {"width": int(width)}
    for name in ("hidden", "kv_heads"):
        value = getattr(recipe.model, name)
        if value is not None:
            changed[name] = max(1, round(value * width / recipe.model.width))
    return recipe.model.model_copy(update=changed)


def _spread(base: Recipe, widths: np.ndarray, count: int) -> list[int]:
    """`count` of the widths, their N in steps as even as whole heads allow."""
    n = np.array([num_parameters(base, int(w)) for w in widths])
    chosen = {int(np.abs(np.log(n / x)).argmin()) for x in np.geomspace(n[0], n[-1], count)}
    while len(chosen) < min(count, len(widths)):
        # Small widths are few: what is missing goes where the largest gap is that has a width in it.
        free = [i for i in range(len(widths)) if i not in chosen]
        chosen.add(max(free, key=lambda i: min(abs(np.log(n[i] / n[j])) for j in chosen)))
    return [int(widths[i]) for i in sorted(chosen)]


def _ladder(base: Recipe, settings: LadderRecipe, widths: list[int]) -> Ladder:
    top = 6.0 * settings.tokens_per_parameter[0] * num_parameters(base, widths[-1]) ** 2
    rungs = [
        rung
        for width in widths
        for seed in range(settings.seeds)
        for rung in (
            rungs_at(base, settings, width, top, seed)
            if settings.budgets
            else rungs_of(base, settings, width, seed=seed)
        )
    ]
    largest = max(rung.flops for rung in rungs)
    goal = settings.beyond * largest
    width = widths[-1]
    while 6.0 * settings.ray * num_parameters(base, width) ** 2 < goal:
        width += base.model.head_dim
    targets = [
        rungs_of(base, settings, width, "target", (settings.ray,), seed)[0]
        for seed in range(settings.targets)
    ]
    return Ladder(base, settings, tuple(rungs), tuple(targets))


def rungs_at(base: Recipe, settings: LadderRecipe, width: int, top: float, seed: int = 0) -> list[Rung]:
    """The annealed points of one size at every budget, shares of `top` FLOP, the cheapest first."""
    tokens_per_parameter = top / (6 * num_parameters(base, width) ** 2)
    return [
        rungs_of(base, settings, width, f"w{width}-c{share:g}", (share * tokens_per_parameter,), seed)[0]
        for share in sorted(settings.budgets)
    ]


def rungs_of(
    base: Recipe,
    settings: LadderRecipe,
    width: int,
    name: str = "",
    ratios: tuple[float, ...] = (),
    seed: int = 0,
) -> list[Rung]:
    """The annealed points of one size, and the stable run that they leave; `seed` is added to the recipe's."""
    n = num_parameters(base, width)
    ratios = tuple(sorted(ratios or settings.tokens_per_parameter))
    # Of the tokens that the smallest size has on the ray: the rate and the batch of the recipe are for so many.
    times = ratios[-1] / settings.ray * (n / num_parameters(base, settings.smallest))
    context = base.model.context
    per_step = max(1, int(base.train.batch_tokens * times**settings.growth) // context) * context
    steps = {m: max(10, round(m * n / per_step)) for m in ratios}
    warmup = max(5, round(WARMUP * min(steps.values())))
    model = _model(base, width)
    # muP carries a rate over width, not over the length of training. Branches share their stable run, so a size has one rate.
    lr = base.train.lr * times**-settings.horizon

    def recipe(suffix: str, count: int, decay: float) -> Recipe:
        train = base.train.model_copy(
            update={
                "tokens": float(count * per_step),
                "batch_tokens": per_step,
                "warmup": warmup / count,
                "decay": decay,
                "lr": lr,
            }
        )
        title = f"{base.name}-{name or f'w{width}'}{f'-s{seed}' if seed else ''}{suffix}"
        return base.model_copy(
            update={"name": title, "seed": base.seed + seed, "model": model, "train": train}
        )

    stable = recipe("-stable", max(steps.values()), 0.0)
    return [
        Rung(
            recipe=recipe("" if name else f"-m{m:g}", count, settings.decay),
            stable=stable,
            n=n,
            tokens=count * per_step,
            begin=count - max(1, round(settings.decay * count)),
        )
        for m, count in steps.items()
    ]


def _begin_flops(rung: Rung) -> float:
    """Of the stable run up to where the rung leaves it."""
    return rung.flops * rung.begin / rung.steps


def _decay_flops(rung: Rung) -> float:
    return rung.flops - _begin_flops(rung)


def _per_step(rung: Rung) -> int:
    context = rung.recipe.model.context
    return max(1, rung.recipe.train.batch_tokens // context) * context
