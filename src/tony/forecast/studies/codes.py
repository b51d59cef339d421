"""The same pictures as raw pixels and as codes of our own autoencoder: which law each loss follows (Henighan et al. 2020, table 3).

The ladder's rungs are trained twice more or less alike: on one id a pixel, and on the codes of an FSQ autoencoder over patches
(`tokens/patches.py`) that is trained on the same pictures at 64 x 64 in colour. Codes are lossy and of a larger picture, so
that neither entropy bounds the other: what compares is the shape of the laws, and how much of each loss is reducible.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tony.errors import TonyError
from tony.forecast.climb import Climber, runs_of
from tony.forecast.derived import per_image
from tony.forecast.fit import Law, fit
from tony.forecast.ladder import make_ladder
from tony.forecast.paper import PAPER
from tony.forecast.studies.finding import Axes, Curve, Finding
from tony.forecast.studies.runs import on_ray
from tony.runs import Recipe
from tony.runs.recipe import ImageCodecRecipe
from tony.tokens.patches import PatchConfig

CODES = ImageCodecRecipe(kind="patches", side=64, steps=600)
SHOWN = 0.02  # share of the lowest loss below which an irreducible loss is none


def run(climber: Climber) -> Finding:
    """Climb the ladder on pixels and on codes, and fit L(N) to the longest branch of each size.

    Raises:
        TonyError: the recipe's documents are not pictures of pixels, or their codes do not fit its context.
    """
    base, settings = climber.ladder.base, climber.ladder.settings
    climber = on_ray(climber)
    most = max(rung.tokens for rung in climber.ladder.rungs) / climber.ladder.target.tokens
    coded = coded_recipe(base, max(1, math.ceil(most * getattr(base.data, "copies", 1))))
    others = on_ray(Climber(make_ladder(coded, settings), climber.root, climber.reporter))
    assert base.vocabulary.image is not None
    domains = {
        "pixels": (climber, base.vocabulary.image.side**2),
        "codes": (others, PatchConfig(side=CODES.side).places ** 2),
    }
    rows: list[list[Any]] = []
    curves, laws, answers, warnings = [], {}, [], []
    for name, (one, length) in domains.items():
        longest = {p["N"]: p for p in sorted(one.climb(), key=lambda p: p["D"])}
        points = [longest[n] for n in sorted(longest)]
        counted = length + 1  # the mark that ends a picture is asked, too
        law = fit(runs_of(points), "power+constant:N")
        constants = law.constants
        entropy, scale = per_image(counted, *(constants[k] for k in ("E", "N0", "alpha")))
        laws[f"L(N), {name}, nats an id"] = {k: constants[k] for k in ("E", "N0", "alpha")}
        laws[f"L(N), {name}, nats a picture"] = {"E": entropy, "N0": scale, "alpha": constants["alpha"]}
        rows += [
            [name, p["N"], p["D"], p["loss"], counted * p["loss"], counted * (p["loss"] - constants["E"])]
            for p in points
        ]
        curves.append(_curve(f"{name}, {length} ids", law, counted))
        answers.append(
            f"{name}: {counted} ids a picture, {entropy:.0f} nats of entropy by L(N), {counted * points[-1]['loss'] - entropy:.0f} "
            f"reducible at N = {points[-1]['N']:,}, exponent {constants['alpha']:.2f}"
        )
        if constants["E"] < SHOWN * points[-1]["loss"]:
            warnings.append(
                f"{name}: L(N) shows no irreducible loss over these sizes, so its entropy is no estimate"
            )
    answers += _of_paper()
    warnings.append(
        "L(N) is of the longest run of each size, not of convergence; compute leaves out the training of the autoencoder"
    )
    columns = ("ids are", "N", "D", "nats an id", "nats a picture", "of it reducible")
    axes = Axes("N, parameters without embeddings", "loss, nats a picture", "xy")
    return Finding("codes", base.name, columns, rows, axes, curves, laws, answers, warnings)


def coded_recipe(base: Recipe, copies: int | None = None) -> Recipe:
    """The recipe of the ladder on codes: crops of the same pictures, encoded at 64 x 64.

    Raises:
        TonyError: `base` is not of pictures as pixels, or its context is too short for the codes of one.
    """
    image = base.vocabulary.image
    if base.data.kind != "pictures" or image is None or image.kind == "patches":
        raise TonyError(
            f"{base.name}: the study of codes takes pictures as pixels (data.kind=pictures, vocabulary.image.kind=grey or "
            "palette). Give recipes/ladders/images.toml"
        )
    need = PatchConfig(side=CODES.side).places ** 2 + 4  # start, begin, end, stop
    if base.model.context < need:
        raise TonyError(
            f"model.context={base.model.context} is too short for the {need} ids of a coded picture: raise it"
        )
    # Larger crops, where pictures are larger than that; and no more of them than the rungs see, as encoding them is slow.
    data = base.data.model_copy(update={"side": CODES.side, "copies": copies or base.data.copies})
    vocabulary = base.vocabulary.model_copy(update={"image": CODES})
    return base.model_copy(update={"name": f"{base.name}-codes", "data": data, "vocabulary": vocabulary})


def _curve(name: str, law: Law, counted: int) -> Curve:
    """Points and law in nats a picture."""
    n = law.runs.column("N")
    x = np.geomspace(n.min(), n.max(), 60)
    return Curve(
        name,
        n.tolist(),
        (counted * law.runs.loss).tolist(),
        x.tolist(),
        (counted * np.asarray(law.predict(N=x))).tolist(),
    )


def _of_paper() -> list[str]:
    """The paper's rows of pictures, in the same words (sizes from its L(N), table 1)."""
    lines = []
    for name, row in PAPER.items():
        if name.startswith("image ") and row.tokens:
            entropy, scale = per_image(row.tokens, row.size.irreducible, row.size.scale, row.size.alpha)
            lines.append(
                f"the paper's {name}: {row.tokens} ids a picture, {entropy:.0f} nats of entropy by L(N), 1 nat reducible at "
                f"N = {scale:.2g}, exponent {row.size.alpha:.2f}"
            )
    return lines
