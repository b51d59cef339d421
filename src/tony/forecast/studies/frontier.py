"""The compute-optimal size: every size of the ladder at the same budgets (Hoffmann et al. 2022, approach 2, and the convex hull
of Henighan et al. 2020, section 2).

A ladder along a ray has one number of tokens per parameter, and so says nothing of which is best. Here each size is trained to the
compute of the ladder's largest run, to a half and to a quarter of it, and at each budget a parabola of log L in log N has its
minimum at the optimum, or none. A ladder of budgets is read as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tony.errors import TonyError
from tony.forecast.climb import Climber, runs_of
from tony.forecast.curves import curves
from tony.forecast.frontier import SizeRule, fit_frontier, fit_size
from tony.forecast.isoflop import IsoFlops, fit_isoflops
from tony.forecast.ladder import SHORT, Ladder, rungs_at
from tony.forecast.paper import PAPER, paper_domain
from tony.forecast.studies.finding import Axes, Curve, Finding
from tony.forecast.studies.runs import announce
from tony.forecast.table import Runs

BUDGETS = (1.0, 0.5, 0.25)  # of the compute of the ladder's largest run
NEAR = 0.1  # in log C: whole steps of a run meet its budget so nearly


def run(climber: Climber) -> Finding:
    """The study, on one run of each size that is fitted, or all runs of a ladder of budgets; finished ones are read."""
    ladder = same_budgets(climber.ladder)
    one = climber.of(ladder)
    announce(one, ladder.rungs)
    points = one.climb()
    return found(climber, points, curves(ladder, points, climber.root)[0])


def same_budgets(ladder: Ladder) -> Ladder:
    """The ladder's sizes, each at every budget that gives it steps enough.

    Raises:
        TonyError: no budget has three sizes.
    """
    settings, rungs = ladder.settings, [rung for rung in ladder.rungs if rung.n not in ladder.small]
    if not settings.budgets:
        base = ladder.base.model_copy(update={"name": f"{ladder.base.name}-frontier"})
        settings = settings.model_copy(update={"budgets": BUDGETS})
        widths = sorted({rung.recipe.model.width for rung in rungs})
        rungs = [rung for width in widths for rung in rungs_at(base, settings, width, ladder.largest)]
    rungs = [rung for rung in rungs if rung.steps >= SHORT]
    sizes = {
        share: {r.n for r in rungs if abs(np.log(r.flops / ladder.largest / share)) < NEAR}
        for share in settings.budgets
    }
    if max(map(len, sizes.values())) < 3:
        raise TonyError(
            f"study frontier: fewer than three sizes have {SHORT} steps at any budget up to {ladder.largest:.3g} FLOP. Raise "
            "forecast.allowance, or lower train.batch_tokens"
        )
    return replace(ladder, settings=settings, rungs=tuple(rungs))


def found(climber: Climber, points: list[dict[str, Any]], runs: Runs) -> Finding:
    """The profiles, their minima, and laws through them; `runs` are the learning curves."""
    base = climber.ladder.base
    profiles = fit_isoflops(runs_of(points), seed=base.seed)
    paper = PAPER.get(paper_domain(base) or "")
    rows = [
        [p["C"], p["N"], p["D"], p["D"] / p["N"], p["loss"]]
        for p in sorted(points, key=lambda p: (round(np.log(p["C"]), 1), p["N"]))
    ]
    laws: dict[str, dict[str, float]] = {}
    answers, warnings = [], []
    for profile in profiles.profiles:
        if profile.refused:
            warnings.append(profile.refused)
            continue
        best = f"N = {profile.n:,.0f} ({profile.n_low:,.0f} to {profile.n_high:,.0f})"
        tokens = profile.flops / 6 / profile.n**2
        answers.append(
            f"at {profile.flops:.3g} FLOP {best} is best, {tokens:.3g} tokens a parameter: {profile.loss:.4f} nats"
        )
    theirs = f" (paper: {paper.optimum.beta:g})" if paper and paper.optimum else ""
    rules = {"iso-FLOP profiles": lambda: of_profiles(profiles), "convex hull": lambda: of_hull(runs)}
    for name, make in rules.items():
        rule = _attempt(make, name, warnings)
        if rule is None:
            continue
        laws[f"N_opt(C), {name}"] = {"beta": rule.beta, "C0": float(np.exp(-rule.log_g / rule.beta))}
        known = name == "iso-FLOP profiles" and np.isfinite(profiles.beta_low)
        within = f" ({profiles.beta_low:.2f} to {profiles.beta_high:.2f})" if known else ""
        answers.append(f"N_opt grows as C^{rule.beta:.2f}{within} by {name}{theirs}")
        if name == "convex hull" and not profiles.beta_low <= rule.beta <= profiles.beta_high:
            warnings.append(
                f"the hull's {rule.beta:.2f} is of few vertices, and not what the profiles allow: believe those, where they have an interval"
            )
    if law := _attempt(lambda: fit_frontier(runs), "the frontier", warnings):
        laws["L(C) below the frontier"] = {k: law.constants[k] for k in ("E", "C0", "alpha")}
    columns = ("C, FLOP", "N", "D", "D / N", "loss")
    axes = Axes("N", "held-out loss, nats", "x")
    return Finding(
        "frontier", base.name, columns, rows, axes, _curves(points, profiles), laws, answers, warnings
    )


def of_profiles(found: IsoFlops) -> SizeRule:
    """The law through the minima.

    Raises:
        TonyError: fewer than two budgets have one.
    """
    if found.beta is None or found.log_g is None:
        raise TonyError(str(found.refused))
    return SizeRule(found.beta, found.log_g, "iso-FLOP profiles")


def of_hull(runs: Runs) -> SizeRule:
    """The law through the vertices of the hull."""
    law = fit_size(runs, resamples=0)
    return SizeRule(law.beta, law.log_g, "convex hull")


def _attempt(make: Callable[[], Any], name: str, warnings: list[str]) -> Any:
    try:
        return make()
    except TonyError as error:
        warnings.append(f"no law by {name}: {error}")
        return None


def _curves(points: list[dict[str, Any]], found: IsoFlops) -> list[Curve]:
    """Each budget's losses over N, and its parabola."""
    n, loss = (np.array([p[key] for p in points], float) for key in ("N", "loss"))
    series = []
    for profile in found.profiles:
        rows = profile.rows[np.argsort(n[profile.rows])]
        span = np.geomspace(n[rows[0]], n[rows[-1]], 50)
        series.append(
            Curve(f"{profile.flops:.2g} FLOP", n[rows].tolist(), loss[rows].tolist(), span.tolist(), profile.at(span).tolist())
        )  # fmt: skip
    return series
