"""What a climbed ladder says of its domain, beside what the paper found there (Henighan et al. 2020, tables 1 and 3).

Three laws: L(N) at the longest branch of each size, L(C) below the frontier of all learning curves, and N_opt(C) through
their convex hull (curves.py says what these are of). Where sizes share budgets, L(N) is the law's for data without end, since longest
runs differ in their data, and N_opt(C) goes through the minima of the iso-FLOP profiles, too.

Intervals are a bootstrap over runs, as in interval.py: each resample gives every size the mean residual of a size by the
ladder's law, up or down, and each of its runs what is left of any, and everything is fitted again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tony.data.shards import Shard
from tony.errors import TonyError
from tony.forecast.climb import runs_of
from tony.forecast.curves import curves
from tony.forecast.derived import per_image, size_for, to_pf_days
from tony.forecast.fit import Law, fit, predict
from tony.forecast.frontier import fit_frontier, fit_size
from tony.forecast.interval import Bootstrap, bootstrap
from tony.forecast.isoflop import fit_isoflops
from tony.forecast.ladder import Ladder
from tony.forecast.paper import PAPER, of_modality, paper_domain
from tony.forecast.table import Runs

RESAMPLES = 100  # of the frontier, which takes a tenth of a second a fit
SHOWN = 0.02  # share of the lowest loss that an irreducible loss must be to be one (report.strange_constants)
NONE = "the law of the ladder shows no irreducible loss: its points are too near each other, or its data have none"
EDGE = 0.25  # in logs: in the decay at the end of the longest branch
PER_TOKEN = (0.1, 0.03, 0.01)  # nats
PER_IMAGE = (10.0, 3.0, 1.0)


def domain(
    ladder: Ladder,
    points: list[dict[str, Any]],
    found: Bootstrap,
    root: Path,
    heldout: Shard | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """The laws of a domain with 90% intervals, its entropy, and what sizes reach; JSON.

    Args:
        points: finished ones of the ladder, those that `found` was fitted to.
        root: where the runs' folders are.
        resamples: of the frontier; the other laws' are `found`'s, or 400.
        heldout: encoded documents; where each of them is one picture, losses are told in nats a picture, too.

    What cannot be fitted is in "refused", by its name.
    """
    notes, refused = [], {}
    tokens = None
    if heldout is not None and ladder.base.data.kind == "pictures":
        tokens = float(np.asarray(heldout.counted).sum() / len(heldout))
    runs, ends = curves(ladder, points, root)
    if ends.all():
        notes.append(
            "no learning curve was found beside the points: L(C) and N_opt(C) are of the points alone"
        )
    drawn = _resamples(runs, found, resamples, seed)
    split = _with_entropy(found, points, seed)
    if split is not found:
        notes.append(
            NONE if split is None else f"{NONE}; what is reducible is by {split.law.form.name} instead"
        )

    def attempt(name: str, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except TonyError as error:
            refused[name] = str(error)
            return None

    name = paper_domain(ladder.base)
    row = PAPER.get(name or "")
    frontier = attempt("L(C)", lambda: fit_frontier(runs))
    frontiers = _each(drawn, fit_frontier) if frontier else []
    budgets = bool(ladder.settings.budgets)
    of_size = (lambda: _loss_of_size_by(split or found)) if budgets else (lambda: _loss_of_size(points, seed))
    profiles = "N_opt(C) by iso-FLOP profiles"
    laws = {
        "L(N)": attempt("L(N)", of_size),
        "L(C)": frontier and _loss_of_compute(frontier, frontiers, ends),
        "N_opt(C)": attempt("N_opt(C)", lambda: _best_size(runs, drawn)),
        profiles: attempt(profiles, lambda: _best_size_of_profiles(points, seed)) if budgets else None,
        "N_opt(C) by the law": attempt("N_opt(C) by the law", lambda: _best_size_by(split or found)),
    }
    laws = [{"name": key, **law, "paper": _of_paper(row, key)} for key, law in laws.items() if law]
    for modality in [] if budgets else _modalities(points):
        key = f"L(N), {modality}"
        if law := attempt(key, lambda m=modality: _loss_of_size(_of_modality(points, m), seed)):
            laws.append(
                {"name": key, **law, "paper": _of_paper(PAPER.get(of_modality(name, modality) or ""), "L(N)")}
            )
    result: dict[str, Any] = {
        "domain": ladder.base.name,
        "paper_domain": name,
        "sizes": sorted({p["N"] for p in points}),
        "laws": laws,
        "entropy": _entropies([found] if split in (None, found) else [found, split], laws),
        "kl": split and {"by": split.law.form.name, **_divergences(ladder, points, split)},
        "goals": _goals(split, frontier, frontiers, tokens, row),
        "notes": notes,
        "refused": refused,
    }
    if tokens:
        result["image"] = _images(tokens, laws, row)
    return result


def _resamples(runs: Runs, found: Bootstrap, count: int, seed: int) -> list[Runs]:
    """`runs` with the residuals of runs drawn again."""
    residuals, fitted = found.law.residuals(), found.law.runs
    rng = np.random.default_rng([seed, 23, len(runs)])
    sizes, member = np.unique(fitted.run, return_inverse=True)
    rows = len(fitted)
    freedom = max(1, min(rows - len(found.law.form.parameters), len(sizes) - 1))
    means = np.bincount(member, residuals) / np.bincount(member)
    left = (residuals - means[member]) * np.sqrt(rows / max(1, rows - len(found.law.form.parameters)))
    means = (means - means.mean()) * np.sqrt(len(sizes) / max(1, len(sizes) - 1))
    _, size = np.unique(runs.n, return_inverse=True)
    _, run = np.unique(runs.run, return_inverse=True)
    drawn = []
    for _ in range(count):
        scale = np.sqrt(freedom / rng.chisquare(freedom))
        shared = scale * rng.choice(np.concatenate([means, -means]), size.max() + 1)
        own = rng.choice(np.concatenate([left, -left]), run.max() + 1)
        drawn.append(replace(runs, loss=runs.loss * np.exp(shared[size] + own[run])))
    return drawn


def _each(drawn: list[Runs], make: Callable[[Runs], Any]) -> list[Any]:
    """What can be fitted of the resamples."""
    made = []
    for runs in drawn:
        try:
            made.append(make(runs))
        except TonyError:
            continue
    return made


def _triple(value: float, draws: Any) -> dict[str, float | None]:
    """A value with the 90% interval of its draws, which holds the value itself; None stands for no bound."""
    draws = np.asarray(draws, float)
    draws = np.where(np.isnan(draws), np.inf, draws)
    low = high = None
    if len(draws) >= 20:
        low, high = np.quantile(draws, [0.05, 0.95], method="nearest")
        low, high = min(float(low), value), max(float(high), value)
    ends = (None if v is None else _finite(v) for v in (value, low, high))
    return dict(zip(("value", "low", "high"), ends, strict=True))


def _loss_of_size(points: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    longest = {(p["N"], p.get("seed", 0)): p for p in sorted(points, key=lambda p: p["D"])}
    found = bootstrap(fit(runs_of(list(longest.values())), "power+constant:N"), 400, seed)
    sizes = {n for n, _ in longest}
    ratios = dict.fromkeys(f"{p['D'] / p['N']:.0f}" for p in longest.values())
    draws = [found.law.form.constants(theta) for theta in found.theta]
    return {
        "of": f"the longest branch of each of {len(sizes)} sizes ({', '.join(ratios)} tokens a parameter: not to convergence)",
        "constants": {
            k: _triple(found.law.constants[k], [d[k] for d in draws]) for k in ("E", "N0", "alpha")
        },
    }


def _loss_of_size_by(found: Bootstrap) -> dict[str, Any]:
    """In closed form, for data without end."""
    form = found.law.form
    if form.variables != ("N", "D"):
        raise TonyError(
            f"sizes that share budgets have no L(N) of their own, and {form.formula} says nothing of N alone"
        )
    term = next(term for term in form.terms if term.powers)
    exponent = term.powers[0][1]

    def constants(theta: np.ndarray) -> dict[str, float]:
        with np.errstate(all="ignore"):  # of a resample that ran away
            scale = float(np.exp(theta[term.coefficient] / theta[exponent]))
        return {"E": float(np.exp(theta[0])), "N0": scale, "alpha": float(theta[exponent])}

    value, draws = constants(found.law.theta), [constants(theta) for theta in found.theta]
    return {
        "of": f"the term in N of {form.name}, with data without end",
        "constants": {k: _triple(value[k], [d[k] for d in draws]) for k in value},
    }


def _best_size_of_profiles(points: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """Through the minima of parabolas in log N (Hoffmann et al. 2022, approach 2)."""
    found = fit_isoflops(runs_of(points), seed=seed)
    if found.beta is None or found.log_g is None:
        raise TonyError(str(found.refused))
    scale = float(np.exp(-found.log_g / found.beta))
    inner = sum(profile.refused is None for profile in found.profiles)
    ends = map(_finite, (found.beta, found.beta_low, found.beta_high))
    return {
        "of": f"the minima of {inner} of {len(found.profiles)} budgets",
        "constants": {
            "C0": {"value": scale, "low": None, "high": None},
            "beta": dict(zip(("value", "low", "high"), ends, strict=True)),
        },
        "C0_pf_days": to_pf_days(scale),
    }


def _modalities(points: list[dict[str, Any]]) -> list[str]:
    """Those that each point has a loss of, where they are several."""
    have = [set(p.get("loss_by_modality", {})) for p in points]
    both = sorted(set.intersection(*have)) if have else []
    return both if len(both) > 1 else []


def _of_modality(points: list[dict[str, Any]], modality: str) -> list[dict[str, Any]]:
    return [{**p, "loss": p["loss_by_modality"][modality]} for p in points]


def _loss_of_compute(law: Law, others: list[Law], ends: np.ndarray) -> dict[str, Any]:
    on = int(ends[law.runs.lines - 1].sum())
    constants = {
        k: _triple(law.constants[k], [other.constants[k] for other in others]) for k in ("E", "C0", "alpha")
    }
    return {
        "of": f"below {len(law.runs)} points of the frontier, {on} of them annealed ends",
        "constants": constants,
        "C0_pf_days": to_pf_days(law.constants["C0"]),
        "ranges": {"C": [float(law.runs.c.min()), float(law.runs.c.max())]},
    }


def _best_size(runs: Runs, drawn: list[Runs]) -> dict[str, Any]:
    law = fit_size(runs, resamples=0)
    ratio, chosen = runs.d / runs.n, runs.d[law.rows] / runs.n[law.rows]
    for edge, what in ((ratio.max(), "more"), (ratio.min(), "fewer")):
        if (np.abs(np.log(chosen / edge)) < EDGE).mean() > 0.5:
            raise TonyError(
                f"at most budgets the best run has {edge:.0f} tokens a parameter, the edge of the ladder: {what} may be better "
                "still. Widen forecast.tokens_per_parameter"
            )
    others = _each(drawn, lambda r: fit_size(r, resamples=0))
    lost = len(drawn) - len(others)
    scale = lambda one: float(np.exp(-one.log_g / one.beta))  # noqa: E731
    return {
        "of": f"{len(law.rows)} vertices of the convex hull"
        + (f"; {lost} of {len(drawn)} resamples had none" if lost else ""),
        "constants": {
            "C0": _triple(scale(law), [scale(o) for o in others]),
            "beta": _triple(law.beta, [o.beta for o in others]),
        },
        "C0_pf_days": to_pf_days(scale(law)),
    }


def _best_size_by(found: Bootstrap) -> dict[str, Any]:
    """In closed form, from how the law's terms in N and D share a budget."""
    at = float(np.median(found.law.runs.column("C")))
    best = found.optimum(at)
    n, beta = best["N"], best["exponent"]
    scales = [at * size ** (-1 / beta[0]) for size in n]
    fixed = "p" in found.law.form.parameters
    return {
        "of": f"the closed form of {found.law.form.name}"
        + (", whose exponent is 1/2 by its form" if fixed else ""),
        "constants": {
            "C0": {"value": scales[0], "low": _finite(scales[2]), "high": _finite(scales[1])},
            "beta": dict(zip(("value", "low", "high"), map(_finite, beta), strict=True)),
        },
        "C0_pf_days": to_pf_days(scales[0]),
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _of_paper(row: Any, law: str) -> dict[str, float] | None:
    """The paper's constants of a law, C in FLOP."""
    if row is None:
        return None
    if law.startswith("N_opt(C)"):
        return row.optimum and {"C0": row.optimum.scale, "beta": row.optimum.beta}
    power = row.size if law == "L(N)" else row.compute
    scale = "N0" if law == "L(N)" else "C0"
    return power and {"E": power.irreducible, scale: power.scale, "alpha": power.alpha}


def _with_entropy(found: Bootstrap, points: list[dict[str, Any]], seed: int) -> Bootstrap | None:
    """The law if it shows an irreducible loss, else the one with a constant less, which is better determined, if that does."""
    if _shows(found.law):
        return found
    try:
        other = fit(runs_of(points), "overtraining")
    except TonyError:
        return None
    return bootstrap(other, 400, seed) if _shows(other) else None


def _shows(law: Law) -> bool:
    return law.form.has_constant and law.irreducible > SHOWN * float(law.runs.loss.min())


def _entropies(found: list[Bootstrap], laws: list[dict[str, Any]]) -> dict[str, Any]:
    """The irreducible loss by laws of all points and by each law in one variable, nats a token; None where it shows none."""
    values: dict[str, Any] = {}
    for one in found:
        names = ("value", "low", "high")
        values[one.law.form.name] = dict(
            zip(names, one.constants()["E"] if _shows(one.law) else (None,) * 3, strict=True)
        )
    return values | {law["name"]: law["constants"]["E"] for law in laws if "E" in law["constants"]}


def _divergences(ladder: Ladder, points: list[dict[str, Any]], found: Bootstrap) -> dict[str, Any]:
    """The reducible loss of the largest run as measured, and of the target as forecast: nats a token."""
    draws = np.array([found.law.form.constants(theta)["E"] for theta in found.theta])
    largest, target = max(points, key=lambda p: p["C"]), ladder.target
    at = {"N": target.n, "D": target.tokens, "C": target.flops}
    forecast = predict(found.law.form, found.theta, at) - draws
    return {
        "largest": {"N": largest["N"], "D": largest["D"]}
        | _triple(largest["loss"] - found.law.irreducible, largest["loss"] - draws),
        "target": {"N": target.n, "D": target.tokens}
        | _triple(float(found.law.predict(**at)) - found.law.irreducible, forecast),
    }


def _goals(
    found: Bootstrap | None, frontier: Law | None, frontiers: list[Law], tokens: float | None, row: Any
) -> list[dict[str, Any]]:
    """What size (with data without end) and what compute reach a reducible loss, by one's own laws and the paper's."""
    goals = [(x, "token", 1.0) for x in PER_TOKEN] + (
        [(x, "image", tokens) for x in PER_IMAGE] if tokens else []
    )
    result = []
    for x, unit, n in goals:
        goal: dict[str, Any] = {
            "reducible": x,
            "unit": f"nats a {unit}",
            "N": None,
            "C": None,
            "paper_N": None,
        }
        if found is not None and "N" in found.law.form.variables:
            draws = [_size_for(replace(found.law, theta=theta), x, n) for theta in found.theta]
            goal["N"] = _triple(_size_for(found.law, x, n), draws)
        if frontier is not None and _shows(frontier):
            goal["C"] = _triple(_size_for(frontier, x, n), [_size_for(law, x, n) for law in frontiers])
        if row is not None and (unit == "token" or row.tokens):
            share = x / (row.tokens if unit == "image" else 1)
            goal["paper_N"] = row.size.scale * share ** (-1 / row.size.alpha)
        result.append(goal)
    return result


def _size_for(law: Law, reducible: float, tokens: float) -> float:
    """`size_for`, without end where the law shows no irreducible loss or its exponent is not positive."""
    term = next(term for term in law.form.terms if term.powers)
    if not _shows(law) or law.theta[term.powers[0][1]] <= 1e-6:
        return float("inf")
    with np.errstate(over="ignore"):
        return size_for(law, reducible, tokens)


def _images(tokens: float, laws: list[dict[str, Any]], row: Any) -> dict[str, Any]:
    """The laws in nats a picture (table 3: n E, and x0 n^(1 / alpha))."""
    rows = {}
    for law in laws:
        constants, paper = law["constants"], law["paper"]
        if "E" not in constants or "," in law["name"]:
            continue
        scale = "N0" if "N0" in constants else "C0"
        own = per_image(tokens, *(constants[k]["value"] for k in ("E", scale, "alpha")))
        rows[law["name"]] = {"irreducible": own[0], scale: own[1]}
        if paper and row.tokens:
            theirs = per_image(row.tokens, paper["E"], paper[scale], paper["alpha"])
            rows[law["name"]] |= {"paper_irreducible": theirs[0], f"paper_{scale}": theirs[1]}
    return {"tokens": tokens, "laws": rows}
