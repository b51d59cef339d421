"""What is best at each compute: the frontier of learning curves, a law below it, and the compute-optimal size.

Henighan et al. 2020, section 2: L(C) is a power law plus a constant forced to lie below the Pareto frontier of all
learning curves; N_opt(C) is a power law through the vertices of the frontier's convex hull, each of which belongs to one
model size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from tony.errors import TonyError
from tony.forecast.fit import Law, starts_for
from tony.forecast.forms import form_named
from tony.forecast.solve import Problem, descend, distinct
from tony.forecast.table import Runs, name_rows

BINS = (
    60  # at most so many points of a frontier count, evenly in log C: long curves do not outweigh short ones
)
FEWEST = 4


@dataclass(frozen=True)
class SizeLaw:
    """N_opt = G C^beta, with a 90% interval of beta where runs were resampled.

    Attributes:
        rows: of the runs, the vertices that it goes through.
    """

    beta: float
    log_g: float
    rows: np.ndarray
    beta_low: float = float("nan")
    beta_high: float = float("nan")

    def size(self, flops: float) -> float:
        return float(np.exp(self.log_g + self.beta * np.log(flops)))


@dataclass(frozen=True)
class SizeRule:
    """N_opt = G C^beta as a law of losses is saved with it; `by` says what found it."""

    beta: float
    log_g: float
    by: str

    def size(self, flops: float) -> float:
        return float(np.exp(self.log_g + self.beta * np.log(flops)))


def pareto(c: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Rows, in order of compute, that are better than every one that is as cheap or cheaper."""
    order = np.lexsort((loss, c))
    best = np.minimum.accumulate(loss[order])
    first = np.concatenate([[True], best[1:] < best[:-1]])
    return order[first]


def lower_hull(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Rows of the vertices of the lower convex hull of points (x, y), in order of x, while y falls."""
    rows: list[int] = []
    for i in np.lexsort((y, x)):
        if rows and x[i] == x[rows[-1]]:
            continue
        while len(rows) > 1 and _turns_right(x, y, rows[-2], rows[-1], i):
            rows.pop()
        rows.append(int(i))
    return np.array(rows[: int(np.argmin(y[rows])) + 1])


def _turns_right(x: np.ndarray, y: np.ndarray, a: int, b: int, c: int) -> bool:
    return (x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a]) <= 0


def fit_frontier(runs: Runs) -> Law:
    """E + A / C^alpha as near below the frontier of `runs` as it can lie.

    Raises:
        TonyError: the frontier has fewer than four points: losses do not fall with compute.
    """
    c, loss = runs.column("C"), runs.loss
    rows = pareto(c, loss)
    if len(rows) < FEWEST:
        above = np.setdiff1d(np.arange(len(runs)), rows)
        raise TonyError(
            f"{name_rows(runs.lines[above])}: above the frontier, as {name_rows(np.sort(runs.lines[rows]))} "
            f"{'is' if len(rows) == 1 else 'are'} better with no more compute. A law of the frontier needs {FEWEST} points on it: "
            "check the compute column, or add larger runs"
        )
    rows = _thinned(c, loss, rows)
    form = form_named("power+constant:C")
    log_c, target = np.log(c[rows]), np.log(loss[rows])
    centre = float(log_c.mean())
    problem = Problem(form.design({"C": log_c - centre}), target, delta=1e-3)
    theta, value = descend(problem, starts_for(form, target), 40)

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        residuals, slopes = problem.jacobian(x[None])
        return -float(residuals.mean()), -slopes[0].mean(0)

    below = {
        "type": "ineq",
        "fun": lambda x: -problem.residuals(x[None])[0],
        "jac": lambda x: -problem.jacobian(x[None])[1][0],
    }
    ends = []
    for start in theta[distinct(theta, value)]:
        start = _lowered(problem, start)
        with np.errstate(all="ignore"):
            found = minimize(
                objective, start, jac=True, method="SLSQP", constraints=[below], options={"maxiter": 300, "ftol": 1e-12}
            )  # fmt: skip
        end = _lowered(problem, found.x) if np.isfinite(found.x).all() else start
        ends.append((objective(end)[0], end))
        ends.append((objective(start)[0], start))
    cost, best = min(ends, key=lambda pair: pair[0])
    return Law(form, np.linalg.solve(form.shift({"C": centre}), best), cost, runs.take(rows))


def _lowered(problem: Problem, theta: np.ndarray) -> np.ndarray:
    """`theta` with both terms scaled down until no point is below the law."""
    excess = max(0.0, float(problem.residuals(theta[None]).max()))
    return theta - excess * (problem.design[0, :, :] > 0).any(0) * np.array([1.0, 1.0, 0.0])


def _thinned(c: np.ndarray, loss: np.ndarray, rows: np.ndarray) -> np.ndarray:
    if len(rows) <= BINS:
        return rows
    log_c = np.log(c[rows])
    bins = np.floor((log_c - log_c[0]) / (log_c[-1] - log_c[0]) * (BINS - 1e-9))
    last = np.concatenate([bins[1:] != bins[:-1], [True]])
    return rows[last]


def fit_size(runs: Runs, resamples: int = 200, seed: int = 0) -> SizeLaw:
    """The compute-optimal size as a power law of compute, from the convex hull of the frontier.

    Raises:
        TonyError: the hull has vertices of fewer than three sizes.
    """
    n, c = runs.column("N"), runs.column("C")
    rows = lower_hull(np.log(c), np.log(runs.loss))
    law = _through(n, c, rows)
    if law is None:
        sizes = len(np.unique(n[rows]))
        raise TonyError(
            f"the convex hull of the frontier has {len(rows)} vertices of {sizes} {'size' if sizes == 1 else 'sizes'} "
            f"({name_rows(np.sort(runs.lines[rows]))}): a law of the compute-optimal size needs three sizes. Add sizes whose curves cross"
        )
    labels, member = np.unique(runs.run, return_inverse=True)
    rng = np.random.default_rng([seed, len(runs)])
    betas = []
    for _ in range(resamples):
        drawn = rng.choice(len(labels), len(labels))
        chosen = np.flatnonzero(np.isin(member, drawn))
        vertices = lower_hull(np.log(c[chosen]), np.log(runs.loss[chosen]))
        if (other := _through(n, c, chosen[vertices])) is not None:
            betas.append(other.beta)
    low, high = np.quantile(betas, [0.05, 0.95]) if betas else (float("nan"),) * 2
    return SizeLaw(law.beta, law.log_g, rows, float(low), float(high))


def _through(n: np.ndarray, c: np.ndarray, rows: np.ndarray) -> SizeLaw | None:
    """Least squares of log N on log C; None with fewer than three sizes.

    The smallest and the largest size that were trained lie on the hull also where still smaller or larger ones would, which
    flattens the law: with five sizes or more they are left out.
    """
    if len(np.unique(n[rows])) >= 5:
        rows = rows[(n[rows] > n[rows].min()) & (n[rows] < n[rows].max())]
    if len(np.unique(n[rows])) < 3:
        return None
    beta, log_g = np.polyfit(np.log(c[rows]), np.log(n[rows]), 1)
    return SizeLaw(float(beta), float(log_g), rows)
