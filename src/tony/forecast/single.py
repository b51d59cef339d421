"""Planning by a law in one variable: it says a loss, and something else must say how N and D share the compute.

Of L(C) that is the tokens per parameter that all its runs have, or the law of the compute-optimal size that was fitted to
them, or 20, which then is said to be assumed. L(N) and L(D) hold for runs that are trained as theirs were: they are
planned by only where all those have one number of tokens per parameter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tony.errors import TonyError
from tony.forecast.frontier import SizeRule
from tony.forecast.interval import Bootstrap, Prediction
from tony.forecast.plan import OVERTRAINED, Forecaster
from tony.forecast.report import load_law, load_size

ASSUMED = 20.0  # tokens per parameter (Hoffmann et al. 2022)
SAME = 1.05  # tokens per parameter that differ by less are one


@dataclass(frozen=True)
class Single:
    """A law in one variable with what gives its sizes.

    Attributes:
        size: N_opt(C), or None where tokens per parameter are given.
        ratio: tokens per parameter.
        note: where sizes come from, told with every forecast.
    """

    found: Bootstrap
    size: SizeRule | None
    ratio: float
    note: str

    def optimum(self, flops: float) -> tuple[float, float]:
        """N and D of a budget, 6 N D = `flops`."""
        n = self.size.size(flops) if self.size else math.sqrt(flops / (6 * self.ratio))
        return n, flops / (6 * n)

    def predict(self, N: Any, D: Any) -> Prediction:
        """The loss by the law's own variable."""
        loss = self.found.predict(N=N, D=D, C=6 * N * D)
        return replace(loss, warnings=(*loss.warnings, self.note))


def single(found: Bootstrap, size: SizeRule | None) -> Single:
    """A law in C, N or D with the best rule of sizes that there is.

    Raises:
        TonyError: a law in N or D whose runs have no one number of tokens per parameter.
    """
    (variable,) = found.law.form.variables
    ratios = None
    if found.law.runs.has("N") and found.law.runs.has("D"):
        ratios = found.law.runs.column("D") / found.law.runs.column("N")
    only = "L(C) is of the best run of a budget: it says nothing of smaller models on more tokens"
    if ratios is not None and ratios.max() <= SAME * ratios.min():
        ratio = float(math.exp(sum(map(math.log, ratios)) / len(ratios)))
        note = f"N is by the {ratio:.3g} tokens per parameter that all runs of the law have, and the loss is of such runs only"
        return Single(found, None, ratio, note)
    if variable == "C" and size is not None:
        return Single(
            found, size, math.nan, f"N is by the {size.by} of the same runs, N ~ C^{size.beta:.3f}; {only}"
        )
    if variable == "C":
        note = (
            f"D / N = {ASSUMED:.0f} is assumed: no law of the compute-optimal size was saved with this one (fit runs with N and D "
            f"whose curves cross, then --save); {only}"
        )
        return Single(found, None, ASSUMED, note)
    told = f"have {ratios.min():.3g} to {ratios.max():.3g}" if ratios is not None else "do not tell theirs"
    raise TonyError(
        f"L({variable}) holds for runs trained as its own, and those {told} tokens per parameter: it does not say what a budget "
        "buys. Fit --form joint or power+constant:C, or runs of one D / N (--where)"
    )


def by_file(path: Path, flops: float) -> tuple[Forecaster, tuple[float, float], tuple[float, ...]]:
    """The law in a file, its N and D of a budget, and the shares of that N that it can be asked about.

    Raises:
        TonyError: no law there, or one that says nothing of a budget.
    """
    found = load_law(path)
    if len(found.law.form.variables) > 1:
        return found, found.law.optimum(flops), OVERTRAINED
    one = single(found, load_size(path))
    return one, one.optimum(flops), (1.0,)
