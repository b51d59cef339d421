"""Loss against width / depth at about one size N and the same tokens (Henighan et al. 2020, section 3).

The shapes are the recipe's depth divided and multiplied by 2 and 4, each as wide as makes N nearest to that of a small size of
the ladder. N differs by what whole heads allow: losses are carried to one N by the ladder's law, where it is climbed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tony.errors import TonyError
from tony.forecast.climb import Climber, runs_of
from tony.forecast.fit import Law, fit
from tony.forecast.ladder import Rung, num_parameters, rungs_of
from tony.forecast.paper import ASPECT, paper_domain
from tony.forecast.studies.finding import Axes, Curve, Finding
from tony.forecast.studies.runs import announce, finished

DEPTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the recipe's
NEAR = 0.35  # N of a shape may differ so much, as a share
CLOSE = 0.01  # losses within so much of the least are as good


def run(climber: Climber) -> Finding:
    """The study, at the second smallest size that is fitted and its middle number of tokens; finished shapes are read."""
    rungs = [rung for rung in climber.ladder.rungs if rung.n not in climber.ladder.small]
    sizes = sorted({rung.n for rung in rungs})
    of_size = [rung for rung in rungs if rung.n == sizes[min(1, len(sizes) - 1)]]
    base = sorted(of_size, key=lambda rung: rung.tokens)[len(of_size) // 2]
    shapes = shapes_of(climber, base)
    announce(climber, shapes)
    points = [climber.point(rung) or climber.train(rung) for rung in shapes]
    try:
        law = fit(runs_of(finished(climber)), "overtraining")
    except (TonyError, ValueError):
        law = None
    return found(climber, base, shapes, points, law)


def shapes_of(climber: Climber, base: Rung) -> list[Rung]:
    """Rungs of about N and of the tokens of `base`, the widest first; `base` is one of them.

    Raises:
        TonyError: fewer than three depths have a width with such an N.
    """
    found = []
    for depth in dict.fromkeys(max(1, round(x * base.recipe.model.depth)) for x in DEPTHS):
        if depth == base.recipe.model.depth:
            found.append(base)
            continue
        recipe = climber.ladder.base
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"depth": depth})})
        step = recipe.model.head_dim
        widths = range(step, 16 * base.recipe.model.width + step, step)
        width = min(widths, key=lambda w: abs(np.log(num_parameters(recipe, w) / base.n)))
        n = num_parameters(recipe, width)
        if abs(n / base.n - 1) <= NEAR:
            ratios = (base.tokens / n,)
            found.append(
                rungs_of(recipe, climber.ladder.settings, width, f"aspect-l{depth}-n{base.n}", ratios)[0]
            )
    if len(found) < 3:
        raise TonyError(
            f"only {len(found)} shapes have about N = {base.n:,} in whole heads of {base.recipe.model.head_dim}: lower "
            "model.head_dim, or raise forecast.smallest"
        )
    return found


def found(
    climber: Climber, base: Rung, shapes: list[Rung], points: list[dict[str, Any]], law: Law | None
) -> Finding:
    """The table, the parabola of log L in log aspect, and its least, beside the paper's."""
    models = [rung.recipe.model for rung in shapes]
    aspect = np.array([model.width / model.depth for model in models])
    loss = np.array([p["loss"] for p in points])
    at_one = loss.copy()
    warnings = []
    if law is not None:
        at_one = loss * np.array(
            [float(law.predict(N=base.n, D=base.tokens) / law.predict(N=p["N"], D=p["D"])) for p in points]
        )
    else:
        warnings.append(
            "the ladder is not climbed: losses are not carried to one N, and more parameters are better"
        )
    columns = ("width", "depth", "width / depth", "N", "D", "loss", f"at N = {base.n:,}")
    rows = [
        [m.width, m.depth, float(a), p["N"], p["D"], float(measured), float(carried)]
        for m, a, p, measured, carried in zip(models, aspect, points, loss, at_one, strict=True)
    ]
    x = np.log(aspect)
    curve = np.polyfit(x, np.log(at_one), 2)
    best = float(np.exp(-curve[1] / (2 * curve[0]))) if curve[0] > 0 else None
    span = np.linspace(x.min(), x.max(), 50)
    series = Curve(
        f"N about {base.n:,}",
        aspect.tolist(),
        at_one.tolist(),
        np.exp(span).tolist(),
        np.exp(np.polyval(curve, span)).tolist(),
    )
    good = aspect[at_one <= (1 + CLOSE) * at_one.min()]
    paper = paper_aspect(climber)
    beside = f" (paper: about {paper:g})" if paper else ""
    laws = {}
    if best is not None and aspect.min() < best < aspect.max():
        answers = [f"the best width / depth is about {best:.3g}{beside}"]
        laws["parabola"] = {"width / depth": best, "curvature": float(curve[0])}
    else:
        side = aspect[int(at_one.argmin())]
        answers = [
            f"no best width / depth among these shapes: the parabola has no minimum there, {side:.3g} did best{beside}"
        ]
    answers.append(
        f"within {CLOSE:.0%} of the least loss are {good.min():.3g} to {good.max():.3g}, at N = {base.n:,} and D = {base.tokens:,}"
    )
    if climber.ladder.base.mup is None or climber.ladder.base.mup.base_depth is None:
        warnings.append(
            "the learning rate is not carried over depth (mup.base_depth): deep shapes may be at a disadvantage"
        )
    axes = Axes("width / depth", "held-out loss, nats", "x")
    return Finding("aspect", climber.ladder.base.name, columns, rows, axes, [series], laws, answers, warnings)


def paper_aspect(climber: Climber) -> float | None:
    """The paper's best width / depth for the ladder's domain, where it gives one."""
    row = paper_domain(climber.ladder.base) or ""
    return next((value for name, value in ASPECT.items() if row.startswith(name)), None)
