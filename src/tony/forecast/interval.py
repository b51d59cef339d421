"""How uncertain a law and its predictions are: a bootstrap over runs.

Each resample gives every run the residuals of a run drawn at random, up or down, refits the law from where it was, and
adds to a prediction the residual that one further run would have. So an interval holds what is not known of the constants
and the noise of the run that is forecast. Two corrections matter with few runs: residuals of a fit are too small by
sqrt((n - p) / n) for n rows and p constants, and how large the noise is, is itself known from n - p degrees of freedom only
(the ratio of a normal to a chi variable, as in Student's interval). tests/forecast/test_interval.py measures the coverage.

Which form is true is not known either. A power law without a constant says that the data have no entropy; where one predicts the
largest runs as well, the constant is not known to be zero, only not seen: a forecast is by the law with it (`choose`). Its
interval holds those of all forms that predict the largest runs about as well: on them hangs what is far beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tony.errors import TonyError
from tony.forecast.fit import Law, fit, optimum, predict
from tony.forecast.solve import Problem, descend

LEVEL = 0.9
STEPS = 60


@dataclass(frozen=True)
class Prediction:
    """A forecast: the loss, and the interval that a run's measured loss falls into with probability `level`."""

    loss: float
    low: float
    high: float
    level: float
    warnings: tuple[str, ...] = ()

    @property
    def half_width(self) -> float:
        """Of the interval, as a share of the loss."""
        return (self.high - self.low) / (2 * self.loss)


@dataclass(frozen=True)
class Bootstrap:
    """Refitted laws.

    Attributes:
        law: the law itself.
        theta: (resamples, parameters).
        noise: (resamples,), log of measured over fitted for one further run, drawn once a resample.
        spread: the standard deviation of that.
        beside: of other forms that the runs cannot tell from this one: the interval of a forecast holds theirs, where N, D and C
            that they are of are given.
    """

    law: Law
    theta: np.ndarray
    noise: np.ndarray
    spread: float
    beside: tuple[Bootstrap, ...] = ()

    def predict(
        self,
        N: Any = None,
        D: Any = None,
        C: Any = None,
        level: float = LEVEL,
        noisy: bool = True,
    ) -> Prediction:
        """The forecast at one N, D, C; without `noisy` the interval is that of the law, not of one run."""
        values = {"N": N, "D": D, "C": C}
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # of a resample that ran away: it counts as the widest
            drawn = predict(self.law.form, self.theta, values) * (np.exp(self.noise) if noisy else 1.0)
        low, high = _interval(drawn, level)
        for other in self.beside:
            if all(values[v] is not None for v in other.law.form.variables):
                held = other.predict(N, D, C, level, noisy)
                low, high = min(low, held.low), max(high, held.high)
        point = float(self.law.predict(**values))
        # Quantiles of a skewed cloud may leave the point itself outside; a forecast lies in its own interval.
        return Prediction(
            point, min(low, point), max(high, point), level, tuple(far_from_data(self.law, values))
        )

    def constants(self, level: float = LEVEL) -> dict[str, tuple[float, float, float]]:
        """(value, low, high) of every constant."""
        value = self.law.constants
        drawn = [self.law.form.constants(theta) for theta in self.theta]
        return {name: (value[name], *_interval(np.array([d[name] for d in drawn]), level)) for name in value}

    def optimum(self, flops: float, level: float = LEVEL) -> dict[str, tuple[float, float, float]]:
        """(value, low, high) of the compute-optimal N and D of a budget, and of the exponent of N in C.

        Resamples in which no size is optimal count as the widest.

        Raises:
            TonyError: as `Law.optimum`.
        """
        n, d = self.law.optimum(flops)
        drawn = np.array([_optimum(self.law, theta, flops) for theta in self.theta])
        exponent = _share(self.law, self.law.theta)
        exponents = np.array([_share(self.law, theta) for theta in self.theta])
        return {
            "N": (n, *_interval(drawn[:, 0], level)),
            "D": (d, *_interval(drawn[:, 1], level)),
            "exponent": (exponent, *_interval(exponents, level)),
        }


def bootstrap(law: Law, resamples: int = 1000, seed: int = 0, beside: Sequence[Law] = ()) -> Bootstrap:
    """`resamples` refits of `law` to runs whose residuals were drawn again.

    Args:
        beside: laws that are as likely (`choose`). The one with a constant always stands beside a law without, where the runs
            can bear it.
    """
    bent = with_constant(law)
    known = {other.form.name for other in beside}
    others = [*beside, *([bent] if bent is not None and bent.form.name not in known else [])]
    return replace(
        _refits(law, resamples, seed), beside=tuple(_refits(other, resamples, seed) for other in others)
    )


