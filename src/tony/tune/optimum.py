"""Where a loss is least as the learning rate changes, how sure that is, and how far it moves from size to size.

The loss near its minimum is a parabola in log2(lr). It is fitted to the points around the best one; its vertex is the
optimum. The interval is a parametric bootstrap: runs of one seed share data and initial draws, so the noise that can move
the optimum is what is left after the means of rates and of seeds are taken away.

Nothing here knows of Tony: `Curve` takes anybody's losses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tony.errors import TonyError

REACH = 2  # grid points on either side of the best one that the parabola may use
NEAR = 0.05  # of the least loss: beyond it a loss is no parabola any more
CONFIDENCE = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Noise:
    """The standard deviation of one run's loss, and the degrees of freedom it was estimated with."""

    std: float
    freedom: int


@dataclass(frozen=True)
class Optimum:
    """The vertex of the parabola: log2 of the best learning rate, and the loss there.

    is_interior: False where the best point is the first or the last of those that did not diverge, with nothing that
        diverged beyond it: the true optimum may lie outside of what was tried.
    """

    log2_lr: float
    loss: float
    is_interior: bool


@dataclass(frozen=True)
class Curve:
    """Losses of one size against the learning rate.

    size: width, or depth.
    log2_lrs: (rates,), growing.
    losses: (rates, seeds), a run at least at each rate; infinity where a run diverged, NaN where there was none.
    """

    size: int
    log2_lrs: np.ndarray
    losses: np.ndarray

    @classmethod
    def of(cls, size: int, runs: Mapping[tuple[float, int], float]) -> Curve:
        """From {(log2 lr, seed): loss}.

        Raises:
            TonyError: no run at all.
        """
        if not runs:
            raise TonyError(f"size {size}: no run to fit an optimum to")
        rates = sorted({rate for rate, _ in runs})
        seeds = sorted({seed for _, seed in runs})
        losses = np.full((len(rates), len(seeds)), np.nan)
        for (rate, seed), loss in runs.items():
            losses[rates.index(rate), seeds.index(seed)] = np.inf if np.isnan(loss) else loss
        return cls(size, np.array(rates), losses)

    @cached_property
    def means(self) -> np.ndarray:
        """The mean over seeds, (rates,): infinity where any of them diverged.

        Seeds differ in height. Where a rate lacks some, those that it has are corrected by their mean height at the rates
        that every seed has.
        """
        known = ~np.isnan(self.losses)
        losses = np.where(known, self.losses, 0.0)
        whole = np.isfinite(self.losses).all(axis=1)
        height = np.zeros(self.losses.shape[1])
        if whole.any():
            height = (self.losses[whole] - self.losses[whole].mean(axis=1, keepdims=True)).mean(axis=0)
        return (losses - np.where(known, height, 0.0)).sum(axis=1) / known.sum(axis=1)

    @property
    def best(self) -> int:
        """The index of the rate with the least mean loss.

        Raises:
            TonyError: every rate diverged.
        """
        if not np.isfinite(self.means).any():
            raise TonyError(f"size {self.size}: every learning rate diverged. Try smaller ones")
        return int(np.argmin(self.means))

    def optimum(self) -> Optimum:
        """The vertex of the parabola around the best point."""
        return fit_optimum(self.log2_lrs, self.means)

    def noise(self) -> Noise | None:
        """How much runs that differ only in seed differ in what can move the optimum; None with one seed.

        From the rates that the parabola uses and that every seed has: residuals of (rate mean + seed mean).
        """
        used = _window(self.log2_lrs, self.means)
        block = self.losses[used][np.isfinite(self.losses[used]).all(axis=1)]
        freedom = (block.shape[0] - 1) * (block.shape[1] - 1)
        if freedom < 1:
            return None
        residual = block - block.mean(axis=1, keepdims=True) - block.mean(axis=0) + block.mean()
        return Noise(float(np.sqrt((residual**2).sum() / freedom)), freedom)

    def bootstrap(
        self, rng: np.random.Generator, noise: Noise | None = None, resamples: int = RESAMPLES
    ) -> np.ndarray | None:
        """Optima (resamples,) of curves redrawn with the noise of the runs; None where no noise is known.

        noise: of another curve, for one that has a single seed.
        """
        noise = self.noise() or noise
        if noise is None:
            return None
        counts = np.isfinite(self.losses).sum(axis=1).clip(1)
        draws = rng.standard_t(noise.freedom, (resamples, len(counts))) * noise.std / np.sqrt(counts)
        return np.array([fit_optimum(self.log2_lrs, self.means + draw).log2_lr for draw in draws])


def fit_optimum(log2_lrs: Sequence[float] | np.ndarray, losses: Sequence[float] | np.ndarray) -> Optimum:
    """The vertex of the parabola through the losses around the least one; infinity marks a rate that diverged.

    Used are the least loss, its two neighbours, and up to REACH points on either side while they are within NEAR of it.
    The vertex is kept within one grid point of the best: beyond, a parabola only extrapolates.
    """
    x, y = np.asarray(log2_lrs, float), np.asarray(losses, float)
    best = int(np.argmin(np.where(np.isfinite(y), y, np.inf)))
    used = _window(x, y)
    is_interior = 0 < best < len(x) - 1
    at_best = Optimum(float(x[best]), float(y[best]), is_interior)
    if len(used) < 3:
        return at_best
    centre = x[best]
    powers = np.vander(x[used] - centre, 3)
    curvature, slope, level = np.linalg.solve(powers.T @ powers, powers.T @ y[used])
    if curvature <= 0:
        return at_best
    low, high = x[max(best - 1, 0)] - centre, x[min(best + 1, len(x) - 1)] - centre
    vertex = float(np.clip(-slope / (2 * curvature), low, high))
    return Optimum(float(centre + vertex), float(level + vertex * (slope + curvature * vertex)), is_interior)


