"""`tony tune`, whole: search with a small proxy, carry the values to the target, and check that they could be carried."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from tony.atomic import replacing
from tony.errors import TonyError
from tony.model import Transformer, TransformerConfig
from tony.model.machine import choose_device
from tony.runs import Recipe, Run
from tony.train.progress import Reporter
from tony.tune.optimum import best_rate, wanted_runs
from tony.tune.page import write_page
from tony.tune.proxy import Parametrization, at_size, parametrized, proxy_width, widths_between, with_values
from tony.tune.space import Space, check_space, default_space, grid_points, random_point
from tony.tune.sweep import Job, Sweep
from tony.tune.trial import Data, Outcome
from tony.tune.verdict import Checked, Verdict
from tony.tune.workers import work_off

STARTUP = 8  # random trials before TPE chooses


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to tune.

    search: how points are chosen.   trials: how many; a grid has as many as it has points.   space: None = the default one.
    width, depth: of the proxy; None = a quarter of the target's width, the target's depth.
    share: of the target's tokens that a trial is trained on.
    check: whether the learning rate is also swept over sizes, under muP and under the standard parametrisation.
    seeds: runs at each point of the check under muP; the standard parametrisation has one.
    storage: database URL; None = SQLite in the run folder.
    ray: address of a Ray cluster, "local" to start Ray here; None = processes of this machine.
    """

    search: Literal["tpe", "random", "grid"] = "tpe"
    trials: int = 24
    space: Space | None = None
    width: int | None = None
    depth: int | None = None
    share: float = 1 / 8
    check: bool = True
    seeds: int = 2
    workers: int = 1
    threads: int = 1
    storage: str | None = None
    ray: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Written:
    """Where the results are."""

    recipe: Path
    verdict: Path
    page: Path


def tune(
    recipe: Recipe, root: Path, settings: Settings, reporter: Reporter, out: Path | None = None
) -> tuple[Verdict, Written]:
    """Tune `recipe` by muTransfer; everything is in run folder `root`/<name>-tune, and what is done is not done again.

    out: where the target's recipe is written; None = in that folder.

    Raises:
        TonyError: settings that do not fit the recipe, a storage that cannot be used, or trials that all diverged.
    """
    tuning = Tuning(recipe, root, settings, reporter)
    best = tuning.search()
    verdict = tuning.verdict(best, tuning.check(best) if settings.check else None)
    folder = tuning.run.path
    written = Written(
        out or folder / f"{verdict.target.name}.toml", folder / "evals" / "tune.json", folder / "tune.html"
    )
    with replacing(written.recipe) as temporary:
        temporary.write_text(verdict.target.to_toml(), encoding="utf-8")
    tuning.run.save_evaluation("tune", verdict.to_dict())
    write_page(verdict, written.page)
    return verdict, written