def _refits(law: Law, resamples: int, seed: int) -> Bootstrap:
    runs, form = law.runs, law.form
    rng = np.random.default_rng([seed, len(runs)])
    residuals = law.residuals()
    labels, member = np.unique(runs.run, return_inverse=True)
    rows, parameters = len(runs), len(form.parameters)
    freedom = max(1, min(rows - parameters, len(labels) - 1))
    spread = float(np.sqrt((residuals**2).sum() / max(1, rows - parameters)))
    scale = np.sqrt(freedom / rng.chisquare(freedom, (resamples, 1)))
    if len(labels) == rows:
        centred = residuals - residuals.mean()
        root = np.sqrt((centred**2).mean())
        centred = centred * (spread / root) if root > 0 else centred
        noise = scale * rng.choice(_both_signs(centred), (resamples, rows + 1))
        drawn, further = noise[:, :rows], noise[:, rows]
    else:
        # Rows of one run err together: a run draws the mean error of a run, and its rows what is left of any row.
        counts = np.bincount(member)
        means = np.bincount(member, residuals) / counts
        left = (residuals - means[member]) * np.sqrt(rows / max(1, rows - parameters))
        means = (means - means.mean()) * np.sqrt(len(labels) / max(1, len(labels) - 1))
        shared = scale * rng.choice(_both_signs(means), (resamples, len(labels) + 1))
        noise = rng.choice(left, (resamples, rows + 1))
        drawn, further = shared[:, member] + noise[:, :rows], shared[:, -1] + noise[:, rows]
    centres = {v: float(x.mean()) for v, x in runs.logs(form.variables).items()}
    logs = {v: x - centres[v] for v, x in runs.logs(form.variables).items()}
    fitted = np.log(law.runs.loss) - residuals
    problem = Problem(form.design(logs), np.log(runs.loss), law.delta, law.in_logs)
    shift = form.shift(centres)
    begin = np.repeat((shift @ law.theta)[None], resamples, axis=0)
    theta, _ = descend(problem, begin, STEPS, target=fitted + drawn)
    return Bootstrap(law, np.linalg.solve(shift, theta.T).T, further, spread)


def with_constant(law: Law) -> Law | None:
    """The law of a form without a constant fitted again with one, or None where it has one or the runs cannot bear it."""
    if law.form.has_constant:
        return None
    try:
        return fit(law.runs, law.form.name.replace("power", "power+constant"), law.delta, in_logs=law.in_logs)
    except TonyError:
        return None


def _both_signs(residuals: np.ndarray) -> np.ndarray:
    """Each of them up and down: a Huber fit follows their median, and a few runs that went badly must not bend every refit."""
    return np.concatenate([residuals, -residuals])


def far_from_data(law: Law, values: dict[str, Any]) -> list[str]:
    """What to know of a prediction outside the data: it bears further than its data do.

    The data bear as far beyond their largest value as they span themselves (both in logs): a law fitted over two orders of
    magnitude says something about the next two, and little after those.
    """
    asked = {v: float(values[v]) for v in law.form.variables}
    if {"N", "D"} <= asked.keys():
        asked |= {"C": 6 * asked["N"] * asked["D"], "D/N": asked["D"] / asked["N"]}
    found = []
    for name, value in asked.items():
        if name == "D/N":
            data = law.runs.column("D") / law.runs.column("N")
        elif law.runs.has(name):
            data = law.runs.column(name)
        else:
            continue
        low, high = float(data.min()), float(data.max())
        span = np.log(high / low)
        beyond = max(np.log(value / high), np.log(low / value))
        if name == "D/N":
            if beyond > np.log(1.5):
                side = "more" if value > high else "fewer"
                found.append(
                    f"{value:.3g} tokens per parameter are {side} than any run has ({low:.3g} to {high:.3g})"
                )
        elif beyond > span + 1e-9:
            found.append(
                f"{name} = {value:.3g} is {np.exp(beyond):.3g} times outside the data ({low:.3g} to {high:.3g}), further than they "
                f"span ({np.exp(span):.3g} times): the interval does not cover what may change on the way"
            )
    return found


def _interval(values: np.ndarray, level: float) -> tuple[float, float]:
    known = np.where(np.isnan(values), np.inf, values)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2], method="nearest")
    return float(low), float(high)


def _share(law: Law, theta: np.ndarray) -> float:
    """The exponent of the optimal N in C."""
    values = dict(zip(law.form.parameters, theta, strict=True))
    return 0.5 if "p" in values else float(values["b"] / (values["a"] + values["b"]))


def _optimum(law: Law, theta: np.ndarray, flops: float) -> tuple[float, float]:
    try:
        return optimum(law.form, theta, flops)
    except ValueError:
        return float("nan"), float("nan")
