"""Iso-FLOP profiles: at each budget a parabola of log L in log N, whose minimum is the compute-optimal size.

Hoffmann et al. 2022, approach 2. A budget whose parabola opens downward, or has its minimum outside the sizes that were
trained, gives no optimum, and says why: a parabola always has an extremum, and beyond the data it means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tony.errors import TonyError
from tony.forecast.table import Runs, name_rows

SAME_BUDGET = 0.1  # relative difference in compute within one budget
WIDEST = 0.35


@dataclass(frozen=True)
class Profile:
    """One budget.

    Attributes:
        flops: the budget; rows: of the runs.
        curve: (3,) coefficients of log L, highest power first, in log N - centre.
        n, loss: at the minimum; NaN where `refused` says why there is none.
        n_low, n_high: 90% interval of n.
    """

    flops: float
    rows: np.ndarray
    centre: float
    curve: np.ndarray
    n: float
    loss: float
    refused: str | None = None
    n_low: float = float("nan")
    n_high: float = float("nan")

    def at(self, n: np.ndarray) -> np.ndarray:
        """The parabola's loss at sizes `n`."""
        return np.exp(np.polyval(self.curve, np.log(n) - self.centre))


@dataclass(frozen=True)
class IsoFlops:
    """All budgets, and N_opt = G C^beta through their minima (None with fewer than two)."""

    profiles: tuple[Profile, ...]
    beta: float | None
    log_g: float | None
    beta_low: float = float("nan")
    beta_high: float = float("nan")
    refused: str | None = None

    def size(self, flops: float) -> float:
        """The compute-optimal size of a budget.

        Raises:
            TonyError: there is no law, and why.
        """
        if self.beta is None:
            raise TonyError(self.refused)
        return float(np.exp(self.log_g + self.beta * np.log(flops)))


def budgets(runs: Runs) -> list[np.ndarray]:
    """The rows of each budget at which at least three sizes were trained, cheapest first."""
    log_c = np.log(runs.column("C"))
    order = np.argsort(log_c, kind="stable")
    cuts = np.flatnonzero(np.diff(log_c[order]) > np.log1p(SAME_BUDGET)) + 1
    split = np.split(order, cuts)
    gaps = np.concatenate([[np.inf], np.diff(log_c[order])[cuts - 1], [np.inf]])
    groups = [
        group
        for group, left, right in zip(split, gaps[:-1], gaps[1:], strict=True)
        # A budget is narrow, and stands farther from its neighbours than it is wide.
        if np.ptp(log_c[group]) < min(np.log1p(WIDEST), left, right)
        and len(np.unique(runs.column("N")[group])) >= 3
    ]
    # Budgets that meet by chance are no design: most rows must belong to one.
    return groups if 2 * sum(map(len, groups)) >= len(runs) else []


def fit_isoflops(runs: Runs, resamples: int = 400, seed: int = 0) -> IsoFlops:
    """Profiles of every budget, and the law through their minima.

    Raises:
        TonyError: no budget has three sizes.
    """
    groups = budgets(runs)
    if not groups:
        raise TonyError(
            "no budget has runs of three sizes: iso-FLOP profiles need several sizes trained with one compute"
        )
    n, c, loss = runs.column("N"), runs.column("C"), runs.loss
    rng = np.random.default_rng([seed, len(runs)])
    profiles, drawn = [], []
    for rows in groups:
        log_n, log_loss = np.log(n[rows]), np.log(loss[rows])
        flops, centre = float(np.exp(np.log(c[rows]).mean())), float(log_n.mean())
        curve = np.polyfit(log_n - centre, log_loss, 2)
        fitted = np.polyval(curve, log_n - centre)
        spare = max(1, len(rows) - 3)
        spread = np.sqrt(((log_loss - fitted) ** 2).sum() / spare)
        scale = spread * np.sqrt(spare / rng.chisquare(spare, (resamples, 1)))
        others = fitted + scale * rng.normal(size=(resamples, len(rows)))
        curves = np.polyfit(log_n - centre, others.T, 2)
        place, refused = _minimum(curve, log_n - centre)
        if refused:
            note = f"budget {flops:.3g} FLOP ({name_rows(np.sort(runs.lines[rows]))}): {refused}"
            profiles.append(Profile(flops, rows, centre, curve, float("nan"), float("nan"), note))
            continue
        with np.errstate(all="ignore"):
            minima = np.where(curves[0] > 0, -curves[1] / (2 * curves[0]), np.nan)
        minima = np.clip(minima, *_margin(log_n - centre))
        low, high = np.nanquantile(minima, [0.05, 0.95])
        size, best = np.exp(centre + place), np.exp(np.polyval(curve, place))
        profiles.append(
            Profile(
                flops,
                rows,
                centre,
                curve,
                float(size),
                float(best),
                None,
                float(np.exp(centre + low)),
                float(np.exp(centre + high)),
            )
        )
        drawn.append(centre + minima)
    good = [p for p in profiles if p.refused is None]
    if len(good) < 2:
        reason = "; ".join(p.refused for p in profiles if p.refused) or "only one budget"
        return IsoFlops(tuple(profiles), None, None, refused=f"no law of the compute-optimal size: {reason}")
    log_c = np.log([p.flops for p in good])
    beta, log_g = np.polyfit(log_c, np.log([p.n for p in good]), 1)
    samples = np.array(drawn)
    samples = samples[:, np.isfinite(samples).all(0)]
    betas = np.polyfit(log_c, samples, 1)[0] if samples.size else np.array([np.nan])
    low, high = np.quantile(betas, [0.05, 0.95])
    return IsoFlops(tuple(profiles), float(beta), float(log_g), float(low), float(high))


def _minimum(curve: np.ndarray, x: np.ndarray) -> tuple[float, str | None]:
    """Where the parabola is lowest, and why that is no optimum, if so."""
    if curve[0] <= 0:
        return float("nan"), "the parabola opens downward, so it has no minimum. Add sizes on both sides"
    place = -curve[1] / (2 * curve[0])
    if not x.min() < place < x.max():
        side = "smaller" if place <= x.min() else "larger"
        return (
            float("nan"),
            f"the minimum is not among the sizes that were trained. Add {side} sizes at this budget",
        )
    return float(place), None


def _margin(x: np.ndarray) -> tuple[float, float]:
    """How far a resampled minimum counts: the sizes and as much again on either side."""
    return float(x.min() - np.ptp(x)), float(x.max() + np.ptp(x))
