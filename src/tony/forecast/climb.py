"""Training the rungs of a ladder and reading their losses; what is finished is read, what was cut short goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tony.atomic import write_json
from tony.data.batches import Batches
from tony.data.shards import Shard
from tony.errors import TonyError
from tony.forecast.ladder import Ladder, Rung
from tony.forecast.table import Runs, checked
from tony.model.machine import prepare_threads
from tony.runs import Recipe, Run, describe_environment
from tony.runs.recipe import ModelRecipe, TrainRecipe
from tony.tokens.vocabulary import Vocabulary
from tony.train.checkpoint import saved_steps
from tony.train.fanout import in_processes, with_ray
from tony.train.loop import Losses, Trainer
from tony.train.prepare import prepare
from tony.train.progress import Reporter, Silent

POINT = "point.json"
PROBED = 4  # steps that a speed is taken from
MOST_WINDOWS = 64  # of a batch in which a loss is measured
FOR_THE_GAP = 400_000  # ids of training that a loss is measured on, beside that of the test


@dataclass(frozen=True)
class Material:
    """What all rungs share: the vocabulary and the encoded documents."""

    vocabulary: Vocabulary
    train: Shard
    heldout: Shard


class Climber:
    """Trains rungs below `root`, in folders named after their recipes."""

    def __init__(
        self, ladder: Ladder, root: Path, reporter: Reporter, material: Material | None = None
    ) -> None:
        self.ladder, self.root, self.reporter = ladder, Path(root), reporter
        self._material = material

    def of(self, ladder: Ladder) -> Climber:
        """Of another ladder on the same data."""
        return Climber(ladder, self.root, self.reporter, self._material)

    @property
    def material(self) -> Material:
        """Prepared once, in a folder of its own: other sizes and learning rates do not make it anew."""
        if self._material is None:
            base = self.ladder.base
            recipe = Recipe(
                name=f"{base.name}-data",
                seed=base.seed,
                data=base.data,
                vocabulary=base.vocabulary,
                model=ModelRecipe(context=base.model.context),
                train=TrainRecipe(jitter=base.train.jitter),
            )
            self._material = Material(*prepare(Run.create(recipe, self.root), self.reporter))
        return self._material

    def point(self, rung: Rung) -> dict[str, Any] | None:
        """The finished point of a rung, or None.

        Raises:
            TonyError: the folder holds another recipe's run.
        """
        path = self.root / rung.recipe.name / POINT
        if not path.is_file():
            return None
        point = json.loads(path.read_text(encoding="utf-8"))
        if point["recipe"] != rung.recipe.hash:
            raise TonyError(
                f"{path.parent} was trained from another recipe. Choose another name (name=NAME) or remove that folder"
            )
        return point

    def seconds(self) -> tuple[float, float]:
        """What the rungs and runs of the target that are not finished will take: from a few steps of each size."""
        rates: dict[int, float] = {}
        for rung in (*self.ladder.rungs, *self.ladder.targets):
            if rung.n not in rates and self.point(rung) is None:
                rates[rung.n] = self.rate(rung)
        open_rungs = [r for r in self.ladder.rungs if self.point(r) is None]
        ladder = sum(rates[r.n] * (r.tokens * (1 - self._shared(r, open_rungs))) for r in open_rungs)
        return ladder, sum(rates[r.n] * r.tokens for r in self.ladder.targets if self.point(r) is None)

    def _shared(self, rung: Rung, rungs: list[Rung]) -> float:
        """The share of a rung's tokens that a longer branch of the same stable run pays for."""
        longer = any(r.stable.name == rung.stable.name and r.tokens > rung.tokens for r in rungs)
        return 1 - self.ladder.settings.decay if longer else 0.0

    def rate(self, rung: Rung) -> float:
        """Seconds a token of a rung's model, from a few steps."""
        trainer = self.trainer(rung.recipe.model_copy(update={"name": f"{rung.recipe.name}-probe"}))
        trainer.update()
        began = time.perf_counter()
        for _ in range(PROBED):
            trainer.update()
        rate = (time.perf_counter() - began) / (PROBED * trainer.batches.tokens_per_batch)
        shutil.rmtree(trainer.run.path, ignore_errors=True)
        return rate

    def climb(
        self,
        on_point: Callable[[Rung, dict[str, Any]], None] | None = None,
        workers: int = 1,
        ray: str | None = None,
    ) -> list[dict[str, Any]]:
        """The points of all rungs, the smallest first.

        Args:
            workers: processes on this machine that share the sizes.
            ray: "local", or the address of a Ray cluster whose machines all reach `root`: a task for every size.

        Raises:
            TonyError: what training raises; Ray is missing, or its machines wrote elsewhere.
        """
        if workers > 1 or ray is not None:
            # Branches share their size's stable run, so a process has a size at a time. The largest first.
            sizes = sorted({rung.n for rung in self.ladder.rungs}, reverse=True)
            groups = [[rung for rung in self.ladder.rungs if rung.n == n] for n in sizes]
            self._share("runs of the ladder", groups, workers, ray)
        points = []
        for rung in self.ladder.rungs:
            point = self.point(rung) or self.train(rung)
            points.append(point)
            if on_point:
                on_point(rung, point)
        return points

    def targets(self, workers: int = 1) -> list[dict[str, Any]]:
        """The points of the target's runs, of which `workers` are trained at a time.

        Raises:
            TonyError: what training raises.
        """
        runs = self.ladder.targets
        if min(workers, len(runs)) > 1:
            self._share("runs of the target", [[run] for run in runs], workers)
        return [self.point(run) or self.train(run) for run in runs]

    def _share(self, what: str, groups: list[list[Rung]], workers: int, ray: str | None = None) -> None:
        """Train what is not finished, each group in one process or task."""
        _ = self.material
        rungs = [rung for group in groups for rung in group]
        finished = {rung.recipe.name for rung in rungs if self.point(rung) is not None}
        open_names = [[r.recipe.name for r in group if r.recipe.name not in finished] for group in groups]
        jobs = [
            (self.ladder, self.root.resolve(), names, 1 if ray else workers) for names in open_names if names
        ]
        self.reporter.begin(what, len(rungs), len(finished))

        def show() -> None:
            for rung in rungs:
                if rung.recipe.name not in finished and self.point(rung) is not None:
                    finished.add(rung.recipe.name)
                    self.reporter.advance(len(finished))

        if ray is not None:
            with_ray(climb_runs, jobs, ray, show=show)
        else:
            in_processes(climb_runs, jobs, workers, show)
        show()
        if len(finished) < len(rungs):
            raise TonyError(
                f"{self.root}: the machines of the Ray cluster wrote their runs elsewhere. Give --runs on a file system that "
                "all of them reach"
            )

    def train(self, rung: Rung) -> dict[str, Any]:
        """Train a rung to its end, and write its point.

        Raises:
            TonyError: test loss exceeds training loss by more than the recipe's `gap` and what chance explains.
        """
        run = Run.create(rung.recipe, self.root)
        if not saved_steps(run.checkpoints):
            self._branch(rung, run)
        trainer = self.trainer(rung.recipe)
        trainer.resume()
        self.reporter.say(f"{rung.recipe.name}: N = {rung.n:,}, {rung.tokens:,} tokens")
        if trainer.step < trainer.steps:
            trainer.fit()
        trainer.finish()
        write_json(run.path / "environment.json", describe_environment(rung.recipe, str(trainer.device)))
        point = self._measured(rung, trainer)
        write_json(run.path / POINT, point)
        return point

    def trained(self, rung: Rung) -> Trainer:
        """The trainer of a rung at its last step, trained first where it is not finished."""
        if self.point(rung) is None:
            self.train(rung)
        trainer = self.trainer(rung.recipe)
        trainer.resume()
        return trainer

    def _branch(self, rung: Rung, run: Run) -> None:
        """Bring the stable run to where the rung leaves it, and its checkpoint to the rung's folder."""
        stable = self.trainer(rung.stable)
        stable.resume()
        if stable.step > rung.begin:
            raise TonyError(
                f"{stable.run.path} is at step {stable.step}, past step {rung.begin} where {rung.recipe.name} leaves it. "
                "Remove that folder and run the same command"
            )
        if stable.step < rung.begin:
            stable.fit(until=rung.begin)
        last = saved_steps(stable.run.checkpoints)[-1]
        assert last == rung.begin
        source = next(stable.run.checkpoints.glob(f"step-*{last}.safetensors"))
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        temporary = run.checkpoints / f".{source.name}"
        shutil.copyfile(source, temporary)
        temporary.rename(run.checkpoints / source.name)

    def trainer(self, recipe: Recipe) -> Trainer:
        """A trainer of `recipe` on the ladder's data, at step 0."""
        m = self.material
        return Trainer(Run.create(recipe, self.root), m.vocabulary, m.train, m.heldout, _Quiet(self.reporter))

    def _measured(self, rung: Rung, trainer: Trainer) -> dict[str, Any]:
        tokens = self.ladder.settings.heldout_tokens
        by_modality = Losses.zero()
        heldout, spread = measure(trainer, trainer.heldout, tokens, seed=0, losses=by_modality)
        train, train_spread = measure(trainer, trainer.batches, min(tokens, FOR_THE_GAP), seed=0)
        chance = 2 * float(
            np.hypot(spread, train_spread)
        )  # two samples differ by so much without any learning by heart
        if heldout - chance > train * (1 + self.ladder.settings.gap):
            raise TonyError(
                f"{rung.recipe.name}: test loss {heldout:.4f} exceeds training loss {train:.4f} by {heldout / train - 1:.2%}, more "
                f"than {self.ladder.settings.gap:.2%}: it learns its data by heart, and no law in N and D holds. Give it more "
                "data (data.copies, other crops), or allow it (forecast.gap)"
            )
        return {
            "name": rung.recipe.name,
            "recipe": rung.recipe.hash,
            "seed": rung.recipe.seed - self.ladder.base.seed,
            "N": rung.n,
            "D": rung.tokens,
            "C": rung.flops,
            "loss": heldout,
            "standard_error": spread,
            "loss_by_modality": by_modality.by_modality,
            "train_loss": train,
            "seconds": trainer.seconds,
            "sha256": hashlib.sha256((trainer.run.path / "metrics.jsonl").read_bytes()).hexdigest(),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }


