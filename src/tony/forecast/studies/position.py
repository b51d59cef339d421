"""Held-out loss at every position of the context, and its spread over examples (Henighan et al. 2020, section 7).

Of text, a power law and a constant in the position t: L(t) ~ L(N) + (L_U - L(N)) / t^p, with L_U the entropy of the ids'
frequencies. Of pictures, no such law: a map over pixels, which the paper finds highest on the first ones and near the
centre. And percentiles of the loss of an example, each of which follows E + (N0 / N)^alpha.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isqrt

import numpy as np
import torch
from scipy.optimize import least_squares
from torch.nn import functional as F

from tony.errors import TonyError
from tony.forecast.climb import Climber
from tony.forecast.fit import fit
from tony.forecast.studies.finding import Axes, Curve, Finding
from tony.forecast.studies.runs import announce, longest, on_ray
from tony.forecast.table import Runs
from tony.model import Segments
from tony.train.loop import Trainer

PERCENTILES = (1, 5, 20, 50, 80, 95, 99)
EXAMPLES = 4000
TOGETHER = 64
BINS = 16  # of positions, evenly in log t


@dataclass(frozen=True)
class Nats:
    """The loss of every counted id: which example it is of, its place among the counted ids of that (from 0), its nats."""

    example: np.ndarray
    place: np.ndarray
    nats: np.ndarray

    def by_place(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean nats and counts, (places,)."""
        counts = np.bincount(self.place)
        return np.bincount(self.place, self.nats) / np.maximum(counts, 1), counts

    def by_example(self) -> np.ndarray:
        """Mean nats an id, (examples,)."""
        return np.bincount(self.example, self.nats) / np.bincount(self.example)


@torch.no_grad()
def nats_of(trainer: Trainer, examples: int = EXAMPLES) -> Nats:
    """Of so many held-out documents, drawn without a second time: the same ones for every model of a ladder, whatever its seed."""
    shard = trainer.heldout.shard
    chosen = np.random.default_rng([0, 19]).permutation(len(shard))[:examples]
    example, place, found = [], [], []
    for first in range(0, len(chosen), TOGETHER):
        part = [shard.tokens(int(d)) for d in chosen[first : first + TOGETHER]]
        width = max(map(len, part))
        ids, counted = np.zeros((len(part), width), np.int64), np.zeros((len(part), width), bool)
        for row, tokens in enumerate(part):
            ids[row, : len(tokens)], counted[row, : len(tokens)] = tokens.ids, tokens.counted
        # A document's first id is never counted, so the place before a counted one is in the same row.
        before = torch.from_numpy(np.flatnonzero(counted.reshape(-1)[1:])).to(trainer.device)
        segments = Segments.from_lengths([[len(tokens)] for tokens in part], width).to(trainer.device)
        states = trainer.model.trunk(torch.from_numpy(ids).to(trainer.device), segments)
        logits = trainer.model.readout(states.index_select(0, before)).float()
        targets = torch.from_numpy(ids.reshape(-1)).to(trainer.device)[before + 1]
        found.append(F.cross_entropy(logits, targets, reduction="none").double().cpu().numpy())
        example.append(first + np.nonzero(counted)[0])
        place.append((counted.cumsum(1) - 1)[counted])
    places = np.concatenate(place)
    whole = np.unique(np.concatenate(example), return_inverse=True)[1]  # an example may have no counted id
    return Nats(whole, places, np.concatenate(found))


def run(climber: Climber) -> Finding:
    """The study, on the longest branch of each finished size."""
    climber = on_ray(climber)
    rungs = longest(climber)
    announce(climber, rungs)
    measured = {}
    for rung in rungs:
        trainer = climber.trained(rung)
        climber.reporter.say(f"N = {rung.n:,}: {EXAMPLES:,} held-out examples at most")
        measured[rung.n] = nats_of(trainer)
    recipe = climber.ladder.base
    if recipe.data.kind == "pictures":
        finding = of_pictures(recipe.name, measured)
    else:
        entropies = climber.material.train.unigram_entropy(climber.material.vocabulary)
        finding = of_text(recipe.name, measured, max(entropies.values()))
    laws, answers, warnings = percentiles(measured)
    finding.laws.update(laws)
    finding.answers.extend(answers)
    finding.warnings.extend(warnings)
    return finding


