"""The sandbox: several workers at once, and the record of what they ran under.

from tony.sandbox import FunctionProgram, Sandbox
with Sandbox() as sandbox:
    print(sandbox.run(FunctionProgram("def f(x): return x + 1", "f", "def check(f): assert f(1) == 2")))
"""

from __future__ import annotations

import os
import platform
import queue
import subprocess
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tony.errors import TonyError
from tony.sandbox.calibration import speed_factor
from tony.sandbox.kernel import machine_is_supported
from tony.sandbox.layers import LAYERS, Report
from tony.sandbox.limits import Limits
from tony.sandbox.profiles import Program
from tony.sandbox.verdict import Verdict
from tony.sandbox.worker import Worker

Key = TypeVar("Key")
_DONE = object()


class Sandbox:
    """Runs untrusted Python programs and gives their verdicts.

    Args:
        limits: of one program.
        workers: programs at once; the machine's cores where not said.
        allow_missing: go on, for this sandbox, where a required layer of isolation is missing. `record` says so.
        calibrate: scale processor time to this machine; without it, limits are taken as they are.
        without: layers to leave out, for tests that show what each is for.

    Raises:
        TonyError: a required layer is missing; the message has the remedy.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        workers: int | None = None,
        allow_missing: bool = False,
        calibrate: bool = True,
        without: tuple[str, ...] = (),
    ):
        if not machine_is_supported():
            host = os.uname()
            raise TonyError(
                f"the sandbox runs on Linux on x86-64 only, and this is {host.sysname} on {host.machine}: use such a machine"
            )
        self.limits = limits or Limits()
        self.factor = speed_factor() if calibrate else 1.0
        self.allow_missing = allow_missing
        self._workers: list[Worker] = []
        try:
            for core in _cores(workers):
                self._workers.append(Worker(self.limits, self.factor, allow_missing, without, core))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers and everything they run."""
        while self._workers:
            self._workers.pop().close()

    @property
    def report(self) -> Report:
        """The layers in force."""
        return self._workers[0].report

    def run(self, program: Program) -> Verdict:
        """The verdict of one program."""
        return self._workers[0].run(program)

    def run_all(self, programs: Iterable[tuple[Key, Program]]) -> Iterator[tuple[Key, Verdict]]:
        """The verdicts of many programs, each with its key, in the order in which they are found.

        `programs` is read only as fast as they are run.
        """
        waiting: queue.Queue = queue.Queue(maxsize=2 * len(self._workers))
        found: queue.Queue = queue.Queue()

        def work(worker: Worker) -> None:
            while (item := waiting.get()) is not _DONE:
                key, program = item
                try:
                    found.put((key, worker.run(program)))
                except BaseException as error:
                    found.put((key, error))

        threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in self._workers]
        for thread in threads:
            thread.start()
        try:
            running = 0
            for item in programs:
                waiting.put(item)
                running += 1
                while running > waiting.maxsize or not found.empty():
                    yield _unless_error(found.get())
                    running -= 1
            for _ in range(running):
                yield _unless_error(found.get())
        finally:
            while not waiting.empty():  # stopped half-way: what has not begun is not run
                waiting.get_nowait()
            for _ in threads:
                waiting.put(_DONE)
            for thread in threads:
                thread.join()

    def record(self) -> dict[str, Any]:
        """What every result carries: isolation, limits, calibration, interpreter."""
        isolation = self.report.to_dict()
        return {
            "isolation": isolation | {"override": self.allow_missing},
            "limits": self.limits.to_dict(),
            "cpu_factor": round(self.factor, 3),
            "workers": len(self._workers),
            "python": platform.python_version(),
        }


def _cores(workers: int | None) -> list[int]:
    """A core for each worker, those that this process may use in turn, begun anywhere: other sandboxes may be running."""
    cores = sorted(os.sched_getaffinity(0))
    first = os.getpid() % len(cores)
    return [cores[(first + i) % len(cores)] for i in range(workers or len(cores))]


def _unless_error(item: tuple[Key, Verdict | BaseException]) -> tuple[Key, Verdict]:
    if isinstance(item[1], BaseException):
        raise item[1]
    return item


def describe_layers() -> dict[str, str]:
    """What `tony doctor` prints: each layer with `yes`, or why it is missing and what to do."""
    found = probe()
    if isinstance(found, str):
        return {"sandbox": f"no: {found}"}
    remedies = {layer.name: layer.remedy or "not required, recorded with results" for layer in LAYERS}
    lines = {
        f"sandbox.{name}": f"missing ({found.missing[name]}): {remedy}" if name in found.missing else "yes"
        for name, remedy in remedies.items()
    }
    ready = "ready" if found.is_complete else "refuses to run: a required layer is missing"
    return {"sandbox": f"{ready}, Landlock ABI {found.landlock_abi}, kernel {found.kernel}", **lines}


def probe() -> Report | str:
    """The layers of this machine, each tried by using it; a sentence where there is nothing to try."""
    if not machine_is_supported():
        return "the sandbox runs on Linux on x86-64 only"
    try:
        worker = Worker(Limits(), 1.0, permissive=True)
    except (TonyError, OSError, subprocess.SubprocessError) as error:
        return str(error)
    try:
        return worker.report
    finally:
        worker.close()
