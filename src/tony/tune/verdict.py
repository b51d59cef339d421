"""What a tuning found, in figures: the values, what they cost, and whether they carry over."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tony.runs import Recipe
from tony.tune.optimum import Curve, Drift, drift
from tony.tune.proxy import KEYS, Parametrization
from tony.tune.transfer import Regret, regret, tuning_cost, wider_is_better

MOST_DRIFT = 0.5  # factors of 2: the square root of 2
MOST_REGRET = 0.01
LEAST_WIDER = 0.98


@dataclass(frozen=True)
class Checked:
    """Losses against the learning rate at every size, and what follows from them.

    over: what grows from size to size.
    curves: by parametrisation, a curve a size.
    steps, paths: the loss along the way by size, under muP with the proxy's best learning rate, mean over the seeds that
        every size has.
    work: parameters without embeddings times tokens, over all runs of the check.
    """

    over: str
    curves: dict[Parametrization, list[Curve]]
    steps: list[int]
    paths: dict[int, list[float]]
    work: float

    @classmethod
    def of(cls, outcomes: Sequence[tuple], sizes: Sequence[tuple[int, int]]) -> Checked:
        """From (job, values, outcome) of every run of the check, and the sizes (width, depth), the proxy's first."""
        over = "width" if sizes[0][0] != sizes[-1][0] else "depth"
        named = {size: size[0] if over == "width" else size[1] for size in sizes}
        runs: dict[tuple[str, int], dict[tuple[float, int], float]] = {}
        for job, values, outcome in outcomes:
            key = (job.how, named[job.width, job.depth])
            rate = round(math.log2(values["lr"]), 6)
            runs.setdefault(key, {})[rate, job.seed] = outcome.loss
        smallest = named[sizes[0]]
        runs["standard", smallest] = runs["muP", smallest]
        curves: dict[Parametrization, list[Curve]] = {
            how: [Curve.of(size, runs[how, size]) for size in named.values()] for how in ("muP", "standard")
        }
        proxy = curves["muP"][0]
        rate = float(proxy.log2_lrs[proxy.best])
        along: dict[int, dict[int, list[tuple[int, float]]]] = {size: {} for size in named.values()}
        for job, values, outcome in outcomes:
            is_choice = job.how == "muP" and math.isclose(math.log2(values["lr"]), rate, abs_tol=1e-5)
            if is_choice and not outcome.diverged:
                along[named[job.width, job.depth]][job.seed] = outcome.losses
        common = set.intersection(*(set(by_seed) for by_seed in along.values()))
        paths = {
            size: np.mean([[loss for _, loss in by_seed[seed]] for seed in common], axis=0).tolist()
            for size, by_seed in along.items()
            if common
        }
        steps = [step for step, _ in along[smallest][min(common)]] if common else []
        work = sum(outcome.parameters * outcome.tokens for _, _, outcome in outcomes)
        return cls(over, curves, steps, paths, float(work))

    @cached_property
    def _drifts(self) -> dict[Parametrization, Drift]:
        noises = {curve.size: noise for curve in self.curves["muP"] if (noise := curve.noise())}
        return {how: drift(curves, noises) for how, curves in self.curves.items()}

    def drift(self, how: Parametrization) -> Drift:
        """Of the best learning rate over sizes; a single seed borrows its noise from muP's runs of its size."""
        return self._drifts[how]

    def regret(self, how: Parametrization) -> Regret:
        """Of the proxy's best learning rate at the target."""
        return regret(self.curves[how][0], self.curves[how][-1])

    def wider(self) -> tuple[float, dict[str, float]] | None:
        """The share of steps at which wider is better under muP; None over depth, of which no such thing is known."""
        if self.over != "width" or len(self.paths) < 2:
            return None
        return wider_is_better(self.paths)

    def to_dict(self) -> dict[str, Any]:
        wider = self.wider()
        return {
            "over": self.over,
            "drift": {how: _drift(self.drift(how)) for how in self.curves},
            "regret": {how: _plain(asdict(self.regret(how))) for how in self.curves},
            "wider_is_better": None if wider is None else {"share": wider[0], "pairs": wider[1]},
            "curves": {how: [_curve(curve) for curve in curves] for how, curves in self.curves.items()},
            "paths": {"steps": self.steps, "losses": self.paths},
        }


