"""How far the choice of test documents moves a forecast.

All sizes of a ladder are measured on the same documents. Another draw of them moves all losses together, which does no
harm: the target is measured on them, too. But some documents are hard for small models only, so a draw also tilts the ladder,
and a forecast far beyond it carries the tilt along. Runs with other seeds do not show this, for they share the documents. Here documents
are drawn again with replacement (a paired bootstrap: the same draw for every size).
"""

from __future__ import annotations

import numpy as np

from tony.errors import TonyError
from tony.forecast.climb import Climber
from tony.forecast.studies.finding import Axes, Curve, Finding
from tony.forecast.studies.position import nats_of
from tony.forecast.studies.runs import along

SEEDS = 4  # runs of a size: what documents do hardly depends on the run
DRAWS = 1000
MUCH = 0.003  # of the loss at the target: the forecasts are asked to err by 1%


def run(climber: Climber) -> Finding:
    """Measure the finished runs that a line goes through (`along`) on as many documents as the ladder's losses are of.

    Raises:
        TonyError: fewer than two sizes are finished.
    """
    ladder = climber.ladder
    groups = along(climber)
    if len(groups) < 2:
        raise TonyError(
            f"study heldout: {len(groups)} of the sizes of {ladder.base.name} are finished, and it needs two. Train them: "
            "tony forecast RECIPE"
        )
    shard = climber.material.heldout
    documents = min(len(shard), max(2, round(ladder.settings.heldout_tokens / shard.lengths.mean())))
    nats, counts = [], np.ones(0)
    for rungs in groups:
        runs = rungs[:SEEDS]
        climber.reporter.say(f"N = {runs[0].n:,}: {documents:,} documents, {len(runs)} runs")
        found = [nats_of(climber.trained(rung), documents) for rung in runs]
        nats.append(np.mean([np.bincount(one.example, one.nats) for one in found], axis=0))
        counts = np.bincount(found[0].example)
    sizes = [rungs[0].n for rungs in groups]
    flops = [rungs[0].flops for rungs in groups]
    return found_of(
        ladder.base.name,
        sizes,
        np.array(flops),
        ladder.target.flops,
        np.array(nats),
        counts,
        ladder.base.seed,
    )


def found_of(
    domain: str, sizes: list[int], flops: np.ndarray, target: float, nats: np.ndarray, counts: np.ndarray, seed: int = 0
) -> Finding:  # fmt: skip
    """The table and what it says.

    Args:
        flops: (sizes,), and of the target.
        nats: (sizes, documents), summed over the counted ids of each document, whose numbers are `counts`.
    """
    rng = np.random.default_rng([seed, 29])
    documents = len(counts)
    drawn = rng.multinomial(documents, np.full(documents, 1 / documents), DRAWS).astype(float)
    logs = np.log(drawn @ nats.T / (drawn @ counts)[:, None])  # (draws, sizes)
    loss = nats.sum(1) / counts.sum()
    moved = (logs - np.log(loss)).std(0)
    tilt = (logs - logs[:, -1:]).std(0)
    # What each size weighs in the least-squares line of log L over log C at the target: a forecast by the plainest law.
    x = np.log(flops)
    line = np.array([np.log(target), 1]) @ np.linalg.pinv(np.vander(x, 2))
    forecast = logs @ line
    carried = float((forecast - logs.mean(1)).std())
    rows = [
        [n, float(loss[i]), float(moved[i]), float(tilt[i])] for i, n in enumerate(sizes)
    ]  # shares of the loss
    answers = [
        f"another draw of {documents:,} documents moves the loss of N = {sizes[-1]:,} by {moved[-1]:.2%}, and that of N = {sizes[0]:,} "
        f"against it by {tilt[0]:.2%} (one standard deviation)",
        f"by a straight line that is {carried:.2%} of the forecast at {target / flops[-1]:.0f} times the compute, against the mean of "
        "the sizes",
    ]
    warnings = []
    if carried > MUCH:
        more = int(np.ceil(documents * (carried / MUCH) ** 2))
        warnings.append(
            f"the test documents alone move the forecast by {carried:.2%}: {more:,} of them would move it by {MUCH:.1%}. Raise "
            "data.held_out and forecast.heldout_tokens"
        )
    curves = [
        Curve("its loss", list(map(float, sizes)), (100 * moved).tolist()),
        Curve("against the largest size's", list(map(float, sizes)), (100 * tilt).tolist()),
    ]
    axes = Axes("N", "moved by another draw of documents, %")
    columns = ("N", "loss", "another draw", "against the largest")
    laws = {"another draw": {"forecast": carried, "tilt": float(tilt[0]), "documents": float(documents)}}
    return Finding("heldout", domain, columns, rows, axes, curves, laws, answers, warnings)