def _window(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Indices of the points that the parabola is fitted to."""
    finite = np.isfinite(y)
    best = int(np.argmin(np.where(finite, y, np.inf)))
    near = finite & (y <= y[best] + NEAR * abs(y[best]))
    used = [best]
    for side in (-1, 1):
        for distance in range(1, REACH + 1):
            at = best + side * distance
            if not 0 <= at < len(x) or not finite[at] or (distance > 1 and not near[at]):
                break
            used.append(at)
    return np.sort(used)


@dataclass(frozen=True)
class Interval:
    """A figure with the ends of its 95% interval; None where a single seed leaves the noise unknown."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        shown = f"{self.value:.2f}"
        return shown if self.low is None else f"{shown} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Drift:
    """How the best learning rate moves over sizes, in factors of 2 (log2).

    optima: log2 of the best learning rate, by size.
    spread: from the lowest optimum of any size to the highest.
    shift: the largest size's optimum less the smallest's.
    is_interior: False where some optimum lies at the edge of what was tried: the drift may be larger.
    """

    optima: dict[int, Interval]
    spread: Interval
    shift: Interval
    is_interior: bool


def drift(
    curves: Sequence[Curve],
    noises: Mapping[int, Noise] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Drift:
    """The drift over curves of growing size.

    noises: by size, for curves with a single seed (those of the same size under another parametrisation).
    """
    rng = np.random.default_rng(seed)
    found = [curve.optimum() for curve in curves]
    at = np.array([optimum.log2_lr for optimum in found])
    drawn = [curve.bootstrap(rng, (noises or {}).get(curve.size), resamples) for curve in curves]
    optima = {
        curve.size: _interval(optimum.log2_lr, draws)
        for curve, optimum, draws in zip(curves, found, drawn, strict=True)
    }
    every = None if any(draws is None for draws in drawn) else np.stack(drawn)
    return Drift(
        optima=optima,
        spread=_interval(float(np.ptp(at)), None if every is None else np.ptp(every, axis=0)),
        shift=_interval(float(at[-1] - at[0]), None if every is None else every[-1] - every[0]),
        is_interior=all(optimum.is_interior for optimum in found),
    )


def _interval(value: float, draws: np.ndarray | None) -> Interval:
    if draws is None:
        return Interval(value)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, (tail, 1 - tail))
    return Interval(value, float(low), float(high))


def best_rate(runs: Mapping[tuple[float, int], float]) -> float | None:
    """log2 of the rate with the least mean loss over {(log2 lr, seed): loss}; None where nothing is known or all diverged."""
    curve = Curve.of(0, runs) if runs else None
    return float(curve.log2_lrs[curve.best]) if curve and np.isfinite(curve.means).any() else None


def wanted_rates(
    losses: Mapping[float, float], start: float, reach: int = REACH, most: int = 12
) -> list[float]:
    """Which log2 learning rates a curve still needs, until its best has `reach` neighbours on either side.

    Begins with `start` and its neighbours, a factor of 2 apart, and follows the best. A side that ends in a run that
    diverged needs nothing beyond it. At most `most` rates in all: a curve without a minimum has an end.

    losses: what is known, by log2 rate to six decimals; infinity where a run diverged.
    """
    around = [round(start + step, 6) for step in range(-reach, reach + 1)]
    missing = [rate for rate in around if rate not in losses]
    if missing:
        return missing
    finite = {rate: loss for rate, loss in losses.items() if np.isfinite(loss)}
    if not finite:  # all diverged: go down
        return [] if len(losses) >= most else [round(min(losses) - 1, 6)]
    best = min(finite, key=finite.__getitem__)
    wanted = []
    for side in (-1, 1):
        for distance in range(1, reach + 1):
            rate = round(best + side * distance, 6)
            if rate not in losses:
                wanted.append(rate)
            elif not np.isfinite(losses[rate]):
                break
    return wanted[: max(0, most - len(losses))]


def wanted_runs(
    runs: Mapping[tuple[float, int], float],
    start: float,
    seeds: Sequence[int],
    reach: int = REACH,
    chosen: float | None = None,
) -> list[tuple[float, int]]:
    """Which (log2 lr, seed) a curve still needs: the first seed along the rates, the others around the best.

    Nothing when the best rate by the mean over seeds, and both its neighbours, have every seed.

    chosen: log2 of a rate that is wanted wherever the best one is: the proxy's choice, whose regret is to be told.
    """
    first = {rate: loss for (rate, seed), loss in runs.items() if seed == seeds[0]}
    rates = wanted_rates(first, start, reach)
    if chosen is not None and round(chosen, 6) not in {*first, *rates}:
        rates.append(round(chosen, 6))
    if rates:
        return [(rate, seeds[0]) for rate in rates]
    curve = Curve.of(0, runs)
    if not np.isfinite(curve.means).any():
        return []
    rates = curve.log2_lrs.tolist()
    around = rates[max(0, curve.best - 1) : curve.best + 2]
    wanted = [(rate, seed) for rate in around for seed in seeds if (rate, seed) not in runs]
    return [(rate, seed) for rate, seed in wanted if np.isfinite(first.get(rate, 0.0))]
