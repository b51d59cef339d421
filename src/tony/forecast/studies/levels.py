"""Mathematics beyond the difficulty that was trained: is the loss there a matter of size? (Henighan et al. 2020, section 5)

Every finished model of the ladder, and the target where it is finished, answers held-out problems of levels 1 to 19; levels 3
to 10 are trained. What is asked: whether the loss at a level follows from the training loss alone, or whether of two models
with one training loss the larger does better; and whether there is a kink at level 10, where training ends.

A problem is right if every id of its answer, the end included, is the most likely one after the true ids before it: that is
just when greedy decoding writes it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tony.atomic import write_json
from tony.data.batches import Batches
from tony.data.mathematics import LEVELS, TRAINED, Mathematics
from tony.errors import TonyError
from tony.forecast.climb import Climber
from tony.forecast.fit import fit
from tony.forecast.ladder import Rung
from tony.forecast.studies.finding import Axes, Curve, Finding
from tony.forecast.studies.problems import grade, packed, source_of
from tony.forecast.table import Runs
from tony.train.loop import Trainer

NUMBER = 300  # problems of a level
SHOWN = (1, 3, 6, 8, 10, 12, 15, 19)  # levels in the picture
FITTED = {8: "interpolation", 12: "extrapolation"}  # the package's own names
FEWEST = 4  # models


@dataclass(frozen=True)
class Graded:
    """A model and how it answers at each of LEVELS.

    Attributes:
        loss: nats per answer id, (levels,).
        standard_error: of the loss, over problems.
        accuracy: share of problems that greedy decoding answers exactly.
    """

    n: int
    tokens: int
    train_loss: float
    loss: np.ndarray
    standard_error: np.ndarray
    accuracy: np.ndarray


def run(climber: Climber) -> Finding:
    """Grade the finished models, and say what their losses at each level follow from.

    Raises:
        TonyError: the ladder is not of mathematics, or too little of it is finished.
    """
    ladder = climber.ladder
    source = source_of(climber, "levels")
    finished = [rung for rung in (*ladder.rungs, ladder.target) if climber.point(rung) is not None]
    if len(finished) < FEWEST:
        raise TonyError(
            f"study levels: {len(finished)} models of {ladder.base.name} are finished, and it needs {FEWEST}. Train them: "
            "tony forecast RECIPE"
        )
    batches: Batches | None = None
    models = []
    for rung in finished:
        found = _read(climber, rung)
        if found is None:
            batches = batches or _problems(climber, source)
            climber.reporter.say(f"{rung.recipe.name}: answering {NUMBER} problems of each level")
            found = _grade(climber.trained(rung), batches)
            _write(climber, rung, found)
        models.append(Graded(rung.n, rung.tokens, climber.point(rung)["train_loss"], **found))
    return report(ladder.base.name, models, ladder.target.n)


def _problems(climber: Climber, source: Mathematics) -> Batches:
    """NUMBER problems of level after level."""
    return packed(climber, "levels", [problem for level in LEVELS for problem in source.level(level, NUMBER)])


def _grade(trainer: Trainer, batches: Batches) -> dict[str, np.ndarray]:
    """The figures of `Graded`, from NUMBER documents of level after level."""
    nats, ids, right = (a.reshape(len(LEVELS), -1) for a in grade(trainer, batches))
    loss = nats.sum(1) / ids.sum(1)
    left = (nats - loss[:, None] * ids) / ids.mean(1, keepdims=True)  # of a ratio of sums, by problem
    return {
        "loss": loss,
        "standard_error": left.std(1) / np.sqrt(left.shape[1]),
        "accuracy": (right == ids).mean(1),
    }


def _read(climber: Climber, rung: Rung) -> dict[str, np.ndarray] | None:
    path = climber.root / rung.recipe.name / "levels.json"
    value = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if value.get("recipe") != rung.recipe.hash or value.get("number") != NUMBER:
        return None
    return {name: np.array(figures) for name, figures in value["figures"].items()}


def _write(climber: Climber, rung: Rung, figures: dict[str, np.ndarray]) -> None:
    value = {"recipe": rung.recipe.hash, "number": NUMBER, "levels": list(LEVELS)}
    value["figures"] = {name: array.tolist() for name, array in figures.items()}
    write_json(climber.root / rung.recipe.name / "levels.json", value)


def left_out_error(loss: np.ndarray, *predictors: np.ndarray) -> np.ndarray:
    """How far least squares through the other models miss each model, root mean square, for losses (models, ...).

    Quadratic in the first predictor where there are 8 models, and linear in the others. A point's residual when it is left out
    is its residual over 1 - its leverage.
    """
    first = (predictors[0] - predictors[0].mean()) / predictors[0].std()
    columns = [np.ones_like(first), first, *([first**2] if len(first) >= 8 else []), *predictors[1:]]
    basis, _ = np.linalg.qr(np.stack(columns, 1))
    hat = basis @ basis.T
    residuals = loss - np.tensordot(hat, loss, 1)
    leverage = np.diag(hat).reshape(-1, *[1] * (loss.ndim - 1))
    return np.sqrt(np.mean((residuals / (1 - leverage)) ** 2, axis=0))


def kink(levels: np.ndarray, loss: np.ndarray) -> tuple[float, float, float]:
    """Where two straight lines that meet come nearest to the loss, and their slopes in nats a level."""
    best = None
    for level in np.arange(levels[0] + 2, levels[-1] - 1.9, 0.5):
        basis = np.stack([np.ones_like(levels), levels, np.maximum(levels - level, 0)], 1)
        found, *_ = np.linalg.lstsq(basis, loss, rcond=None)
        error = float(((basis @ found - loss) ** 2).sum())
        if best is None or error < best[0]:
            best = error, float(level), float(found[1]), float(found[1] + found[2])
    return best[1:]


def report(domain: str, models: Sequence[Graded], target: int) -> Finding:
    """The finding of graded models; `target` is the N of the one that may be among them."""
    n, train = (np.array([getattr(m, name) for m in models], float) for name in ("n", "train_loss"))
    loss = np.stack([m.loss for m in models])
    by_loss, by_size = left_out_error(loss, train), left_out_error(loss, np.log(n))
    by_both = left_out_error(loss, train, np.log(n))
    longest = list({m.n: m for m in sorted(models, key=lambda m: (m.n, m.tokens))}.values())
    largest = longest[-1]
    chance = np.stack([m.standard_error for m in models]).mean()
    levels = np.array(LEVELS, float)
    beyond = levels >= TRAINED[0]
    at, inside, outside = kink(levels[beyond], largest.loss[beyond])
    middle = levels >= TRAINED[-1] + 1
    answers = [
        f"Loss at a level: by the training loss alone it is known to {_rms(by_loss):.3f} nats, by N alone to {_rms(by_size):.3f} "
        f"(left-out error, {len(models)} models, levels 1 to 19; chance of {NUMBER} problems: {chance:.3f}).",
        f"Beyond training (levels 11 to 19): {_rms(by_loss[middle]):.3f} by the training loss, {_rms(by_size[middle]):.3f} by N, "
        f"{_rms(by_both[middle]):.3f} by both: size {'tells nothing more' if _rms(by_both[middle]) > 0.9 * _rms(by_loss[middle]) else 'tells something more'}.",
        f"N = {largest.n:,}: two lines through levels {TRAINED[0]} to {LEVELS[-1]} meet at level {at:g}; {inside:+.3f} nats a "
        f"level below it, {outside:+.3f} above.",
        *(
            f"Level {level} ({name}): loss {largest.loss[level - LEVELS[0]]:.3f}, {largest.accuracy[level - LEVELS[0]]:.0%} right "
            f"at N = {largest.n:,}."
            for level, name in FITTED.items()
        ),
    ]  # fmt: skip
    laws, warnings = {}, []
    for level, name in FITTED.items():
        try:
            laws[f"loss(N) at level {level}, {name}"] = _law(longest, level)
        except TonyError as error:
            warnings.append(f"level {level}: no law in N ({error})")
    laws["kink"] = {"level": at, "below": inside, "above": outside}
    if target not in [m.n for m in models]:
        warnings.append("the target is not finished and not among them: tony forecast RECIPE --confirm")
    columns = ("level", *(f"N={m.n:,}" for m in longest), "right", "by loss", "by N")
    rows = [
        [level, *(float(m.loss[i]) for m in longest), f"{largest.accuracy[i]:.0%}", float(by_loss[i]), float(by_size[i])]
        for i, level in enumerate(LEVELS)
    ]  # fmt: skip
    axes = Axes("training loss (nats per answer id)", "loss at a level (nats per answer id)", "")
    curves = [_curve(level, train, loss[:, level - LEVELS[0]]) for level in SHOWN]
    return Finding("levels", domain, columns, rows, axes, curves, laws, answers, warnings)


def _rms(errors: np.ndarray) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def _law(models: Sequence[Graded], level: int) -> dict[str, float]:
    """The constants of E + (N0 / N)^alpha through the longest branch of every size."""
    n, d = (np.array([getattr(m, name) for m in models], float) for name in ("n", "tokens"))
    loss = np.array([m.loss[level - LEVELS[0]] for m in models])
    lines = np.arange(len(models)) + 1
    law = fit(Runs(n, d, 6 * n * d, loss, lines.astype(str), lines), "power+constant:N")
    return {name: law.constants[name] for name in ("E", "N0", "alpha")}


def _curve(level: int, train: np.ndarray, loss: np.ndarray) -> Curve:
    """All models at one level, and the polynomial that is fitted."""
    law = np.polynomial.Polynomial.fit(train, loss, 2 if len(train) >= 8 else 1)
    x = np.linspace(train.min(), train.max(), 50)
    values: list[Any] = [train, loss, x, law(x)]
    return Curve(f"level {level}", *(v.tolist() for v in values))
