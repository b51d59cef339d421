"""What studies share: the finished runs of a ladder, and saying what is trained before it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tony.forecast.climb import Climber
from tony.forecast.ladder import Rung


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
