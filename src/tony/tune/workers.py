"""Who works a sweep's queue off: processes on this machine, or Ray's, anywhere."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from optuna.trial import TrialState

from tony.errors import TonyError
from tony.train.progress import Reporter
from tony.tune.sweep import DONE, Sweep

PR_SET_PDEATHSIG = 1
POLL = 0.5


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

    def show(done: int) -> None:
        nonlocal last
        if done != last:
            last = done
            reporter.advance(done)

    begun_with = sweep.problems()
    while waiting := [trial.state for _, trial in sweep.jobs() if trial.state not in DONE]:
        if TrialState.WAITING not in waiting:  # others have taken the rest: wait for them
            time.sleep(POLL)
            sweep.revive()
        elif ray_address is not None:
            _with_ray(sweep, workers, show, ray_address)
        elif workers == 1:
            sweep.work()
        else:
            _with_processes(sweep, workers, show)
        show(_done(sweep))
        if new := {number: said for number, said in sweep.problems().items() if number not in begun_with}:
            raise TonyError(f"{what}: {next(iter(new.values()))}. The same command goes on")


def _done(sweep: Sweep) -> int:
    return sum(trial.state in DONE for _, trial in sweep.jobs())


def _with_processes(sweep: Sweep, workers: int, show: Callable[[int], None]) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_work, args=(sweep,), daemon=True) for _ in range(workers)]
    for process in processes:
        process.start()
    try:
        while any(process.is_alive() for process in processes):
            time.sleep(POLL)
            show(_done(sweep))
    finally:
        for process in processes:
            process.kill()
            process.join()
    died = next((process for process in processes if process.exitcode), None)
    if died is not None:
        raise TonyError(
            f"a worker ended with status {died.exitcode}. Is there memory for {workers}? Give fewer --workers; "
            "the same command goes on"
        )


def _run(sweep: Sweep) -> None:
    sweep.work()


def _work(sweep: Sweep) -> None:
    """In a process of its own, which ends with the one that started it; that one hears of Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with suppress(Exception):  # the queue holds what went wrong
        sweep.work()


def _with_ray(sweep: Sweep, workers: int, show: Callable[[int], None], address: str) -> None:
    try:
        import ray
    except ImportError:
        raise TonyError("--ray needs Ray: pip install 'tony-omni[ray]'") from None
    if address != "local" and sweep.storage.startswith("sqlite"):
        raise TonyError(
            "--ray on a cluster needs a database that every machine reaches: --storage postgresql://user@host/name"
        )
    started = not ray.is_initialized()
    if started:
        ray.init(
            address=None if address == "local" else address, log_to_driver=False, include_dashboard=False
        )
    try:
        remote = ray.remote(num_cpus=sweep.threads, max_retries=3)(_run)
        waiting = [remote.remote(sweep) for _ in range(workers)]
        while waiting:
            done, waiting = ray.wait(waiting, timeout=POLL)
            show(_done(sweep))
            with suppress(ray.exceptions.RayTaskError):  # the queue holds what went wrong
                ray.get(done)
    finally:
        if started:
            ray.shutdown()
