"""What studies share: the finished runs of a ladder, and saying what is trained before it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from tony.forecast.climb import Climber
from tony.forecast.ladder import Rung, rungs_of


def finished(climber: Climber) -> list[dict[str, Any]]:
    """The finished points of the ladder that are fitted, the smallest first."""
    points = (climber.point(rung) for rung in climber.ladder.rungs if rung.n not in climber.ladder.small)
    return [point for point in points if point is not None]


def longest(climber: Climber) -> list[Rung]:
    """The longest branch of each size: of the sizes where it is finished, or of all where none is."""
    last = {rung.n: rung for rung in sorted(climber.ladder.rungs, key=lambda rung: rung.tokens)}
    rungs = [last[n] for n in sorted(last) if n not in climber.ladder.small]
    done = [rung for rung in rungs if climber.point(rung) is not None]
    return done or rungs


def on_ray(climber: Climber) -> Climber:
    """The climber, or one of the same sizes along the target's ray where they share budgets: one run of each.

    At one budget larger sizes read less, so that what changes with them is not of their size alone.
    """
    ladder = climber.ladder
    if not ladder.settings.budgets:
        return climber
    settings = ladder.settings.model_copy(
        update={"budgets": (), "tokens_per_parameter": (ladder.settings.ray,), "seeds": 1}
    )
    widths = sorted({rung.recipe.model.width for rung in ladder.rungs})
    rungs = tuple(rung for width in widths for rung in rungs_of(ladder.base, settings, width))
    return climber.of(replace(ladder, settings=settings, rungs=rungs))


def along(climber: Climber) -> list[list[Rung]]:
    """The finished runs that a straight line of log L in log C goes through, the cheapest first, those of other seeds together.

    They are the longest branches of each fitted size; where sizes share budgets, the runs of the best size at each.
    """
    ladder = climber.ladder
    places: dict[tuple[int, int], list[Rung]] = {}
    for rung in ladder.rungs:
        if rung.n not in ladder.small and climber.point(rung) is not None:
            places.setdefault((rung.n, rung.tokens), []).append(rung)
    best: dict[float, list[Rung]] = {}
    last = {rung.n: rung.tokens for rung in sorted(ladder.rungs, key=lambda rung: rung.tokens)}
    for (n, tokens), rungs in places.items():
        share = rungs[0].flops / ladder.largest
        if ladder.settings.budgets:
            key = min(ladder.settings.budgets, key=lambda budget: abs(np.log(share / budget)))
            if key not in best or _loss(climber, rungs) < _loss(climber, best[key]):
                best[key] = rungs
        elif tokens == last[n]:
            best[n] = rungs
    return sorted(best.values(), key=lambda rungs: rungs[0].flops)


def _loss(climber: Climber, rungs: list[Rung]) -> float:
    points = [climber.point(rung) for rung in rungs]
    return float(np.mean([point["loss"] for point in points if point]))


def announce(climber: Climber, rungs: Iterable[Rung], passes: float = 1.0) -> None:
    """Say what will be trained, and for how long, as if each were trained alone.

    Args:
        passes: how many times a rung's tokens are trained on.
    """
    fresh = [rung for rung in rungs if climber.point(rung) is None]
    if not fresh:
        return
    seconds = passes * sum(climber.rate(rung) * rung.tokens for rung in fresh)
    flops = passes * sum(rung.flops for rung in fresh)
    climber.reporter.say(
        f"{len(fresh)} {'run' if len(fresh) == 1 else 'runs'} to train, {flops:.3g} FLOP, about {seconds / 60:.0f} minutes here"
    )
