"""Fitting a law to runs: Hoffmann et al. 2022 (appendix D.3) for every form, from many starts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tony.errors import TonyError
from tony.forecast.forms import Form, form_named
from tony.forecast.solve import Problem, search
from tony.forecast.table import Runs, name_rows

DELTA = 1e-3
EXPONENTS = (0.05, 0.15, 0.3, 0.5, 0.9)
IRREDUCIBLE = (0.05, 0.3, 0.6, 0.85, 0.97)  # shares of the lowest loss
REDUCIBLE = (0.01, 0.03, 0.1, 0.3, 0.6, 1.2)  # of a term at the centre of the data, shares of the median loss


@dataclass(frozen=True)
class Law:
    """A fitted law.

    Attributes:
        form: its shape.
        theta: (parameters,), in the units of the data.
        objective: the Huber loss it was fitted to.
        runs: the rows it was fitted to.
        delta, in_logs: how.
    """

    form: Form
    theta: np.ndarray
    objective: float
    runs: Runs
    delta: float = DELTA
    in_logs: bool = True

    @property
    def constants(self) -> dict[str, float]:
        return self.form.constants(self.theta)

    @property
    def irreducible(self) -> float:
        """The loss that no size, data or compute removes, read as the entropy of the data (0 where the form has none)."""
        return self.constants.get("E", 0.0)

    def predict(self, N: Any = None, D: Any = None, C: Any = None) -> np.ndarray:
        """The loss at N, D, C (numbers or arrays; those the form does not have are not looked at)."""
        return predict(self.form, self.theta, {"N": N, "D": D, "C": C})

    def residuals(self) -> np.ndarray:
        """log(measured / fitted) of each row."""
        fitted = self.predict(*(getattr(self.runs, name) for name in "ndc"))
        return np.log(self.runs.loss / fitted)

    def optimum(self, flops: float) -> tuple[float, float]:
        """The compute-optimal N and D = C / (6 N) of a budget in FLOP, in closed form (Hoffmann et al. 2022, equation 4).

        Raises:
            TonyError: the form does not have both N and D, or a fitted exponent is not positive.
        """
        if self.form.variables != ("N", "D"):
            raise TonyError(
                f"the law {self.form.formula} says nothing of how N and D share a budget: fit the form joint"
            )
        return optimum(self.form, self.theta, flops)


def predict(form: Form, theta: np.ndarray, values: Mapping[str, Any]) -> np.ndarray:
    """The loss by `theta` (parameters,) or (S, parameters) at values of N, D, C: (...) or (S, ...).

    Raises:
        TonyError: a variable of the form has no value.
    """
    missing = [v for v in form.variables if values.get(v) is None]
    if missing:
        raise TonyError(f"the law {form.formula} needs {' and '.join(missing)}")
    arrays = np.broadcast_arrays(*(np.asarray(values[v], float) for v in form.variables))
    shape = arrays[0].shape
    logs = {v: np.log(a.reshape(-1)) for v, a in zip(form.variables, arrays, strict=True)}
    t = np.einsum("nkp,...p->...nk", form.design(logs), theta)
    return np.exp(np.logaddexp.reduce(t, axis=-1)).reshape((*theta.shape[:-1], *shape))


def optimum(form: Form, theta: np.ndarray, flops: float) -> tuple[float, float]:
    """The N and D with 6 N D = `flops` at the lowest loss by E + A / N^a + B / D^b."""
    values = dict(zip(form.parameters, theta, strict=True))
    a, b = (values["p"],) * 2 if "p" in values else (values["a"], values["b"])
    if a <= 0 or b <= 0:
        raise TonyError(
            f"fitted exponents {a:.3g} (N) and {b:.3g} (D): with one that is not positive no size is optimal. Fit more sizes "
            "and budgets"
        )
    log_g = (np.log(a) + values["log A"] - np.log(b) - values["log B"]) / (a + b)
    log_n = log_g + b / (a + b) * np.log(flops / 6)
    return float(np.exp(log_n)), float(np.exp(np.log(flops / 6) - log_n))


def starts_for(form: Form, log_loss: np.ndarray) -> np.ndarray:
    """Starts (S, parameters) for data whose variables are measured from their centres: 4,500 for E + A/N^a + B/D^b."""
    lowest, middle = log_loss.min(), np.median(log_loss)
    grids = []
    for index, name in enumerate(form.parameters):
        if name == "log E":
            grids.append(lowest + np.log(IRREDUCIBLE))
        elif index in form.exponents:
            grids.append(np.array(EXPONENTS))
        else:
            grids.append(middle + np.log(REDUCIBLE))
    return np.array(list(itertools.product(*grids)))


def check_fittable(runs: Runs, form: Form) -> None:
    """Refuse a form that the rows cannot determine.

    Raises:
        TonyError: too few rows, or a variable that does not vary enough.
    """
    if len(runs) < len(form.parameters):
        raise TonyError(
            f"{len(runs)} rows ({name_rows(runs.lines)}) cannot determine the {len(form.parameters)} constants of {form.formula}: "
            "add runs, or choose a form with fewer"
        )
    for variable in form.variables:
        values = runs.column(variable)
        different = len(np.unique(np.round(np.log(values), 6)))
        # A power and a constant need three points of a variable; beside another variable's term two will do.
        least = 2 if len(form.variables) > 1 else min(3, len(form.parameters))
        if different < least:
            others = [
                v for v in "NDC" if v != variable and runs.has(v) and len(np.unique(runs.column(v))) > 2
            ]
            way = (
                f"; as it is, only {' or '.join(f'power+constant:{v}' for v in others)} can be fitted"
                if others
                else ""
            )
            what = (
                f"every row has {variable} = {values[0]:.4g}"
                if different == 1
                else f"only {different} values of {variable}"
            )
            raise TonyError(
                f"{what}: {form.formula} needs at least {least}. Add runs of another {variable}{way}"
            )


def fit(
    runs: Runs,
    form: str | Form = "joint",
    delta: float = DELTA,
    in_logs: bool = True,
    starts: int | None = None,
) -> Law:
    """The law of one form that is nearest to `runs`.

    Args:
        delta: of the Huber loss; infinity is least squares.
        in_logs: residuals of log L (else of L).
        starts: at most so many, drawn evenly from the grid; None = all.

    Raises:
        TonyError: the rows cannot determine the form.
    """
    form = form_named(form) if isinstance(form, str) else form
    check_fittable(runs, form)
    logs = runs.logs(form.variables)
    centres = {v: float(x.mean()) for v, x in logs.items()}
    centred = {v: x - centres[v] for v, x in logs.items()}
    target = np.log(runs.loss)
    problem = Problem(form.design(centred), target, delta, in_logs)
    points = starts_for(form, target)
    if starts is not None and starts < len(points):
        points = points[np.random.default_rng(0).permutation(len(points))[:starts]]
    best, objective = search(problem, points)
    theta = np.linalg.solve(form.shift(centres), best)
    return Law(form, theta, objective, runs, delta, in_logs)
