"""Which modules of mathematics are learned of a sudden, and so lie off every law of the smaller sizes.

The loss of a module falls as a power of the compute along the ray of a ladder, until models learn to do something new: to
line digits up, say. Then it falls several times as fast, and a forecast from sizes below that point says nothing of those
beyond. Every finished model of the ray answers the same held-out problems, of all trained levels.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import islice

import numpy as np

from tony.errors import TonyError
from tony.forecast.climb import Climber
from tony.forecast.studies.finding import Axes, Curve, Finding
from tony.forecast.studies.problems import grade, packed, source_of
from tony.forecast.studies.runs import along

NUMBER = 6000  # problems: about 200 of each of 30 modules
FEWEST = 4  # sizes
SUDDEN = 2.0  # times the exponent of the sizes before
NOISE = 0.05  # of a module's loss between two sizes: some hundred answers and single runs are known no better
SHOWN = 6  # modules in the picture, those whose fall changes most


def run(climber: Climber) -> Finding:
    """Grade the finished models of the ray, the target among them where it is finished, module by module.

    Raises:
        TonyError: the ladder is not of mathematics, or too little of it is finished.
    """
    ladder = climber.ladder
    source = source_of(climber, "modules")
    ray = [rung for rungs in along(climber) for rung in rungs]
    rungs = [*ray, *(rung for rung in ladder.targets if climber.point(rung) is not None)]
    sizes = sorted({rung.n for rung in rungs})
    if len(sizes) < FEWEST:
        raise TonyError(
            f"study modules: {len(sizes)} sizes of {ladder.base.name} are finished, and it needs {FEWEST}. Train them: "
            "tony forecast RECIPE"
        )
    problems = list(islice(source.problems("heldout"), NUMBER))
    batches = packed(climber, "modules", problems)
    module = np.array([problem.module for problem in problems])
    names = sorted(set(module))
    losses, flops, ids = defaultdict(list), {}, {}
    for rung in rungs:
        climber.reporter.say(f"{rung.recipe.name}: answering {len(problems):,} problems")
        nats, counts, _ = grade(climber.trained(rung), batches)
        masks = [np.ones(len(module), bool), *(module == name for name in names)]
        losses[rung.n].append([np.log(nats[mask].sum() / counts[mask].sum()) for mask in masks])
        ids = dict(zip(("all", *names), (int(counts[mask].sum()) for mask in masks), strict=True))
        flops[rung.n] = rung.flops
    mean = np.array([np.mean(losses[n], axis=0) for n in sizes])  # over seeds, of logs: (sizes, modules)
    return found(ladder.base.name, sizes, np.array([flops[n] for n in sizes]), ids, mean)


def found(domain: str, sizes: list[int], flops: np.ndarray, ids: dict[str, int], logs: np.ndarray) -> Finding:
    """The table and what it says.

    Args:
        ids: counted ids of "all" and of each module.
        logs: log loss, (sizes, modules), the modules in the order of `ids`.
    """
    x = np.log(flops)
    before = -np.polyfit(x[:-1], logs[:-1], 1)[0]
    line = logs[-2] - before * (x[-1] - x[-2])
    last = (logs[-2] - logs[-1]) / (x[-1] - x[-2])
    sudden = (last > SUDDEN * before) & (line - logs[-1] > NOISE)
    names = list(ids)
    loss = np.exp(logs)
    rows = [
        [name, ids[name], *(float(loss[k, i]) for k in (0, -2, -1)), float(before[i]), float(last[i]), "yes" if sudden[i] else ""]
        for i, name in enumerate(names)
    ]  # fmt: skip
    which = [name for i, name in enumerate(names) if sudden[i] and name != "all"]
    answers = [
        f"between N = {sizes[-2]:,} and {sizes[-1]:,} the loss falls as C^-{last[0]:.3f}, and as C^-{before[0]:.3f} below",
        f"{len(which)} of {len(names) - 1} modules are learned of a sudden there (the exponent more than {SUDDEN:g} times that "
        f"below, and the loss more than {NOISE:.0%} below the line): {', '.join(which) or 'none'}",
    ]  # fmt: skip
    order = sorted(range(1, len(names)), key=lambda i: before[i] - last[i])[:SHOWN]
    below = logs[:-1].mean(0) - before * (x[:, None] - x[:-1].mean())  # the line of the smaller sizes
    curves = [Curve(names[i], flops.tolist(), np.exp(logs - below)[:, i].tolist()) for i in (0, *order)]
    laws = {
        name: {"below": float(before[i]), "last": float(last[i])}
        | {f"loss at N={n:,}": float(value) for n, value in zip(sizes, loss[:, i], strict=True)}
        for i, name in enumerate(names)
    }
    return Finding(
        "modules",
        domain,
        (
            "module",
            "answer ids",
            *(f"N={sizes[k]:,}" for k in (0, -2, -1)),
            "exponent below",
            "last",
            "sudden",
        ),
        rows,
        Axes("FLOP", "loss over the line of the smaller sizes"),
        curves,
        laws,
        answers,
        [],
    )
