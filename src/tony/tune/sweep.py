"""A sweep: trials that wait in a database, taken by any number of workers, on this machine or on many.

The database (Optuna's, SQLite unless told otherwise) is all that there is: what is done is in it, so the same command goes
on after a kill; what a dead worker had begun is put back into the queue.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from tony.errors import TonyError
from tony.runs import Run
from tony.tune.proxy import Parametrization, at_size, parametrized, with_values
from tony.tune.space import Choice, Range, Space
from tony.tune.trial import Data, Outcome, run_trial

SILENCE = 600.0  # seconds after which a worker on another machine that tells nothing counts as dead
BEAT = 30.0
DONE = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One trial to run.

    how: muP relative to (base_width, base_depth), or standard.   values: tuned ones; None where the search chooses them.
    """

    how: Parametrization
    width: int
    depth: int
    base_width: int
    base_depth: int
    tokens: float
    seed: int
    values: dict[str, Any] | None = None

    @property
    def cost(self) -> float:
        """Roughly proportional to the seconds it takes."""
        return self.depth * self.width**2 * self.tokens


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A queue of jobs over one run folder's data.

    folder: run folder of the target's recipe; trials' folders are below it.
    storage: any database URL of Optuna's.
    name: of the study in it.
    space: what the search chooses from.
    """

    folder: Path
    storage: str
    name: str
    space: Space
    tpe: bool = False
    seed: int = 0
    threads: int = 1

    def __getstate__(self) -> dict[str, Any]:
        """To another process goes the address of the database, not the connection."""
        return {key: value for key, value in vars(self).items() if key != "study"}

    @cached_property
    def study(self) -> optuna.Study:
        """The study, made where there is none.

        Raises:
            TonyError: the database cannot be opened.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        # Workers must not draw alike: the process is part of the seed. Random and grid points are fixed in the queue.
        seed = (self.seed * 1_000_003 + os.getpid()) % 2**32
        sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed=seed)
        if self.tpe:
            sampler = optuna.samplers.TPESampler(
                seed=seed, multivariate=True, constant_liar=True, n_startup_trials=0
            )
        arguments = {"connect_args": {"timeout": 120}} if self.storage.startswith("sqlite") else {}
        try:
            storage = optuna.storages.RDBStorage(
                self.storage, engine_kwargs={**arguments, "pool_pre_ping": True}
            )
            return optuna.create_study(
                study_name=self.name, storage=storage, sampler=sampler, load_if_exists=True
            )
        except Exception as error:  # each database has errors of its own
            reason = str(error).splitlines()[0]
            raise TonyError(
                f"{_without_password(self.storage)}: cannot be used to keep trials ({reason}). "
                "Give a database URL, such as sqlite:///tune.db or postgresql://user@host/name, and install its driver"
            ) from None

    def enqueue(self, job: Job, params: dict[str, Any] | None = None, index: int | None = None) -> None:
        """Let a job wait; `params` are point `index` of the search, where that is fixed already."""
        self.study.enqueue_trial(params or {}, user_attrs={"job": vars(job), "index": index})

    def jobs(self) -> list[tuple[Job, FrozenTrial]]:
        """Every job with the state of its trial, in the order in which they came; those that failed left out."""
        return [
            (Job(**trial.user_attrs["job"]), trial)
            for trial in self.study.get_trials(deepcopy=False)
            if "job" in trial.user_attrs and trial.state != TrialState.FAIL
        ]

    def outcomes(self) -> list[tuple[Job, dict[str, Any], Outcome]]:
        """(job, its values, outcome) of what is done."""
        return [
            (job, job.values or trial.params, Outcome.from_dict(trial.user_attrs["outcome"]))
            for job, trial in self.jobs()
            if trial.state in DONE
        ]

    def revive(self) -> int:
        """Put what dead workers had begun back into the queue; how many that were."""
        study = self.study
        dead = [trial for trial in study.get_trials(states=[TrialState.RUNNING]) if _is_dead(trial)]
        for trial in dead:
            study.tell(trial.number, state=TrialState.FAIL)
            if "job" in trial.user_attrs:
                self.enqueue(Job(**trial.user_attrs["job"]), trial.params, trial.user_attrs["index"])
        return len(dead)

    def problems(self) -> dict[int, str]:
        """What failed trials said, by number."""
        trials = self.study.get_trials(deepcopy=False, states=[TrialState.FAIL])
        return {
            trial.number: trial.user_attrs["problem"] for trial in trials if "problem" in trial.user_attrs
        }

    def work(self) -> None:
        """Take job after job until none waits. What every worker runs.

        Raises:
            TonyError: a job that cannot be run; it counts as failed.
        """
        study = self.study
        run = Run(self.folder)
        data = Data.of(run)
        while (trial := _next(study)) is not None:
            try:
                self._run(trial, run, data)
            except Exception as error:
                trial.set_user_attr("problem", str(error))
                study.tell(trial, state=TrialState.FAIL)
                raise

    def _run(self, trial: optuna.Trial, run: Run, data: Data) -> None:
        seen = 0.0

        def beat(*_: int) -> None:
            nonlocal seen
            if time.time() - seen > BEAT:
                seen = time.time()
                trial.set_user_attr("worker", {**_identity(), "seen": seen})

        beat()
        job = Job(**trial.user_attrs["job"])
        values = job.values or {name: _suggest(trial, name, choices) for name, choices in self.space.items()}
        recipe = at_size(run.recipe, job.width, job.depth, job.tokens)
        recipe = parametrized(recipe, job.how, job.base_width, job.base_depth)
        recipe = with_values(recipe, values)
        name = f"{trial.number:05d}"
        recipe = recipe.model_copy(update={"seed": job.seed, "name": name})
        outcome = run_trial(recipe, data, self.folder / "trials" / self.name, self.threads, beat)
        trial.set_user_attr("outcome", outcome.to_dict())
        if outcome.diverged:
            trial.study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.study.tell(trial, outcome.loss)


def _next(study: optuna.Study) -> optuna.Trial | None:
    """The next trial that waits. Another worker may be quicker: what is asked for then holds no job, and is given back."""
    if not study.get_trials(deepcopy=False, states=[TrialState.WAITING]):
        return None
    trial = study.ask()
    if "job" in trial.user_attrs:
        return trial
    study.tell(trial, state=TrialState.FAIL)
    return None


def _suggest(trial: optuna.Trial, name: str, choices: Range | Choice) -> float:
    if isinstance(choices, Range):
        return trial.suggest_float(name, choices.low, choices.high, log=True)
    return trial.suggest_categorical(name, choices.values)


def _identity() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}


def _started(pid: int) -> str | None:
    """When a process that lives began, in the kernel's own units: process numbers are used again."""
    with suppress(OSError, IndexError):
        state, *others = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else others[18]
    return None


def _is_dead(trial: FrozenTrial) -> bool:
    worker = trial.user_attrs.get("worker")
    if worker is None:  # killed between two statements
        return True
    if worker["host"] == socket.gethostname():
        return _started(worker["pid"]) != worker["started"] or worker["started"] is None
    return time.time() - worker["seen"] > SILENCE


def _without_password(url: str) -> str:
    head, separator, tail = url.rpartition("@")
    scheme, mark, user = head.partition("://")
    return f"{scheme}{mark}{user.split(':')[0]}{separator}{tail}" if separator else url
