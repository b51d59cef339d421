"""Learning curves of a ladder, to find its frontier on.

Held-out losses are measured at annealed ends only; between them curves are of training loss, which with hardly any document
seen twice is the held-out one but for a factor next to 1 (the ladder's `gap` bounds it).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from tony.forecast.ladder import Ladder
from tony.forecast.table import Runs
from tony.runs import Run

CURVE = 12  # points of a learning curve, evenly in log D


def curves(ladder: Ladder, points: list[dict[str, Any]], root: Path) -> tuple[Runs, np.ndarray]:
    """The learning curve of every finished rung, stable run and decay, with its point at the end; and which rows are ends.

    Between ends there are training losses of a few batches: they are made held-out losses by the ratio of the two at the
    curve's end, and smoothed as what they are but for chance, a curve that does not rise (isotonic regression), or a frontier
    would be one of lucky batches. What was cheaper than the longest run of the smallest size is left out: the best there would
    be sizes that are smaller still, which were not trained. Where sizes share budgets, the least of those is the limit.
    """
    if ladder.settings.budgets:
        least = min(p["C"] for p in points)
    else:
        least = max(p["C"] for p in points if p["N"] == min(p["N"] for p in points))
    finished = {p["name"]: p for p in points}
    rows = []
    for rung in ladder.rungs:
        point = finished.get(rung.recipe.name)
        if point is None:
            continue
        if rung.flops >= least:
            rows.append((rung.n, point["D"], point["loss"], point["name"], True))
        stable = [row for row in _metrics(root / rung.stable.name) if row["step"] <= rung.begin]
        metrics = [*stable, *(row for row in _metrics(root / rung.recipe.name) if row["step"] > rung.begin)]
        if metrics:
            rows += [
                (rung.n, d, loss, point["name"], False)
                for d, loss in _smoothed(metrics, point, ladder.settings.heldout_tokens)
                if 6 * rung.n * d >= least
            ]
    n, d, loss, run, end = map(np.array, zip(*rows, strict=True))
    lines = np.arange(len(rows)) + 1
    return Runs(
        n.astype(float), d.astype(float), 6.0 * n * d, loss.astype(float), run.astype(str), lines
    ), end


def _metrics(folder: Path) -> list[dict[str, Any]]:
    return Run(folder).metrics() if (folder / "metrics.jsonl").is_file() else []


def _smoothed(
    metrics: list[dict[str, Any]], point: dict[str, Any], heldout: int
) -> list[tuple[float, float]]:
    """(tokens, loss) of a curve before its end, at most `CURVE` of them, evenly in log tokens."""
    tokens, loss = (np.array([row[key] for row in metrics], float) for key in ("tokens", "loss"))
    seen = np.diff(tokens, prepend=0.0)  # a row is the mean since the row before
    fitted = isotonic_regression(
        [*(loss * point["loss"] / point["train_loss"]), point["loss"]],
        weights=[*seen, heldout],
        increasing=False,
    ).x[:-1]
    middle = tokens - seen / 2
    span = max(float(np.log(middle[-1] / middle[0])), 1e-9)
    bins = np.floor(np.log(middle / middle[0]) / span * (CURVE - 1e-9))
    last = np.append(bins[1:] != bins[:-1], True)
    return list(zip(middle[last].tolist(), fitted[last].tolist(), strict=True))
