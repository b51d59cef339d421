"""Runs of benchmarks/mutransfer.py: what a run is, a file that keeps every result, processes that work runs off side by side."""

from __future__ import annotations

import ctypes
import json
import math
import multiprocessing
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from tony.runs import Recipe, Run, load_recipe
from tony.train.loop import Trainer
from tony.tune import Curve
from tony.tune.proxy import at_size, parametrized, with_values
from tony.tune.trial import Data, Outcome, run_trial

ROOT = Path(__file__).parents[1]
PR_SET_PDEATHSIG = 1
# The recipe of every transformer here: the digit world in small windows and short steps, a long warm-up, then a constant rate.
# Chosen in pilots (NOTEBOOK.md): with a short warm-up some seeds lose the sound for good at rates that are best for the
# others; where the rate falls to 0 at the end, rates from the best to 8 times the best end alike, and nothing can be seen to drift.
SHAPE = (
    "model.head_dim=32", "train.optimizer=adamw", "train.curriculum=false", "train.batch_tokens=640", "train.warmup=0.3",
    "train.decay=0", "train.compile=false", "train.processes=1",
)  # fmt: skip
BATCH = 640


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One run, known by its values.

    task: "omni" (a transformer on the digit world), or a picture set of the ResNet.
    how: "muP" relative to base_width (and base_depth), or "standard".
    values: what is set beside the learning rate, as (name, value) pairs.
    """

    task: str = "omni"
    how: str = "muP"
    width: int = 64
    depth: int = 2
    base_width: int = 64
    base_depth: int = 2
    steps: int = 256
    log2_lr: float = -7.0
    seed: int = 0
    values: tuple[tuple[str, float], ...] = ()

    @property
    def key(self) -> str:
        """A run under muP at its own base is one under the standard parametrisation: they share a key."""
        told = asdict(self)
        is_base = (self.width, self.depth) == (self.base_width, self.base_depth)
        if self.how == "standard" or is_base:
            told.update(how="standard", base_width=self.width, base_depth=self.depth)
        return json.dumps(told, sort_keys=True)

    @property
    def seconds(self) -> float:
        """About what it takes one thread beside another (2 cores with AVX-512 BF16); pictures have their own estimate."""
        if self.task != "omni":
            return self.steps * 1e-3 * (4 + 0.023 * self.width**1.6)
        return 1 + self.steps * 1e-3 * (6 + self.depth * (5 + 0.05 * self.width + 0.00025 * self.width**2))


def train(spec: Spec, folder: Path) -> dict[str, Any]:
    """Run `spec`; the outcome as plain values."""
    if spec.task != "omni":
        from mutransfer_resnet import train_resnet

        return train_resnet(spec)
    values = {"lr": 2.0**spec.log2_lr, **dict(spec.values)}
    embedding = values.pop("embedding_lr", 1.0)
    recipe = at_size(_recipe(folder), spec.width, spec.depth, spec.steps * BATCH)
    recipe = parametrized(recipe, spec.how, spec.base_width, spec.base_depth)
    recipe = with_values(recipe, values).model_copy(update={"seed": spec.seed, "name": "run"})
    change = None if embedding == 1.0 else partial(multiply_embedding_lr, factor=embedding)
    with tempfile.TemporaryDirectory() as scratch:
        return run_trial(recipe, _data(folder), Path(scratch), change=change).to_dict()


def multiply_embedding_lr(trainer: Trainer, factor: float) -> None:
    """Give the embeddings a parameter group of their own, whose learning rate is multiplied."""
    embedding = trainer.model.embedding.weight
    part, group = next(
        (part, group)
        for part in trainer.optimizer.parts
        for group in part.param_groups
        if any(p is embedding for p in group["params"])
    )
    group["params"] = [p for p in group["params"] if p is not embedding]
    settings = {key: value for key, value in group.items() if key != "params"}
    settings["lr_factor"] = settings.get("lr_factor", 1.0) * factor
    part.add_param_group({**settings, "params": [embedding]})
    trainer.optimizer.param_groups.append(part.param_groups[-1])


def prepare(folder: Path, recipe: Path, overrides: tuple[str, ...]) -> None:
    """Make the digit world and its vocabulary in run folder `folder`/data, once."""
    made = load_recipe(recipe, [*SHAPE, "name=data", *overrides])
    run = Run.create(made, folder)
    Data.of(run)


@lru_cache(maxsize=1)
def _recipe(folder: Path) -> Recipe:
    return Run(folder / "data").recipe


@lru_cache(maxsize=1)
def _data(folder: Path) -> Data:
    return Data.of(Run(folder / "data"))


class Results:
    """Every run's outcome, in `folder`/runs.jsonl: what is there is not run again, by whatever command.

    curves: by name, of the sweeps that were run to their end, by parametrisation.
    """

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder, self.workers = folder, workers
        self.path = folder / "runs.jsonl"
        self.curves: dict[str, dict[str, list[Curve]]] = {}
        self.known: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            text = self.path.read_text(encoding="utf-8")
            if text and not text.endswith(
                "\n"
            ):  # cut short by a kill: what comes next begins a line of its own
                self.path.write_text(text + "\n", encoding="utf-8")
            for line in text.splitlines():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError:
                    continue
                self.known[row["key"]] = row["outcome"]

    def outcome(self, spec: Spec) -> Outcome | None:
        found = self.known.get(spec.key)
        return Outcome.from_dict(found) if found else None

    def keep(self, spec: Spec, outcome: dict[str, Any]) -> None:
        self.known[spec.key] = outcome
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": spec.key, "outcome": outcome}) + "\n")

    def work_off(self, wanted: Callable[[], list[Spec]], say: Callable[[str], None]) -> float:
        """Run what `wanted` asks for, asked anew after every result, until it asks for nothing; the seconds it took.

        The longest run goes first, so that the workers end together.
        """
        began = time.monotonic()
        pending: dict[Future, Spec] = {}
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.workers, mp_context=context, initializer=_begin) as pool:
            while True:
                known = {*self.known, *(spec.key for spec in pending.values())}
                fresh = {spec.key: spec for spec in wanted() if spec.key not in known}
                for spec in sorted(fresh.values(), key=lambda spec: -spec.seconds):
                    if len(pending) == self.workers:
                        break
                    pending[pool.submit(train, spec, self.folder)] = spec
                if not pending:
                    return time.monotonic() - began
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    spec = pending.pop(future)
                    outcome = future.result()
                    self.keep(spec, outcome)
                    loss = math.nan if outcome["loss"] is None else outcome["loss"]
                    say(f"{spec.task} {spec.how} {spec.width}x{spec.depth} base {spec.base_width}x{spec.base_depth} lr 2^{spec.log2_lr:g} "
                        f"seed {spec.seed} {dict(spec.values) or ''}: {loss:.4f} in {outcome['seconds']:.0f} s")  # fmt: skip


def _begin() -> None:
    """In a worker: one thread, and an end with the process that started it."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    sys.path.insert(0, str(Path(__file__).parent))
    torch.set_num_threads(1)