def arrangement(recipe: Recipe, workers: int | None) -> tuple[int, int]:
    """(workers, threads of each): a worker a core unless told, as two of one thread do more than one of two.

    One worker where there is a GPU.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers is None:
        workers = cores if choose_device(recipe.train.device).type == "cpu" else 1
    return workers, max(1, cores // workers)


class Tuning:
    """One tuning under way: the target's recipe, its proxy, and the two sweeps."""

    def __init__(self, recipe: Recipe, root: Path, settings: Settings, reporter: Reporter) -> None:
        if not 0 < settings.share <= 1 or settings.trials < 1 or settings.seeds < 1:
            raise TonyError("tune: share is within 0 and 1, trials and seeds are 1 or more")
        if recipe.start is not None:
            raise TonyError(
                f"tune: start={recipe.start} has no smaller proxy. Compare a few learning rates over short runs instead: "
                "tony train RECIPE name=NAME train.tokens=1e5 train.lr=LR"
            )
        self.settings, self.reporter = settings, reporter
        self.width = proxy_width(recipe) if settings.width is None else settings.width
        self.depth = recipe.model.depth if settings.depth is None else settings.depth
        if self.width < 1 or self.depth < 1:
            raise TonyError(f"tune: a proxy of width {self.width} and depth {self.depth}: both are 1 or more")
        if self.width > recipe.model.width or self.depth > recipe.model.depth:
            raise TonyError(
                f"tune: a proxy of width {self.width} and depth {self.depth} is larger than the target, "
                f"{recipe.model.width} and {recipe.model.depth}. Give a smaller --width or --depth"
            )
        self.recipe = recipe.model_copy(update={"name": f"{recipe.name}-tune"})
        self.goal = recipe
        at_size(recipe, self.width, self.depth, 1)  # a width that the model cannot have is said now
        self.space = settings.space or default_space(recipe)
        if "attention_scale" in self.space and not recipe.model.qk_norm:
            raise TonyError("tune: an attention scale needs model.qk_norm=true, whose gain absorbs it")
        check_space(recipe, self.space)
        self.run = Run.create(self.recipe, root)
        self.data = Data.of(self.run, reporter)

    @property
    def tokens(self) -> float:
        """What a trial is trained on."""
        return self.settings.share * self.recipe.train.tokens

    def job(self, **changed: Any) -> Job:
        """A job at the proxy, under muP, changed as told."""
        plain = Job(how="muP", width=self.width, depth=self.depth, base_width=self.width,
                    base_depth=self.depth, tokens=self.tokens, seed=self.recipe.seed)  # fmt: skip
        return replace(plain, **changed)

    def sweep(self, purpose: str, *settled: Any, tpe: bool = False) -> Sweep:
        """The queue for a purpose; another one for other settings, so that unlike trials never mix."""
        key = json.dumps([self.recipe.hash, vars(self.job()), [str(item) for item in settled]])
        digest = hashlib.sha256(key.encode()).hexdigest()[:8]
        return Sweep(
            folder=self.run.path.resolve(),
            storage=self.settings.storage or f"sqlite:///{(self.run.path / 'tune.db').resolve()}",
            name=f"{self.recipe.name}-{purpose}-{digest}",
            space=self.space,
            tpe=tpe,
            seed=self.settings.seed,
            threads=self.settings.threads,
        )

    def work_off(self, sweep: Sweep, what: str) -> None:
        work_off(sweep, self.settings.workers, self.reporter, what, self.settings.ray)

    def search(self) -> list[tuple[dict[str, Any], Outcome]]:
        """The search's points with their outcomes, the best first."""
        settings = self.settings
        space = sorted((name, str(choices)) for name, choices in self.space.items())
        sweep = self.sweep("search", settings.search, settings.seed, space, tpe=settings.search == "tpe")
        sweep.revive()
        points: list[dict[str, Any]]
        if settings.search == "grid":
            points = grid_points(self.space)
        else:
            points = [random_point(self.space, settings.seed, index) for index in range(settings.trials)]
        if settings.search == "tpe":
            points[STARTUP:] = [{}] * (len(points) - STARTUP)
        queued = {trial.user_attrs["index"] for _, trial in sweep.jobs()}
        for index, point in enumerate(points):
            if index not in queued:
                sweep.enqueue(self.job(), point, index)
        self.work_off(sweep, f"searching ({settings.search}, width {self.width}, depth {self.depth})")
        found = [(values, outcome) for _, values, outcome in sweep.outcomes()]
        found.sort(key=lambda pair: pair[1].loss)
        if found[0][1].diverged:
            raise TonyError("tune: every trial diverged. Give lower learning rates: --space lr=LOW..HIGH")
        return found

    def sizes(self) -> list[tuple[int, int]]:
        """(width, depth) from the proxy to the target: doubled widths at the target's depth, or doubled depths."""
        width, depth = self.recipe.model.width, self.recipe.model.depth
        if self.width < width:
            between = [(middle, depth) for middle in widths_between(self.recipe, self.width)[1:]]
            return [(self.width, self.depth), *between]
        depths = [self.depth]
        while 2 * depths[-1] < depth:
            depths.append(2 * depths[-1])
        return [(width, d) for d in (depths if depths[-1] == depth else [*depths, depth])]

    def check(self, best: list[tuple[dict[str, Any], Outcome]]) -> Checked | None:
        """Losses against the learning rate at every size; None where the proxy is as large as the target."""
        if len(self.sizes()) < 2:
            return None
        values = best[0][0]
        sweep = self.sweep("check", sorted(values.items()))
        sweep.revive()
        names = [f"{width}x{depth}" for width, depth in self.sizes()]
        while True:
            known = {_key(job): outcome.loss for job, _, outcome in sweep.outcomes()}
            queued = {_key(job) for job, _ in sweep.jobs()}
            jobs = [job for job in self._wanted(values, known) if _key(job) not in queued]
            if not jobs and queued <= set(known):
                break
            for job in sorted(jobs, key=lambda job: -job.cost):
                sweep.enqueue(job)
            self.work_off(sweep, f"checking the transfer over {', '.join(names)}")
        return Checked.of(sweep.outcomes(), self.sizes())

    def _wanted(self, values: dict[str, Any], known: dict[tuple, float]) -> list[Job]:
        """The jobs that the check still needs. At the proxy the parametrisations are one and the same."""
        start = float(np.log2(values.get("lr", self.recipe.train.lr)))
        proxy = {key[3:]: loss for key, loss in known.items() if key[:3] == ("muP", self.width, self.depth)}
        chosen = best_rate(proxy)
        wanted = []
        for index, (width, depth) in enumerate(self.sizes()):
            ways: Sequence[Parametrization] = ("muP", "standard") if index else ("muP",)
            for how in ways:
                seeds = range(self.settings.seeds if how == "muP" else 1)
                # Begun where theory has its best rate, so that a second minimum leads nobody astray.
                shift = round(np.log2(width / self.width)) if how == "standard" else 0
                runs = {key[3:]: loss for key, loss in known.items() if key[:3] == (how, width, depth)}
                wanted += [
                    self.job(how=how, width=width, depth=depth, values={**values, "lr": 2.0**rate}, seed=seed)
                    for rate, seed in wanted_runs(
                        runs, start - shift, [self.recipe.seed + seed for seed in seeds], chosen=chosen
                    )
                ]
        return wanted

    def target(self, best: list[tuple[dict[str, Any], Outcome]]) -> Recipe:
        """The target's recipe with the values found, relative to the proxy."""
        goal = self.goal.model_copy(update={"name": f"{self.goal.name}-tuned"})
        base_depth = self.depth if self.depth != goal.model.depth else None
        return with_values(parametrized(goal, "muP", self.width, base_depth), best[0][0])

    def verdict(self, best: list[tuple[dict[str, Any], Outcome]], checked: Checked | None) -> Verdict:
        """What was chosen, what it cost, and whether it carries over."""
        parameters = _parameters(self.recipe, self.data)
        return Verdict.of(
            recipe=self.goal,
            target=self.target(best),
            proxy=(self.width, self.depth),
            trials=best,
            parameters=parameters,
            checked=checked,
            settings={
                "search": self.settings.search, "share": self.settings.share, "seeds": self.settings.seeds,
                "space": {name: str(choices) for name, choices in self.space.items()},
            },
        )  # fmt: skip


def _key(job: Job) -> tuple[str, int, int, float, int]:
    """What tells jobs of a check apart: (parametrisation, width, depth, log2 lr, seed)."""
    return (job.how, job.width, job.depth, round(float(np.log2((job.values or {})["lr"])), 6), job.seed)


def _parameters(recipe: Recipe, data: Data) -> int:
    """The target's parameters without embeddings."""
    with torch.device("meta"):
        model = Transformer(TransformerConfig.from_recipe(recipe.model, data.vocabulary.size))
    return model.num_parameters_without_embeddings
