"""The best learning rate of three sizes of a ladder, and how it falls with the length of training.

muP carries a rate over width, not over tokens, and along a ladder's ray the tokens grow with the size: the best rate of each
size, by a parabola in log rate, says what `train.lr` and `forecast.horizon` should be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tony.errors import TonyError
from tony.forecast.climb import Climber
from tony.forecast.ladder import Rung, rungs_of
from tony.forecast.studies.finding import Axes, Curve, Finding
from tony.forecast.studies.runs import announce

STEP = 2.0  # between the rates that are tried
MOST = 6  # rates of a size, until its least loss is not at an end


@dataclass(frozen=True)
class Best:
    """Of one size: the rates that were tried, in order, their losses, and the least of the parabola."""

    rung: Rung
    rates: np.ndarray
    losses: np.ndarray
    rate: float
    loss: float

    @property
    def own(self) -> float:
        """What the recipe's own rate costs, as a share of the least loss."""
        return float(
            np.interp(np.log(self.rung.recipe.train.lr), np.log(self.rates), self.losses) / self.loss - 1
        )


def run(climber: Climber) -> Finding:
    """The study, at the smallest, middle and largest fitted size and the tokens of the ray; finished runs are read.

    Raises:
        TonyError: a size whose best rate is not among those that were tried.
    """
    rungs = [rung for rung in climber.ladder.rungs if rung.n not in climber.ladder.small]
    widths = sorted({rung.recipe.model.width for rung in rungs})
    chosen = [widths[0], widths[len(widths) // 2], widths[-1]]
    announce(climber, [rung_at(climber, w, x) for w in chosen for x in (1 / STEP, 1.0, STEP)])
    return found(climber, [best_of(climber, width) for width in dict.fromkeys(chosen)])


def rung_at(climber: Climber, width: int, times: float) -> Rung:
    """The ray's run of a width, at so many times the recipe's rate for it."""
    ladder = climber.ladder
    train = ladder.base.train.model_copy(update={"lr": ladder.base.train.lr * times})
    base = ladder.base.model_copy(update={"train": train})
    return rungs_of(base, ladder.settings, width, f"rates-w{width}-x{times:g}", (ladder.settings.ray,))[0]


def best_of(climber: Climber, width: int) -> Best:
    """Rates in steps of `STEP` around the recipe's, towards where the loss falls, until the least is not at an end.

    Raises:
        TonyError: it is still at an end after `MOST` rates.
    """
    losses: dict[float, float] = {}
    wanted = [1 / STEP, 1.0, STEP]
    while wanted:
        for times in wanted:
            rung = rung_at(climber, width, times)
            losses[times] = float((climber.point(rung) or climber.train(rung))["loss"])
        tried = sorted(losses)
        at = int(np.argmin([losses[x] for x in tried]))
        wanted = [tried[0] / STEP] if at == 0 else [tried[-1] * STEP] if at == len(tried) - 1 else []
        if wanted and len(tried) >= MOST:
            raise TonyError(
                f"width {width}: of {len(tried)} rates the {'lowest' if at == 0 else 'highest'} is still the best. Begin nearer: "
                f"train.lr={climber.ladder.base.train.lr * tried[at]:.2g}"
            )
    own = rung_at(climber, width, 1.0)
    x = np.log(tried)
    curve = np.polyfit(x[at - 1 : at + 2], np.log([losses[t] for t in tried[at - 1 : at + 2]]), 2)
    least = float(-curve[1] / (2 * curve[0]))
    lr = own.recipe.train.lr
    return Best(
        rung=own,
        rates=lr * np.array(tried),
        losses=np.array([losses[t] for t in tried]),
        rate=lr * float(np.exp(least)),
        loss=float(np.exp(np.polyval(curve, least))),
    )


def found(climber: Climber, best: list[Best]) -> Finding:
    """The table, and best rate = lr (tokens / tokens of the smallest)^-horizon."""
    settings = climber.ladder.settings
    rows = [
        [b.rung.recipe.model.width, b.rung.n, b.rung.tokens, b.rung.recipe.train.lr, b.rate, b.loss, b.own]
        for b in best
    ]
    columns = ("width", "N", "D", "the recipe's rate", "best rate", "loss there", "the recipe's costs")
    n = np.array([b.rung.n for b in best], float)
    slope, at_first = np.polyfit(np.log(n / n[0]), np.log([b.rate for b in best]), 1)
    first = next(r for r in climber.ladder.rungs if r.recipe.model.width == settings.smallest)
    lr = float(np.exp(at_first + slope * np.log(first.n / n[0])))
    worst = max(best, key=lambda b: b.own)
    target = climber.ladder.target
    answers = [
        f"the best rate falls as tokens^{slope:.2f} along the ray: forecast.horizon={max(0.0, -slope):.2g} with train.lr={lr:.2g} "
        f"(now {settings.horizon:g} and {climber.ladder.base.train.lr:g})",
        f"the recipe's own rates cost at most {worst.own:.2%}, at width {worst.rung.recipe.model.width}",
        f"for the target (D = {target.tokens:,}) that is {lr * (target.n / first.n) ** slope:.2g}, the recipe's "
        f"{target.recipe.train.lr:.2g}",
    ]  # fmt: skip
    curves = [
        Curve(
            f"width {b.rung.recipe.model.width}, {b.rung.tokens:,} tokens",
            b.rates.tolist(),
            b.losses.tolist(),
        )
        for b in best
    ]
    return Finding(
        "rates",
        climber.ladder.base.name,
        columns,
        rows,
        Axes("learning rate", "held-out loss, nats", "x"),
        curves,
        {"best rate": {"train.lr": lr, "forecast.horizon": float(-slope)}},
        answers,
        [
            "one run a rate: the least of a parabola through runs that err by up to 1% is known to about a factor of 1.5"
        ],
    )
