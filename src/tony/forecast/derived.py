"""What follows from a loss: units, nats per picture, error rates, information, and the size that a goal needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from tony.errors import TonyError
from tony.forecast.fit import Law
from tony.forecast.table import PF_DAY, name_rows


def to_pf_days(flops: float) -> float:
    """PF-days of a number of FLOP: 1 PF-day = 1e15 * 86,400 FLOP."""
    return flops / PF_DAY


def to_bits(nats: float) -> float:
    return nats / np.log(2)


def per_image(tokens: int, irreducible: float, scale: float, exponent: float) -> tuple[float, float]:
    """L_inf and x0 of E + (x0 / x)^alpha in nats a picture, from those in nats a token (Henighan et al. 2020, table 3).

    A picture of n tokens costs n times a token: n (x0 / x)^alpha = (n^(1/alpha) x0 / x)^alpha.
    """
    return tokens * irreducible, scale * tokens ** (1 / exponent)


def size_for(law: Law, reducible: float, tokens: int = 1) -> float:
    """The N (or C, or D, of a law in one variable) at which the reducible loss is `reducible` nats.

    Args:
        tokens: of what the goal counts: 1 for nats a token, 192 for nats an 8x8 picture in RGB.

    Of a law in N and D it is the N that data without end would need.

    Raises:
        TonyError: the goal is not positive.
    """
    if reducible <= 0:
        raise TonyError(f"a reducible loss of {reducible:g} nats needs no finite size: ask for more than 0")
    term = next(term for term in law.form.terms if term.powers)
    exponent = law.theta[term.powers[0][1]]
    return float(np.exp((law.theta[term.coefficient] - np.log(reducible / tokens)) / exponent))


@dataclass(frozen=True)
class ErrorLaw:
    """error = ceiling - k exp(-gamma loss) (Gadre et al. 2024, section 3.4)."""

    ceiling: float
    k: float
    gamma: float

    def predict(self, loss: np.ndarray | float) -> np.ndarray:
        return self.ceiling - self.k * np.exp(-self.gamma * np.asarray(loss, float))


def fit_error(loss: np.ndarray, error: np.ndarray) -> ErrorLaw:
    """The error rate as a function of the loss: least squares, with ceiling and k solved for at every gamma.

    Raises:
        TonyError: fewer than four points, or an error rate outside 0 to 1.
    """
    loss, error = np.asarray(loss, float), np.asarray(error, float)
    if len(loss) < 4:
        raise TonyError(f"{len(loss)} points: an error law has three constants and needs at least 4")
    outside = np.flatnonzero(~((error >= 0) & (error <= 1)))
    if len(outside):
        raise TonyError(f"{name_rows(outside)}: error rates lie between 0 and 1. Correct those rows")
    middle = loss.mean()

    def solve(log_gamma: float) -> tuple[np.ndarray, float]:
        shape = np.exp(-np.exp(log_gamma) * (loss - middle))
        basis = np.stack([np.ones_like(loss), -shape], axis=1)
        found, *_ = np.linalg.lstsq(basis, error, rcond=None)
        return found, float(((basis @ found - error) ** 2).sum())

    grid = np.linspace(np.log(1e-2), np.log(20), 200)
    best = grid[int(np.argmin([solve(g)[1] for g in grid]))]
    around = minimize_scalar(
        lambda g: solve(g)[1], bounds=(best - 0.1, best + 0.1), method="bounded", options={"xatol": 1e-10}
    )
    (ceiling, k), _ = solve(around.x)
    gamma = float(np.exp(around.x))
    return ErrorLaw(float(ceiling), float(k * np.exp(gamma * middle)), gamma)


@dataclass(frozen=True)
class LogLaw:
    """information = slope log(N / n0), which is how mutual information grows with size (Henighan et al. 2020, section 5)."""

    slope: float
    n0: float

    def predict(self, n: np.ndarray | float) -> np.ndarray:
        return self.slope * np.log(np.asarray(n, float) / self.n0)


def fit_log(n: np.ndarray, information: np.ndarray) -> LogLaw:
    """Least squares of information on log N.

    Raises:
        TonyError: fewer than three sizes, or information that does not change with size.
    """
    n, information = np.asarray(n, float), np.asarray(information, float)
    if len(np.unique(n)) < 3:
        raise TonyError("a law in log N needs at least three sizes")
    slope, offset = np.polyfit(np.log(n), information, 1)
    if abs(slope) < 1e-12:
        raise TonyError("the information does not change with N: there is no law in log N")
    return LogLaw(float(slope), float(np.exp(-offset / slope)))
