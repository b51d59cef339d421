"""From sizes at several widths to a slope with its interval, and from that to a verdict.

A finite network's sizes are not a pure power of its width n: beside what adds up coherently there are random terms, whose
squares are smaller by 1/n. Fitting a straight line would read those as a slope (-0.1 to -0.3 at attention logits of narrow
transformers that are quite right) and hide half of a real one. So the size is fitted as

    size^2 = c n^(2 slope) (1 + a/n),    a >= 0

and the interval of the slope is its profile likelihood, in which the uncertainty of a is contained. Sums over n features go as
n^(1/2) where their terms are random and as n where they agree, so a rule that is broken shows as a slope of 1/2 or more: the
tests measure it, fault by fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import fdtri

What = Literal["activation", "change"]
Verdict = Literal["flat", "grows", "shrinks", "unclear", "still", "not finite"]

LOGITS = "attention logits"
ROUNDING = 1e-6  # of an activation's size: a smaller change is float32's
BROKEN = 0.5  # the least slope of a broken rule
CONFIDENCE = 0.95
# a / (smallest width). Right models need up to 1.4, at attention logits; more would let noise pass for a slope of 1/2.
LARGEST_FINITE = 2.0


@dataclass(frozen=True)
class Size:
    """The mean absolute value of what a layer of one model gave, or of its change since step 0; `entries` is how many."""

    layer: str
    what: What
    step: int
    width: int
    seed: int
    size: float
    entries: int


@dataclass(frozen=True)
class Slope:
    """The power of width that a size goes with as width grows, with its 95% interval and the finite-width term a."""

    value: float
    low: float
    high: float
    finite: float = 0.0


@dataclass(frozen=True)
class Line:
    """The verdict on one layer at one step. `slope` is None where there was nothing to fit."""

    layer: str
    what: What
    step: int
    slope: Slope | None
    verdict: Verdict

    @property
    def passed(self) -> bool:
        return self.verdict in ("flat", "still")

    def __str__(self) -> str:
        where = f"{self.what} of {self.layer} at step {self.step}"
        if self.slope is None:
            return f"{where}: {self.verdict}"
        s = self.slope
        return f"{where}: {self.verdict}, width^{s.value:+.2f} ({s.low:+.2f} to {s.high:+.2f})"


def fit_slope(widths: Sequence[float], sizes: Sequence[float]) -> Slope:
    """The slope of positive sizes against widths; at least four points at three widths.

    For a given `a` the fit is ordinary least squares on logarithms; `a` is scanned up to LARGEST_FINITE.
    """
    n = np.asarray(widths, float)
    x, y = np.log(n), np.log(np.asarray(sizes, float))
    x = x - x.mean()
    spread = float(x @ x)
    finite = np.concatenate([[0.0], n.min() * np.geomspace(1 / 64, LARGEST_FINITE, 60)])
    corrected = y - 0.5 * np.log1p(finite[:, None] / n)
    corrected -= corrected.mean(axis=1, keepdims=True)
    slopes = corrected @ x / spread
    residuals = ((corrected - slopes[:, None] * x) ** 2).sum(axis=1)
    best = int(residuals.argmin())
    freedom = len(x) - 3
    limit = residuals[best] * (1 + fdtri(1, freedom, CONFIDENCE) / freedom)
    inside = residuals <= limit
    half = np.sqrt((limit - residuals[inside]) / spread)
    return Slope(
        value=float(slopes[best]),
        low=float((slopes[inside] - half).min()),
        high=float((slopes[inside] + half).max()),
        finite=float(finite[best]),
    )


def judge(sizes: Sequence[Size], tolerance: float) -> tuple[Line, ...]:
    """A line for every layer, kind of size and step, in the order of the forward pass."""
    lines: dict[tuple[str, What, int], list[Size]] = {}
    for size in sizes:
        lines.setdefault((size.layer, size.what, size.step), []).append(size)
    activations = {(s.layer, s.step, s.width, s.seed): s.size for s in sizes if s.what == "activation"}

    def rounding(s: Size) -> float:
        return ROUNDING * activations[s.layer, s.step, s.width, s.seed] if s.what == "change" else 0.0

    return tuple(
        Line(*key, *_verdict(key[1], key[0], found, [rounding(s) for s in found], tolerance))
        for key, found in lines.items()
    )


def _verdict(
    what: What, layer: str, sizes: Sequence[Size], floors: Sequence[float], tolerance: float
) -> tuple[Slope | None, Verdict]:
    values = np.array([s.size for s in sizes])
    if not np.isfinite(values).all():
        return None, "not finite"
    if (values <= np.array(floors)).all():
        return None, "still"
    if values.min() <= 0:
        return None, "unclear"
    slope = fit_slope([s.width for s in sizes], values.tolist())
    if slope.low > tolerance:
        return slope, "grows"
    # Random weights average out in what has as many entries at every width, and in q.k / head_dim: these sizes may shrink
    # from their initial value, their change may not.
    may_shrink = what == "activation" and (layer.endswith(LOGITS) or len({s.entries for s in sizes}) == 1)
    if slope.high < -tolerance:
        return slope, "flat" if may_shrink else "shrinks"
    if slope.high >= BROKEN or (slope.low <= -BROKEN and not may_shrink):
        return slope, "unclear"
    return slope, "flat"