def climb_runs(ladder: Ladder, root: Path, names: list[str], processes: int) -> None:
    """Train the rungs of these names, in one of `processes` that share the cores."""
    prepare_threads(processes)
    climber = Climber(ladder, root, Silent())
    for rung in (*ladder.rungs, *ladder.targets):
        if rung.recipe.name in names and climber.point(rung) is None:
            climber.train(rung)


def measure(
    trainer: Trainer, batches: Batches, tokens: int, seed: int, losses: Losses | None = None
) -> tuple[float, float]:
    """The loss in nats per counted id on about `tokens` positions of seeded windows, and its standard error.

    What each modality adds to it is added to `losses`, where those are given.
    """
    import torch

    count = min(len(batches.packing), max(2, tokens // batches.context))
    windows = np.random.default_rng([seed, 17]).permutation(len(batches.packing))[:count]
    sums, counts = [], []
    with torch.no_grad():
        for part in np.array_split(windows, -(-count // MOST_WINDOWS)):
            _, _, found = trainer.loss([int(w) for w in part], batches)
            sums.append(found.sums.sum())
            counts.append(found.counts.sum())
            if losses is not None:
                losses.add(found.sums, found.counts)
    total = Losses(np.array([sum(sums)]), np.array([sum(counts)])).mean
    means = np.array(sums) / np.array(counts)
    return total, float(means.std() / np.sqrt(len(means)))


def runs_of(points: list[dict[str, Any]]) -> Runs:
    """The points as a table; branches of one stable run are one run, as they share most of their training."""
    columns = {name.lower(): np.array([p[name] for p in points], float) for name in "NDC"}
    labels = np.array([f"{p['N']} {p.get('seed', 0)}" for p in points])
    loss = np.array([p["loss"] for p in points])
    return checked(Runs(**columns, loss=loss, run=labels, lines=np.arange(len(points)) + 1))


class _Quiet(Silent):
    """Passes progress on, but not what every rung would say again."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def begin(self, what: str, total: int, done: int = 0) -> None:
        self._reporter.begin(what, total, done)

    def advance(self, done: int, **figures: Any) -> None:
        self._reporter.advance(done, **figures)