@dataclass(frozen=True)
class Verdict:
    """What `tony tune` has to say.

    chosen: the values, of the proxy; the target's follow by muP.
    cost: of the search, as a share of training the target; check_cost: of the check, which no transfer needs.
    """

    recipe: Recipe
    target: Recipe
    proxy: tuple[int, int]
    chosen: dict[str, Any]
    loss: float
    trials: list[dict[str, Any]]
    cost: float
    check_cost: float
    checked: Checked | None
    settings: dict[str, Any]

    @classmethod
    def of(
        cls, *, recipe: Recipe, target: Recipe, proxy: tuple[int, int], trials: Sequence[tuple], parameters: int,
        checked: Checked | None, settings: Mapping[str, Any],
    ) -> Verdict:  # fmt: skip
        """From the search's (values, outcome), the best first; `parameters` are the target's, without embeddings."""
        whole = (float(parameters), float(recipe.train.tokens))
        return cls(
            recipe=recipe,
            target=target,
            proxy=proxy,
            chosen=dict(trials[0][0]),
            loss=trials[0][1].loss,
            trials=[{**values, "loss": _finite(outcome.loss)} for values, outcome in trials],
            cost=tuning_cost([(o.parameters, o.tokens) for _, o in trials], whole),
            check_cost=checked.work / (whole[0] * whole[1]) if checked else 0.0,
            checked=checked,
            settings=dict(settings),
        )

    @property
    def reasons(self) -> list[str]:
        """Why the transfer is not shown to hold; empty where it is."""
        if self.checked is None:
            return []
        said = []
        moved, lost, wider = self.checked.drift("muP"), self.checked.regret("muP"), self.checked.wider()
        if not moved.is_interior:
            said.append("a best learning rate lies at the edge of what was tried")
        if moved.spread.value > MOST_DRIFT:
            said.append(
                f"the best learning rate drifts by 2^{moved.spread.value:.2f}, more than 2^{MOST_DRIFT}"
            )
        if not lost.relative <= max(MOST_REGRET, 2 * (lost.error or 0.0)):
            said.append(f"the transferred rate costs the target {100 * lost.relative:.1f}% of its loss")
        if wider is not None and wider[0] < LEAST_WIDER:
            said.append(f"wider is better at only {100 * wider[0]:.0f}% of the steps")
        return said

    @property
    def passed(self) -> bool | None:
        """Whether the check holds; None where there was none."""
        return None if self.checked is None else not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """All of it, of plain values."""
        checked = self.checked.to_dict() if self.checked else {}
        return {
            "recipe": self.recipe.name,
            "chosen": self.chosen,
            "target": {"width": self.target.model.width, "depth": self.target.model.depth,
                       **{name: getattr(getattr(self.target, section), key) for name, (section, key) in KEYS.items()}},
            "proxy": {"width": self.proxy[0], "depth": self.proxy[1], "loss": self.loss},
            "drift": checked.get("drift"),
            "regret": checked.get("regret"),
            "wider_is_better": checked.get("wider_is_better"),
            "cost_share": self.cost,
            "check_cost_share": self.check_cost,
            "passed": self.passed,
            "reasons": self.reasons,
            "settings": self.settings,
            "trials": self.trials,
            "check": {key: checked[key] for key in ("over", "curves", "paths")} if checked else None,
        }  # fmt: skip


def _drift(found: Drift) -> dict[str, Any]:
    """In factors of 2, with 95% intervals."""
    return {
        "log2": asdict(found.spread),
        "shift_log2": asdict(found.shift),
        "log2_lr": {str(size): asdict(at) for size, at in found.optima.items()},
        "is_interior": found.is_interior,
    }


def _curve(curve: Curve) -> dict[str, Any]:
    losses = [[_finite(loss) for loss in row] for row in curve.losses.tolist()]
    return {"size": curve.size, "log2_lr": curve.log2_lrs.tolist(), "losses": losses}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: _finite(value) if isinstance(value, float) else value for key, value in values.items()}
