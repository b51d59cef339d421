"""Who works a sweep's queue off: processes on this machine, or Ray's, anywhere."""

from __future__ import annotations

import time
from contextlib import suppress

from optuna.trial import TrialState

from tony.errors import TonyError
from tony.train.fanout import POLL, in_processes, with_ray
from tony.train.progress import Reporter
from tony.tune.sweep import DONE, Sweep


def work_off(
    sweep: Sweep, workers: int, reporter: Reporter, what: str, ray_address: str | None = None
) -> None:
    """Run everything that waits in the queue, with `workers` processes; with one, in this process.

    ray_address: "local" starts Ray here, anything else is a cluster's address ("auto": the one this machine belongs to).

    Raises:
        TonyError: a job that cannot be run, Ray missing, or a cluster that cannot reach the database.
    """
    last = _done(sweep)
    reporter.begin(what, len(sweep.jobs()), last)

    def show() -> None:
        nonlocal last
        if (done := _done(sweep)) != last:
            last = done
            reporter.advance(done)

    begun_with = sweep.problems()
    while waiting := [trial.state for _, trial in sweep.jobs() if trial.state not in DONE]:
        if TrialState.WAITING not in waiting:  # others have taken the rest: wait for them
            time.sleep(POLL)
            sweep.revive()
        elif ray_address is not None:
            if ray_address != "local" and sweep.storage.startswith("sqlite"):
                raise TonyError(
                    "--ray on a cluster needs a database that every machine reaches: --storage postgresql://user@host/name"
                )
            with_ray(_run, [(sweep,)] * workers, ray_address, sweep.threads, show)
        elif workers == 1:
            sweep.work()
        else:
            in_processes(_run, [(sweep,)] * workers, workers, show)
        show()
        if new := {number: said for number, said in sweep.problems().items() if number not in begun_with}:
            raise TonyError(f"{what}: {next(iter(new.values()))}. The same command goes on")


def _done(sweep: Sweep) -> int:
    return sum(trial.state in DONE for _, trial in sweep.jobs())


def _run(sweep: Sweep) -> None:
    with suppress(Exception):  # the queue holds what went wrong
        sweep.work()
