"""The same function on many jobs at once: in processes on this machine, or Ray's, anywhere."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from tony.errors import TonyError

PR_SET_PDEATHSIG = 1
POLL = 0.5  # seconds


def in_processes(
    function: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    workers: int,
    show: Callable[[], None] = lambda: None,
) -> None:
    """Call `function(*job)` for every job, each in a process of its own and `workers` of them at a time.

    The processes end with this one, also when it is killed. `show` is called twice a second.

    Raises:
        TonyError: what a job raised, after which no further one begins and the others end; or a process died.
    """
    context = multiprocessing.get_context("spawn")
    waiting, running = list(jobs), {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                here, there = context.Pipe(duplex=False)
                process = context.Process(target=_call, args=(function, waiting.pop(0), there), daemon=True)
                process.start()
                there.close()
                running[process] = here
            time.sleep(POLL)
            show()
            for process in [process for process in running if not process.is_alive()]:
                process.join()
                _raise_what_it_said(process.exitcode, running.pop(process), workers)
    finally:
        for process in running:
            process.kill()
            process.join()


def _raise_what_it_said(status: int | None, pipe: Connection, workers: int) -> None:
    with pipe, suppress(EOFError):
        raise TonyError(pipe.recv())
    if status:
        raise TonyError(
            f"a worker ended with status {status}. Is there memory for {workers}? Give fewer --workers; the same command goes on"
        )


def _call(function: Callable[..., Any], job: tuple[Any, ...], pipe: Connection) -> None:
    """In a process of its own, which ends with the one that started it; that one hears of Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        function(*job)
    except TonyError as error:
        pipe.send(str(error))
    except Exception as error:
        pipe.send(f"a worker failed, as the traceback above says: {type(error).__name__}: {error}")
        raise


def with_ray(
    function: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    address: str,
    threads: int = 1,
    show: Callable[[], None] = lambda: None,
) -> None:
    """The same as tasks of Ray, which are tried again where a machine is lost.

    address: "local" starts Ray here, anything else is a cluster's address ("auto": the one this machine belongs to).

    Raises:
        TonyError: what a job raised, or Ray is missing.
    """
    try:
        import ray
    except ImportError:
        raise TonyError("--ray needs Ray: pip install 'tony-omni[ray]'") from None
    started = not ray.is_initialized()
    if started:
        ray.init(
            address=None if address == "local" else address, log_to_driver=False, include_dashboard=False
        )
    try:
        remote = ray.remote(num_cpus=threads, max_retries=3)(_said)
        waiting = [remote.remote(function, job) for job in jobs]
        while waiting:
            done, waiting = ray.wait(waiting, timeout=POLL)
            show()
            for said in ray.get(done):
                if said is not None:
                    raise TonyError(said)
    finally:
        if started:
            ray.shutdown()


def _said(function: Callable[..., Any], job: tuple[Any, ...]) -> str | None:
    """What a job had to say where it failed: Ray's own errors carry a remote traceback."""
    try:
        function(*job)
    except TonyError as error:
        return str(error)
    return None
