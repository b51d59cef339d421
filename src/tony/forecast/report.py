"""All that a table of runs says: the law with intervals, what is compute-optimal, forecasts, and what does not hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tony.atomic import write_json
from tony.errors import TonyError
from tony.forecast.choose import CLOSE, Candidate, choose, rows_for
from tony.forecast.fit import DELTA, Law, fit
from tony.forecast.forms import form_named
from tony.forecast.frontier import SizeLaw, SizeRule, fit_frontier, fit_size
from tony.forecast.interval import Bootstrap, Prediction, bootstrap
from tony.forecast.isoflop import IsoFlops, fit_isoflops
from tony.forecast.table import Runs, checked, name_rows

POOR = 0.05  # a median error of a fit above which no law was found
BITS = float(-np.log(np.log(2)))  # log of the ratio of a loss in bits to the same in nats


@dataclass(frozen=True)
class Report:
    """What was found. Where something could not be fitted, `refused` says why, by its name.

    Attributes:
        beside: where the law's form fixes how N and D share a budget, the joint law if it predicts as well.
        ray: tokens per parameter of what is to be forecast, where that was said.
    """

    runs: Runs
    found: Bootstrap
    candidates: tuple[Candidate, ...]
    frontier: Law | None
    size: SizeLaw | None
    isoflops: IsoFlops | None
    refused: dict[str, str]
    warnings: list[str] = field(default_factory=list)
    beside: Bootstrap | None = None
    ray: float | None = None

    @property
    def law(self) -> Law:
        return self.found.law

    def optimum(self, flops: float) -> dict[str, Any]:
        """The compute-optimal N and D of a budget with intervals, and the loss there, by the law; else by profiles or hull."""
        if self.law.form.variables == ("N", "D"):
            best = self._shares(flops)
            loss = self.found.predict(N=best["N"][0], D=best["D"][0])
            return {
                "flops": flops,
                **{name: _value(*best[name]) for name in ("N", "D")},
                "loss": _prediction(loss),
                "by": "law",
            }
        size = self.size_rule
        n = size.size(flops) if size is not None else None
        answer: dict[str, Any] = {"flops": flops, "N": None, "D": None, "loss": None, "by": None}
        if size is not None:
            answer |= {"N": _value(n), "D": _value(flops / 6 / n), "by": size.by}
        if self.law.form.variables == ("C",):
            answer["loss"] = _prediction(self.found.predict(C=flops))
        elif self.frontier is not None:
            answer["loss"] = {"value": float(self.frontier.predict(C=flops)), "by": "frontier"}
        return answer

    @property
    def size_rule(self) -> SizeRule | None:
        """The compute-optimal size by profiles, else by the hull."""
        if self.isoflops is not None and self.isoflops.beta is not None:
            return SizeRule(self.isoflops.beta, self.isoflops.log_g, "iso-FLOP profiles")
        return self.size and SizeRule(self.size.beta, self.size.log_g, "convex hull")

    def _shares(self, flops: float) -> dict[str, tuple[float, float, float]]:
        """`Bootstrap.optimum`, its intervals covering the law beside it too."""
        best = self.found.optimum(flops)
        if self.beside is not None:
            other = self.beside.optimum(flops)
            best = {
                k: (v, min(low, other[k][1]), max(high, other[k][2])) for k, (v, low, high) in best.items()
            }
        return best

    def _size_exponent(self) -> dict[str, float | None] | None:
        """By the law, the exponent of the compute-optimal N in C; None where it says nothing of that."""
        try:
            return _value(*self._shares(1e20)["exponent"])  # the same for every budget
        except TonyError:
            return None

    def to_dict(self, budgets: Sequence[float] = (), at: Sequence[dict[str, float]] = ()) -> dict[str, Any]:
        """The report as JSON: constants with 90% intervals, optima of `budgets`, forecasts `at` points (N, D, C)."""
        law, residuals = self.law, self.law.residuals()
        constants = {name: _value(*triple) for name, triple in self.found.constants().items()}
        return {
            "rows": len(self.runs),
            "law": {
                "form": law.form.name,
                "formula": law.form.formula,
                "constants": constants,
                "irreducible": constants.get("E"),
                "delta": law.delta if np.isfinite(law.delta) else None,
                "residuals": "log L" if law.in_logs else "L",
                "mean_error": float(np.abs(residuals).mean()),
                "largest_error": float(np.abs(residuals).max()),
                "beside": [other.law.form.name for other in self.found.beside],
                "size_exponent": self._size_exponent(),
                "ranges": {v: _range(self.runs, v) for v in "NDC" if self.runs.has(v)},
            },
            "candidates": [
                {"form": c.form.name, "heldout_error": c.heldout, "fitted_error": c.fitted, "refused": c.refused}
                for c in self.candidates
            ],
            "frontier": self.frontier
            and {"constants": {k: _value(v)["value"] for k, v in self.frontier.constants.items()}},
            "size": self.size
            and {"beta": _value(self.size.beta, self.size.beta_low, self.size.beta_high), "log_g": self.size.log_g},
            "isoflops": self.isoflops and _isoflops(self.isoflops),
            "optimum": [self.optimum(flops) for flops in budgets],
            "forecasts": [{**point, "loss": _prediction(self.found.predict(**point))} for point in at],
            "refused": self.refused,
            "warnings": self.warnings,
        }  # fmt: skip


def analyse(
    runs: Runs,
    form: str = "auto",
    delta: float = DELTA,
    resamples: int = 1000,
    seed: int = 0,
    ray: float | None = None,
) -> Report:
    """Everything that can be fitted to `runs`.

    Args:
        form: a form's name, or "auto" for the one with the least held-out error at the large end.
        ray: tokens per parameter of what is to be forecast, as `choose` takes it.

    Raises:
        TonyError: nothing can be fitted, or the form that was asked for cannot.
    """
    warnings, candidates, rivals = list(runs.warnings), (), ()
    if form == "auto":
        choice = choose(runs, delta=delta, ray=ray)
        law, candidates, rivals = choice.law, choice.candidates, choice.beside
        warnings += choice.warnings
    else:
        law = fit(rows_for(runs, form_named(form), ray), form_named(form), delta)
    warnings += strange_rows(law) + strange_constants(law)
    refused: dict[str, str] = {}

    def attempt(name: str, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except TonyError as error:
            refused[name] = str(error)
            return None

    frontier = attempt("frontier", lambda: fit_frontier(runs))
    size = attempt("size", lambda: fit_size(runs, seed=seed))
    isoflops = attempt("isoflops", lambda: fit_isoflops(runs, seed=seed))
    if isoflops is not None:
        refused |= {f"budget {p.flops:.3g}": p.refused for p in isoflops.profiles if p.refused}
    if "above the frontier" in refused.get("frontier", ""):
        warnings.append(refused["frontier"])
    found = bootstrap(law, resamples, seed, rivals)
    beside = None
    if _as_good(candidates, law, "joint"):
        other = fit(runs, "joint", delta)
        if min(other.theta[i] for i in other.form.exponents) > 0:
            beside = bootstrap(other, resamples, seed)
            warnings.append(
                "the form of the law says N ~ C^0.5; E + A / N^a + B / D^b predicts as well and says "
                f"C^{beside.optimum(1e20)['exponent'][0]:.3f}: intervals of the optimal N and D cover both (or choose: --form joint)"
            )
    return Report(runs, found, candidates, frontier, size, isoflops, refused, warnings, beside, ray)


def _as_good(candidates: Sequence[Candidate], law: Law, other: str) -> bool:
    """Whether the law's form fixes the exponent of N in C, and the form `other` predicts held-out rows about as well."""
    errors = {c.form.name: c.heldout for c in candidates if c.heldout is not None}
    return law.form.name == "overtraining" and errors.get(other, np.inf) <= CLOSE * errors.get(
        law.form.name, 0
    )


