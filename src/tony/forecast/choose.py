"""Which form to believe: the one that predicts the large runs best from the small ones, not the one that fits best.

A power law without a constant is the same law with E = 0, and within a ladder it often predicts as well. Far beyond it does not,
unless the data have no entropy: on synthetic ladders of seven sizes and three seeds it errs at 33 times the compute by 4.3% where
E = 0.65 nats of 1.6 at the largest size, and by 0.4% where E = 0; with a constant by 1.5% and 0.8% (benchmarks/forecast_constant.py).
So where it is chosen, the law is the one with the constant, and the other stands beside it.

Held-out errors of forms that differ little do not say which is right: forms within 1.25 times the least stand beside the
law, and the interval of a forecast holds theirs (NOTEBOOK.md, 2026-11-29).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from tony.errors import TonyError
from tony.forecast.fit import DELTA, Law, check_fittable, fit
from tony.forecast.forms import FORMS, Form
from tony.forecast.interval import with_constant
from tony.forecast.table import Runs

CUTS = (0.5, 0.65, 0.8)  # shares of the runs, cheapest first, that a form is fitted to; the rest is predicted
STARTS = 400
RAY = 0.05  # in log D/N: rows so near to a ray lie on it
CLOSE = (
    1.1  # a form with fewer constants is taken where its held-out error is at most so many times the least
)

RIVAL = 1.25  # times the least held-out error, within which a form may as well be right

FALL = 0.03  # of the largest size below the power law of the others: no seed does that, and no form here bends that way
SLIGHT = 0.005  # such a fall where seeds show that chance does it
CHANCE = 0.001  # less often than so


@dataclass(frozen=True)
class Candidate:
    """A form and its mean absolute log error on larger runs than it was fitted to; why not, where it was not tried."""

    form: Form
    heldout: float | None
    fitted: float | None
    refused: str | None = None


@dataclass(frozen=True)
class Choice:
    """The law, and beside it those of other forms that predict the largest runs about as well."""

    law: Law
    candidates: tuple[Candidate, ...]
    warnings: tuple[str, ...]
    beside: tuple[Law, ...] = ()


def by_size(runs: Runs) -> np.ndarray:
    """The rows in order of compute (of D or N where that is not known), equal ones by run: not as they happen to be listed."""
    variable = next(v for v in "CDN" if runs.has(v))
    return np.lexsort((runs.run, runs.column(variable)))


def on_ray(runs: Runs, ray: float | None) -> np.ndarray:
    """Which rows have the tokens per parameter of what is forecast; all of them where that is None or not known."""
    if ray is None or not (runs.has("N") and runs.has("D")):
        return np.ones(len(runs), bool)
    return np.abs(np.log(runs.column("D") / runs.column("N") / ray)) < RAY


def rows_for(runs: Runs, form: Form, ray: float | None) -> Runs:
    """The rows that a form is fitted to: a law of one variable holds along one ray of tokens per parameter only."""
    return runs if len(form.variables) > 1 else runs.take(on_ray(runs, ray))


def heldout_error(runs: Runs, form: Form, delta: float = DELTA, ray: float | None = None) -> float:
    """The mean absolute log error on the largest runs (of the ray) when fitted to the smaller ones, over several cuts.

    Raises:
        TonyError: the smaller runs cannot determine the form at any cut.
    """
    size = runs.column(next(v for v in "CDN" if runs.has(v)))
    marked = on_ray(runs, ray)
    order = by_size(runs)
    order = order[marked[order]]
    errors, reason = [], None
    alone = ray is None or len(form.variables) == 1  # or runs off the ray bear on it too
    least = len(form.parameters) + 1
    for cut in CUTS:
        rows = max(least if alone else 2, round(cut * len(order)))
        if rows >= len(order):
            continue
        chosen = order[:rows] if alone else np.flatnonzero(size <= size[order[rows - 1]])
        if len(chosen) < least:
            continue
        try:
            law = fit(runs.take(chosen), form, delta, starts=STARTS)
        except TonyError as error:
            reason = error
            continue
        rest = runs.take(order[rows:])
        errors.append(float(np.abs(np.log(law.predict(rest.n, rest.d, rest.c) / rest.loss)).mean()))
    if not errors:
        raise reason or TonyError(
            f"{len(order)} rows leave none to predict after the {len(form.parameters) + 1} that {form.formula} needs"
        )
    return float(np.mean(errors))


def transition(runs: Runs, ray: float | None) -> str | None:
    """A warning where the loss falls faster and faster along the ray: models change how they work, and no law says when.

    Every form here is a straight line in log C or bends upwards; a loss below the line of the smaller sizes bends down.
    """
    own = runs.take(on_ray(runs, ray))
    sizes, size = np.unique(own.column("C"), return_inverse=True)
    if len(sizes) < 4:
        return None
    x, logs = np.log(sizes), np.log(own.loss)
    y = np.array([logs[size == i].mean() for i in range(len(sizes))])
    # What each smaller size weighs in their least-squares line at the largest.
    line = np.array([x[-1], 1]) @ np.linalg.pinv(np.vander(x[:-1], 2))
    below = float(line @ y[:-1] - y[-1])
    if below < min(FALL, max(SLIGHT, _by_chance(logs - y[size], np.bincount(size), line))):
        return None
    return (
        f"the largest size lies {1 - np.exp(-below):.1%} below the power law of the smaller ones: the loss falls faster and "
        "faster, as where models learn to do something new, and no form here says what comes next. Begin with larger sizes"
    )


def _by_chance(residuals: np.ndarray, counts: np.ndarray, line: np.ndarray) -> float:
    """How far below the line seeds alone put the largest size, once in 1 / CHANCE ladders; infinite where no size has several."""
    freedom = len(residuals) - len(counts)
    if not freedom:
        return np.inf
    variance = residuals @ residuals / freedom * (1 / counts[-1] + line**2 @ (1 / counts[:-1]))
    return float(stats.t.isf(CHANCE, freedom) * np.sqrt(variance))


def choose(
    runs: Runs, forms: Sequence[Form] | None = None, delta: float = DELTA, ray: float | None = None
) -> Choice:
    """The law of the form with the least held-out error at the large end, fitted to all runs.

    Args:
        ray: tokens per parameter of what is to be forecast: error is measured on runs that have so many, and laws of one
            variable are fitted to them alone.

    Raises:
        TonyError: no form can be fitted.
    """
    candidates, warnings = [], []
    for form in forms or FORMS.values():
        if not all(runs.has(v) for v in form.variables):
            continue
        if ray is not None and runs.has("C") and form.variables in (("N",), ("D",)):
            continue  # along a ray these are the law in C
        try:
            own = rows_for(runs, form, ray)
            check_fittable(own, form)
            heldout = heldout_error(runs, form, delta, ray)
            residuals = fit(own, form, delta, starts=STARTS).residuals()
            candidates.append(Candidate(form, heldout, float(np.abs(residuals).mean())))
        except TonyError as error:
            candidates.append(Candidate(form, None, None, str(error)))
    tried = [c for c in candidates if c.heldout is not None]
    if not tried:
        fits = [c for c in candidates if c.refused and _fits(runs, c.form)]
        if not fits:
            raise TonyError(candidates[-1].refused if candidates else "the table has none of N, D and C")
        chosen = min((c.form for c in fits), key=lambda f: (not f.has_constant, len(f.parameters)))
        warnings.append(
            f"too few runs to hold any out: {chosen.formula} is taken because it has few constants, not because it predicts"
        )
    else:
        unheld = [c.form.formula for c in candidates if c.refused and _fits(runs, c.form)]
        if unheld:
            warnings.append(f"too few runs to hold any out for {'; '.join(unheld)}: not considered")
        least = min(c.heldout for c in tried)
        close = [c for c in tried if c.heldout <= CLOSE * least]
        best = min(close, key=lambda c: (len(c.form.parameters), c.heldout))
        chosen = best.form
        if best.heldout > 3 * max(best.fitted, 1e-4):
            warnings.append(
                f"the law errs {best.heldout:.2%} on larger runs than it is fitted to and {best.fitted:.2%} on those it is fitted "
                "to: it bends differently from the data, and its interval is too narrow far out"
            )
    if ray is not None and runs.has("C") and (falls := transition(runs, ray)):
        warnings.append(falls)
    law = fit(rows_for(runs, chosen, ray), chosen, delta)
    beside = []
    if (bent := with_constant(law)) is not None:
        law, beside = bent, [law]
    taken = {law.form.name, chosen.name}
    rivals = (
        [c.form for c in tried if c.heldout <= RIVAL * least and c.form.name not in taken] if tried else []
    )
    beside += [fit(rows_for(runs, form, ray), form, delta) for form in rivals]
    return Choice(law, tuple(candidates), tuple(warnings), tuple(beside))


def _fits(runs: Runs, form: Form) -> bool:
    try:
        check_fittable(runs, form)
    except TonyError:
        return False
    return True