def of_pictures(name: str, measured: dict[int, Nats]) -> Finding:
    """The map of losses over the pixels (or codes) of a square picture, by size N."""
    rows, curves = [], []
    for n, nats in sorted(measured.items()):
        means, _ = nats.by_place()
        side = isqrt(len(means))
        grid = means[: side * side].reshape(side, side)  # what follows is the picture's end mark
        quarter = max(1, side // 4)
        inner = np.zeros((side, side), bool)
        inner[quarter : side - quarter, quarter : side - quarter] = True
        top = np.unravel_index(int(grid.argmax()), grid.shape)
        rows.append(
            [n, float(grid.mean()), float(grid[0, 0]), float(grid[0].mean()), float(grid[inner].mean()), float(grid[~inner].mean()),
             f"row {top[0] + 1}, column {top[1] + 1}"]
        )  # fmt: skip
        curves.append(Curve(f"N = {n:,}", (np.arange(side * side) + 1.0).tolist(), grid.ravel().tolist()))
    n, mean, first, first_row, centre, border, top = rows[-1]
    answers = [
        f"at N = {n:,} the loss of a pixel is {mean:.3f} nats on average, {first:.3f} at the first pixel, {first_row:.3f} in the first "
        f"row, {centre:.3f} in the middle and {border:.3f} around it; it is highest at {top}",
        f"the paper finds it highest on the first pixels and near the centre: here the first pixel is {first / mean - 1:+.0%}, "
        f"the middle {centre / mean - 1:+.0%} off the average",
    ]
    columns = ("N", "mean, nats", "first pixel", "first row", "middle", "around it", "highest at")
    axes = Axes("pixel, in raster order", "held-out loss, nats", "")
    return Finding("position", name, columns, rows, axes, curves, answers=answers)


def of_text(name: str, measured: dict[int, Nats], unigram: float) -> Finding:
    """The power law in the position, by size N.

    Args:
        unigram: L_U, the entropy of the ids' frequencies in nats.
    """
    rows, curves, laws, powers = [], [], {}, []
    for n, nats in sorted(measured.items()):
        t, loss, weights = binned(nats)
        limit, p = fit_position(t, loss, weights, unigram)
        fitted = limit + (unigram - limit) / t**p
        error = float(np.sqrt(np.average((loss / fitted - 1) ** 2, weights=weights)))
        rows.append([n, float(nats.nats.mean()), float(loss[0]), float(loss[-1]), limit, p, error])
        laws[f"position, N = {n:,}"] = {"L(N)": limit, "L_U": unigram, "p": p}
        curves.append(Curve(f"N = {n:,}", t.tolist(), loss.tolist(), t.tolist(), fitted.tolist()))
        powers.append(p)
    answers = [
        f"L(t) = L(N) + ({unigram:.3f} - L(N)) / t^p has p from {min(powers):.3f} to {max(powers):.3f} and errs by {rows[-1][-1]:.1%} at the "
        "largest size (paper: p below 1 and nearly independent of N)"
    ]
    columns = ("N", "mean, nats", "first id", "last ids", "L(N)", "p", "error")
    axes = Axes("position in the document, ids", "held-out loss, nats", "x")
    return Finding("position", name, columns, rows, axes, curves, laws, answers)


def binned(nats: Nats) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions t from 1, mean nats and how many ids, in bins even in log t."""
    means, counts = nats.by_place()
    t = np.arange(len(means)) + 1.0
    edges = np.unique(np.geomspace(1, len(means) + 1, BINS + 1).astype(int))
    found = []
    for low, high in pairwise(edges):
        part = slice(low - 1, high - 1)
        if total := int(counts[part].sum()):
            share = counts[part] / total
            found.append((float(np.exp(share @ np.log(t[part]))), float(share @ means[part]), total))
    return tuple(np.array(column, float) for column in zip(*found, strict=True))


def fit_position(t: np.ndarray, loss: np.ndarray, weights: np.ndarray, unigram: float) -> tuple[float, float]:
    """L(N) and p of L(N) + (L_U - L(N)) / t^p: least squares of the relative error."""
    root = np.sqrt(weights / weights.sum())

    def residuals(x: np.ndarray) -> np.ndarray:
        return root * ((x[0] + (unigram - x[0]) / t ** x[1]) / loss - 1)

    ends = [least_squares(residuals, (float(loss[-1]), p), x_scale=(1.0, 0.1)) for p in (0.1, 0.5, 1.0)]
    best = min(ends, key=lambda end: end.cost)
    return float(best.x[0]), float(best.x[1])


def percentiles(measured: dict[int, Nats]) -> tuple[dict[str, dict[str, float]], list[str], list[str]]:
    """Of the loss of an example: its percentiles at the largest size, and their laws in N where there are four sizes."""
    sizes = np.array(sorted(measured), float)
    table = np.array([np.percentile(measured[int(n)].by_example(), PERCENTILES) for n in sizes])
    told = ", ".join(f"{q}%: {v:.3f}" for q, v in zip(PERCENTILES, table[-1], strict=True))
    answers = [f"nats an id of an example at N = {int(sizes[-1]):,}, percentiles: {told}"]
    laws, errors = {}, []
    lines = np.arange(len(sizes)) + 1
    for q, loss in zip(PERCENTILES, table.T, strict=True):
        try:
            law = fit(Runs(sizes, None, None, loss, lines.astype(str), lines), "power+constant:N")
        except TonyError as error:
            return {}, answers, [f"no law of the percentiles: {error}"]
        laws[f"{q}% of examples"] = {k: law.constants[k] for k in ("E", "N0", "alpha")}
        errors.append(float(np.abs(law.residuals()).max()))
    if len(sizes) < 4:
        return (
            {},
            answers,
            ["no law of the percentiles: three constants need four sizes to say whether they fit"],
        )
    answers.append(f"each percentile follows E + (N0 / N)^alpha within {max(errors):.2%} (paper: all do)")
    return laws, answers, []