def strange_rows(law: Law) -> list[str]:
    """Rows that lie where a mistake would put them: in bits among nats, or far from all others."""
    residuals = law.residuals()
    middle = float(np.median(np.abs(residuals)))
    warnings = []
    if middle > POOR:
        warnings.append(
            f"the law errs by {middle:.0%} on half of its own rows: check the columns and units, or fit one --where at a time"
        )
    bits = np.abs(np.abs(residuals) - BITS) < 0.04
    if bits.any() and middle < 0.05:
        warnings.append(
            f"{name_rows(law.runs.lines[bits])}: losses a factor of 1.44 from the law, as bits are from nats: mixed units?"
        )
    far = (np.abs(residuals) > max(0.03, 8 * middle)) & ~bits
    if far.any():
        worst = 100 * float(np.abs(residuals[far]).max())
        warnings.append(
            f"{name_rows(law.runs.lines[far])}: up to {worst:.0f}% off the law, which hardly regards them"
        )
    return warnings


def strange_constants(law: Law) -> list[str]:
    """Constants that say that the data do not determine the law."""
    warnings = []
    for index in law.form.exponents:
        if law.theta[index] <= 1e-3:
            name = law.form.parameters[index]
            warnings.append(
                f"the fitted exponent {name} is {law.theta[index]:.2g}: losses do not fall with what it stands for"
            )
    lowest = float(law.runs.loss.min())
    if law.form.has_constant and law.irreducible < 0.02 * lowest:
        warnings.append(
            "the fitted irreducible loss is next to 0: the data do not show one (language never did)"
        )
    return warnings


