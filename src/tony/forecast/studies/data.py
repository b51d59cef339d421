"""L(D): the loss of one model on fixed sets of documents, each until its test loss is least (Henighan et al. 2020, section 5).

Each set holds the one before it. A model is trained on it at a constant learning rate until test loss has risen for good, and
decays are branched off where it was least and at half of that: a decay gains more than learning by heart costs, so the
least loss is found on one of them. E + (D0 / D)^alpha is fitted to those, and E compared with that of L(C): one entropy by two
trends. What both say of one epoch contradicts itself where L(C) falls below L(D(C)), D(C) = C / (6 N_opt).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tony.atomic import write_json
from tony.data.shards import Shard
from tony.errors import TonyError
from tony.forecast.climb import Climber, Material, measure, runs_of
from tony.forecast.curves import curves
from tony.forecast.fit import Law, fit
from tony.forecast.frontier import fit_frontier
from tony.forecast.interval import bootstrap
from tony.forecast.ladder import Rung
from tony.forecast.studies.finding import Axes, Curve, Finding
from tony.forecast.studies.runs import announce, finished
from tony.forecast.table import Runs
from tony.runs import Recipe
from tony.train.checkpoint import load_checkpoint, save_checkpoint
from tony.train.loop import Trainer

RESULT = "least.json"
SETS = 6  # doubling, up to `LARGEST` tokens a parameter
LARGEST = 2.0
EPOCHS = 40  # at most
EXPECTED = 25.0  # epochs that training, decays and test losses together cost, to tell it beforehand
WARMUP = 40  # steps
PACE = 1.15  # test loss is measured again after so many times the steps
RISEN = 1.01  # over the least test loss,
TIMES = 3  # so often in a row: it will not fall again
DECAY = 0.25  # steps of a decay, as a share of those before it
LOOKS = 5  # at the test loss of a decay
TESTED = 30_000  # tokens that test losses are compared on; the least is measured on as many as the ladder's points are


def run(climber: Climber) -> Finding:
    """The study, at the second largest size of the ladder; finished sets are read."""
    sizes = sorted({rung.n for rung in climber.ladder.rungs} - climber.ladder.small)
    n = sizes[-2] if len(sizes) > 1 else sizes[-1]
    rung = next(rung for rung in climber.ladder.rungs if rung.n == n)
    sets = nested(climber.material.train, [LARGEST * n / 2**k for k in reversed(range(SETS))])
    fresh = [d for d, documents in sets if least_loss(climber, rung, d) is None]
    if fresh:
        climber.reporter.say(
            f"sets of {fresh[0]:,} to {fresh[-1]:,} tokens ({len(fresh)}), at the cost of about {EXPECTED:.0f} epochs of each:"
        )
        announce(climber, [rung_of(climber, rung, sum(fresh))], EXPECTED)
    points = []
    for d, documents in sets:
        point = least_loss(climber, rung, d) or train(climber, rung, d, documents)
        climber.reporter.say(
            f"D = {d:,}: least test loss {point['loss']:.4f} after {point['epochs']:.1f} epochs"
        )
        points.append(point)
    return found(climber, n, points)


def nested(shard: Shard, tokens: list[float]) -> list[tuple[int, np.ndarray]]:
    """For each number of tokens, how many a random set of documents has that just reaches it, and the set; each holds the last.

    Raises:
        TonyError: there are fewer tokens.
    """
    order = np.random.default_rng(29).permutation(len(shard))
    reached = shard.lengths[order].cumsum()
    if reached[-1] < max(tokens):
        raise TonyError(
            f"the training data have {reached[-1]:,} tokens, fewer than the {max(tokens):,.0f} of the largest set: choose smaller "
            "sizes (forecast.allowance), or give it more data"
        )
    ends = np.searchsorted(reached, tokens)
    return [(int(reached[end]), order[: end + 1]) for end in ends]


def name_of(rung: Rung, d: int) -> str:
    return f"{rung.stable.name.removesuffix('-stable')}-d{d}"


def rung_of(climber: Climber, rung: Rung, tokens: int) -> Rung:
    """What is trained, as a rung of so many tokens, for its cost."""
    recipe = rung.recipe.model_copy(update={"name": f"{rung.recipe.name}-cost"})
    return Rung(recipe, rung.stable, rung.n, tokens, 0)


def least_loss(climber: Climber, rung: Rung, d: int) -> dict[str, Any] | None:
    """The finished point of a set, or None.

    Raises:
        TonyError: it was made by another recipe.
    """
    path = climber.root / name_of(rung, d) / RESULT
    if not path.is_file():
        return None
    point = json.loads(path.read_text(encoding="utf-8"))
    if point["recipe"] != rung.stable.hash:
        raise TonyError(
            f"{path.parent} was trained from another recipe. Choose another name (name=NAME) or remove that folder"
        )
    return point


def train(climber: Climber, rung: Rung, d: int, documents: np.ndarray) -> dict[str, Any]:
    """Train on a set until the test loss is least, and write its point."""
    folder = climber.root / name_of(rung, d)
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was cut short
    whole = climber.material
    (folder / "set").mkdir(parents=True)
    subset = Shard.write(folder / "set", (whole.train.tokens(int(i)) for i in documents), whole.vocabulary)
    part = Climber(
        climber.ladder, folder, climber.reporter, Material(whole.vocabulary, subset, whole.heldout)
    )
    stable, kept = until_it_rises(part, rung, d)
    best = min(kept, key=lambda step: kept[step])
    early = min((step for step in kept if step >= best / 2), default=best)
    ends = [(kept[best], best, stable)]
    for begin in sorted({early, best}):
        ends += decayed(part, rung.stable, stable, begin)
    _, step, trainer = min(ends, key=lambda end: end[0])
    loss, constant = (
        measure(_at(*place), stable.heldout, climber.ladder.settings.heldout_tokens, seed=0)[0]
        for place in ((trainer, step), (stable, best))
    )
    per_epoch = max(1e-9, d / stable.batches.tokens_per_batch)
    point = {
        "recipe": rung.stable.hash, "N": rung.n, "D": d, "documents": len(documents), "loss": loss, "constant_rate": constant,
        "steps": step, "epochs": step / per_epoch,
    }  # fmt: skip
    for leftover in folder.iterdir():  # the point is what is kept
        shutil.rmtree(leftover)
    write_json(folder / RESULT, point)
    return point


def until_it_rises(part: Climber, rung: Rung, d: int) -> tuple[Trainer, dict[int, float]]:
    """Train at a constant rate; the test losses of the steps whose checkpoints are kept, down to half of the best step's."""
    per_step = max(1, rung.stable.train.batch_tokens // rung.stable.model.context) * rung.stable.model.context
    steps = max(10 * WARMUP, round(EPOCHS * d / per_step))
    trainer = part.trainer(_recipe(rung.stable, "constant", steps, per_step, 0.0))
    kept: dict[int, float] = {}
    best, worse, due = np.inf, 0, WARMUP
    part.reporter.begin(f"D = {d:,}", steps)
    while trainer.step < steps and worse < TIMES:
        trainer.update()
        if trainer.step < due and trainer.step < steps:
            continue
        loss = measure(trainer, trainer.heldout, TESTED, seed=0)[0]
        best, worse = min(best, loss), worse + 1 if loss > RISEN * best else 0
        _keep(trainer)
        kept[trainer.step] = loss
        lowest = min(kept, key=lambda step: kept[step])
        for step in [s for s in kept if s < lowest / 2]:
            shutil.rmtree(_kept(trainer, step))
            del kept[step]
        due = max(trainer.step + 5, round(trainer.step * PACE))
        part.reporter.advance(trainer.step, loss=loss)
    return trainer, kept


def decayed(part: Climber, base: Recipe, stable: Trainer, begin: int) -> list[tuple[float, int, Trainer]]:
    """(test loss, step, trainer) along a decay to 0 from the constant rate's step `begin`."""
    length = max(LOOKS, round(DECAY * begin))
    per_step = stable.batches.tokens_per_batch
    trainer = part.trainer(
        _recipe(base, f"decay-{begin}", begin + length, per_step, length / (begin + length))
    )
    load_checkpoint(_kept(stable, begin), begin, trainer.model, trainer.optimizer)
    trainer.step = begin
    looks = {begin + round(length * (i + 1) / LOOKS) for i in range(LOOKS)}
    found = []
    while trainer.step < trainer.steps:
        trainer.update()
        if trainer.step in looks:
            found.append((measure(trainer, trainer.heldout, TESTED, seed=0)[0], trainer.step, trainer))
            _keep(trainer)
    return found


def _keep(trainer: Trainer) -> None:
    trainer.optimizer.gather_state()
    save_checkpoint(_kept(trainer, trainer.step), trainer.step, trainer.model, trainer.optimizer, {})


def _at(trainer: Trainer, step: int) -> Trainer:
    """The trainer with the model of a step that is kept."""
    load_checkpoint(_kept(trainer, step), step, trainer.model, trainer.optimizer)
    return trainer


def _recipe(base: Recipe, name: str, steps: int, per_step: int, decay: float) -> Recipe:
    train = base.train.model_copy(
        update={"tokens": float(steps * per_step), "warmup": min(0.5, WARMUP / steps), "decay": decay}
    )
    return base.model_copy(update={"name": name, "train": train})


def _kept(trainer: Trainer, step: int) -> Path:
    return trainer.run.path / "kept" / str(step)


def found(climber: Climber, n: int, points: list[dict[str, Any]]) -> Finding:
    """The law of the points, and what L(C) of the ladder says beside it."""
    columns = ("D", "documents", "D / N", "epochs", "constant rate", "least test loss")
    rows = [[p["D"], p["documents"], p["D"] / n, p["epochs"], p["constant_rate"], p["loss"]] for p in points]
    d, loss = (np.array([p[key] for p in points], float) for key in ("D", "loss"))
    lines = np.arange(len(points)) + 1
    law = fit(Runs(None, d, None, loss, lines.astype(str), lines), "power+constant:D")
    value, low, high = bootstrap(law, 400).constants()["E"]
    span = np.geomspace(d.min(), 10 * d.max(), 60)
    curve = Curve(f"N = {n:,}", d.tolist(), loss.tolist(), span.tolist(), law.predict(D=span).tolist())
    laws = {"L(D)": {k: law.constants[k] for k in ("E", "D0", "alpha")}}
    answers = [f"L(D) = E + (D0 / D)^alpha has E = {value:.4g} nats (90%: {low:.4g} to {high:.4g})"]
    warnings = [
        f"one model of N = {n:,} reads all sets: what it cannot learn even of the largest is in E, which so is too high"
    ]
    ladder = finished(climber)
    try:
        beside, said = against_compute(climber, ladder, law)
        laws |= beside
        answers += said
    except TonyError as error:
        warnings.append(f"no L(C) to compare with ({error}). Climb the ladder first: tony forecast RECIPE")
    axes = Axes("D, tokens of the set", "least test loss, nats", "x")
    return Finding("data", climber.ladder.base.name, columns, rows, axes, [curve], laws, answers, warnings)


def against_compute(
    climber: Climber, points: list[dict[str, Any]], law: Law
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """L(C) of the ladder, both entropies, and where L(C) falls below L(D(C)).

    Raises:
        TonyError: the ladder's points determine no L(C) or no compute-optimal size.
    """
    if not points:
        raise TonyError("no rung is finished")
    compute = fit_frontier(curves(climber.ladder, points, climber.root)[0])
    joint = fit(runs_of(points), "overtraining")
    one, other = law.irreducible, compute.irreducible
    answers = [
        f"the irreducible loss is {one:.4g} nats by L(D) and {other:.4g} by L(C) (paper, 16x16 pictures: 2013 and 2023 nats)"
    ]
    crossing = crosses(compute, law, joint, float(compute.runs.c.max()))
    largest = f"{compute.runs.c.max():.3g} FLOP of the largest run"
    if crossing is None:
        answers.append(
            f"L(C) stays above L(D(C)) up to 1e20 times the {largest}: the trends do not contradict each other there"
        )
    elif crossing <= compute.runs.c.max():
        answers.append(
            f"L(C) is below L(D(C)) already at the {largest}: what is measured of L(D) is too high there, as a model of this size is "
            "what limits it"
        )
    else:
        n, d = joint.optimum(crossing)
        answers.append(
            f"L(C) crosses L(D(C)) at C = {crossing:.3g} FLOP (N = {n:.3g}, D = {d:.3g}, loss {float(compute.predict(C=crossing)):.4g}): one of "
            "the trends must break there or before"
        )
    return {"L(C)": {k: compute.constants[k] for k in ("E", "C0", "alpha")}}, answers


def crosses(compute: Law, data: Law, joint: Law, least: float) -> float | None:
    """The least C from `least` on at which L(C) is below L(D(C)), with D(C) the joint law's best for one epoch; None up to
    1e20 times `least`."""
    c = np.geomspace(least, 1e20 * least, 4001)
    best = np.array([joint.optimum(float(x))[1] for x in c])
    below = np.flatnonzero(compute.predict(C=c) < data.predict(D=best))
    return float(c[below[0]]) if len(below) else None
