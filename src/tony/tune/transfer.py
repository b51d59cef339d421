"""What a transfer costs and what it is worth: regret at the target, whether wider is better, share of the target's cost.

Nothing here knows of Tony: losses and counts may come from anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tony.errors import TonyError
from tony.tune.optimum import Curve


@dataclass(frozen=True)
class Regret:
    """What the target loses with the learning rate that is best at the proxy, against its own best of the same grid.

    relative: to the target's least loss.   error: one standard error of `relative`, over seeds; None with one seed.
    """

    log2_lr: float
    loss: float
    best_loss: float
    relative: float
    error: float | None


def regret(proxy: Curve, target: Curve) -> Regret:
    """Measured, not fitted: both are mean losses of runs at the target. At least 0.

    Raises:
        TonyError: the target was not run at the proxy's best rate, or diverged there.
    """
    rate = float(proxy.log2_lrs[proxy.best])
    at = np.flatnonzero(np.isclose(target.log2_lrs, rate))
    if not len(at):
        raise TonyError(f"size {target.size}: no run at log2 lr {rate:g}, the proxy's best. Run it there")
    mine, best = target.losses[at[0]], target.losses[target.best]
    loss, least = float(target.means[at[0]]), float(target.means[target.best])
    pairs = (mine - best)[np.isfinite(mine) & np.isfinite(best)]
    error = float(pairs.std(ddof=1) / np.sqrt(len(pairs)) / least) if len(pairs) > 1 else None
    return Regret(rate, loss, least, (loss - least) / least, error)


def wider_is_better(
    losses: Mapping[int, Sequence[float]], warmup: float = 0.1, smooth: int = 5
) -> tuple[float, dict[str, float]]:
    """The share of steps at which the wider of two neighbouring sizes has the lower loss, in all and by pair.

    Under muP wider is better at any time (Tensor Programs V, section 8): a cheap detector of mistakes.

    losses: by size, the seed mean at equal steps (points,), at the same hyperparameters.
    warmup: share of the points, at the start, that does not count.
    smooth: width of the moving mean, in points.

    Raises:
        TonyError: fewer than two sizes, different numbers of points, or too few of them.
    """
    sizes = sorted(losses)
    lengths = {len(losses[size]) for size in sizes}
    if len(sizes) < 2 or len(lengths) != 1 or min(lengths) < smooth:
        raise TonyError(
            f"wider_is_better needs two sizes or more, of {smooth} points or more each, at equal steps"
        )
    kernel = np.ones(smooth) / smooth
    smoothed = {size: np.convolve(losses[size], kernel, "valid") for size in sizes}
    first = round(warmup * min(lengths))
    shares = {
        f"{narrow} to {wide}": float(np.mean(smoothed[wide][first:] <= smoothed[narrow][first:]))
        for narrow, wide in pairwise(sizes)
    }
    return float(np.mean(list(shares.values()))), shares


def tuning_cost(trials: Sequence[tuple[float, float]], target: tuple[float, float]) -> float:
    """The cost of tuning as a share of training the target: sum of N D over trials, over N D of the target.

    (parameters without embeddings, tokens) of each trial and of the target. Training costs 6 N D FLOPs (Kaplan et al.
    2020); Tensor Programs V counts its GPT-3 transfer so: (4e9 * 350 + 16e9 * 117) / (168 * 300e9) = 0.065.
    """
    return sum(n * d for n, d in trials) / (target[0] * target[1])