def save_law(path: Path, found: Bootstrap, size: SizeRule | None = None) -> None:
    """Write a law with the rows that made it, and a law of sizes; `load_law` brings back law and intervals."""
    value = {
        "kind": "law",
        **_law(found.law),
        "resamples": len(found.theta),
        "beside": [_law(other.law) for other in found.beside],
        "size": size and asdict(size),
    }
    write_json(path, value)


def load_law(path: Path, seed: int = 0) -> Bootstrap:
    """The law in a file that `save_law` wrote, its resamples drawn again.

    Raises:
        TonyError: no such file, or no law in it.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
        beside = [_read_law(other) for other in value["beside"] or ()]
        return bootstrap(_read_law(value), int(value["resamples"]), seed, beside)
    except FileNotFoundError:
        raise TonyError(
            f"{path}: no such file. Make one: tony forecast fit DATA.csv --save LAW.json"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, TonyError):
            raise
        raise TonyError(
            f"{path}: holds no law ({error}). Make one: tony forecast fit DATA.csv --save LAW.json"
        ) from None


def _law(law: Law) -> dict[str, Any]:
    """As JSON, with the rows that it was fitted to."""
    names = ("n", "d", "c", "loss", "run", "lines")
    columns = {name: getattr(law.runs, name) for name in names}
    return {
        "form": law.form.name,
        "theta": law.theta.tolist(),
        "objective": law.objective,
        "delta": law.delta if np.isfinite(law.delta) else None,
        "in_logs": law.in_logs,
        "runs": {name: None if column is None else column.tolist() for name, column in columns.items()},
    }


def _read_law(value: dict[str, Any]) -> Law:
    columns = {k: None if v is None else np.array(v) for k, v in value["runs"].items()}
    runs = Runs(**{**columns, "run": columns["run"].astype(str)})
    delta = np.inf if value["delta"] is None else float(value["delta"])
    theta = np.array(value["theta"], float)
    return Law(form_named(value["form"]), theta, value["objective"], runs, delta, value["in_logs"])


def load_size(path: Path) -> SizeRule | None:
    """The law of the compute-optimal size beside the law in a file that `load_law` read, if one was saved."""
    value = json.loads(Path(path).read_text(encoding="utf-8")).get("size")
    return value and SizeRule(float(value["beta"]), float(value["log_g"]), str(value["by"]))


def law_from_constants(form: str, constants: dict[str, float], runs: Runs) -> Law:
    """A law with constants from a paper, and the rows (or any points) that say how far it was fitted."""
    shape = form_named(form)
    values = [
        np.log(constants[name.removeprefix("log ")]) if name.startswith("log ") else constants[name]
        for name in shape.parameters
    ]
    return Law(shape, np.array(values), 0.0, checked(runs))


def _value(value: float, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    finite = [None if v is None or not np.isfinite(v) else float(v) for v in (value, low, high)]
    return dict(zip(("value", "low", "high"), finite, strict=True))


def _prediction(p: Prediction) -> dict[str, Any]:
    return {**_value(p.loss, p.low, p.high), "level": p.level, "half_width": p.half_width, "warnings": list(p.warnings)}  # fmt: skip


def _range(runs: Runs, variable: str) -> list[float]:
    return [float(runs.column(variable).min()), float(runs.column(variable).max())]


def _isoflops(found: IsoFlops) -> dict[str, Any]:
    profiles = [
        {"flops": p.flops, "N": _value(p.n, p.n_low, p.n_high), "loss": _value(p.loss)["value"], "refused": p.refused}
        for p in found.profiles
    ]  # fmt: skip
    beta = None if found.beta is None else _value(found.beta, found.beta_low, found.beta_high)
    return {"profiles": profiles, "beta": beta, "log_g": found.log_g, "refused": found.refused}
