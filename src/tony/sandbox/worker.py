"""One worker: a server of candidates, a server of judges, and the order of events of one program.

    evaluator --order, descriptors--> candidate server --fork--> CANDIDATE
        |                                                            |  one socket: plain values only
        +-----order, descriptors--> judge server ------fork-------> JUDGE --verdict--> evaluator

The evaluator makes fresh descriptors for every program, waits for the verdict until the clock runs out, has both children
killed and reaped, and only then reads from the kernel what the candidate cost and how it died.
"""

from __future__ import annotations

import contextlib
import fcntl
import marshal
import os
import select
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from tony.errors import TonyError
from tony.sandbox.calibration import python_executable
from tony.sandbox.conclude import Heard, conclude
from tony.sandbox.layers import Report
from tony.sandbox.limits import Limits
from tony.sandbox.profiles import Program, Round, seed_of
from tony.sandbox.verdict import ANSWERED, END, ENDED, WAIT, Ending, Verdict

_HERE = Path(__file__).resolve().parent
# The packages are made by hand: importing `tony` itself would run its __init__, which needs numpy.
_BOOT = (
    "import sys, types\n"
    f"for name, path in (('tony', {str(_HERE.parent)!r}), ('tony.sandbox', {str(_HERE)!r})):\n"
    "    sys.modules[name] = package = types.ModuleType(name)\n"
    "    package.__path__ = [path]\n"
    "from tony.sandbox.server import main\n"
    "main()\n"
)
_START_S, _ANSWER_S = 60.0, 20.0
_PACKET = 1 << 16
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class ServerLost(Exception):
    """A fork server died or does not answer; its worker must be replaced."""


class _Server:
    """The evaluator's hold on one fork server."""

    def __init__(self, role: str, settings: dict[str, Any]):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = ours
        # LD_BIND_NOW: symbols are looked up here and not in each child, which saves a program 30 page faults.
        self._process = subprocess.Popen(
            [python_executable(), "-S", "-s", "-P", "-B", "-c", _BOOT, role],
            stdin=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "LD_BIND_NOW": "1"}, cwd="/", start_new_session=True,
        )  # fmt: skip
        theirs.close()
        try:
            self._send(marshal.dumps(settings))
            self.report = Report(**marshal.loads(self._receive(_START_S)))
        except ServerLost:
            self.close()
            raise TonyError(
                f"the sandbox's {role} server did not start: run `{python_executable()} -S -c 'import json'` to see "
                "whether the interpreter works here"
            ) from None

    def order(self, seed: int, descriptors: list[int]) -> None:
        try:
            socket.send_fds(self._control, [seed.to_bytes(4, "little")], descriptors)
        except OSError:
            raise ServerLost from None

    def end(self, waits: bool = False) -> None:
        """Have the child killed and reaped; one that the server `waits` for may end by itself first."""
        self._send(WAIT if waits else END)

    def ended(self, deadline: float | None = None) -> dict[str, Any]:
        """How the child ended, after `end`; if the server waits, no longer than until `deadline`."""
        is_late = deadline is not None and not _is_readable_by(deadline, self._control.fileno())
        if is_late:
            self._send(END)
        status, *times, kib = ENDED.unpack(self._receive(_ANSWER_S))
        return {
            "status": os.waitstatus_to_exitcode(status),
            "is_late": is_late,
            "cpu_s": times[0] + times[2] + (times[1] + times[3]) / 1e6,
            "memory_bytes": kib * 1024,
        }

    def _send(self, packet: bytes) -> None:
        try:
            self._control.send(packet)
        except OSError:
            raise ServerLost from None

    def _receive(self, patience_s: float) -> bytes:
        self._control.settimeout(patience_s)
        try:
            packet = self._control.recv(_PACKET)
        except OSError:
            raise ServerLost from None
        if not packet:
            raise ServerLost
        return packet

    def close(self) -> None:
        """Hang up, which ends the server and its child; kill it if it stays."""
        self._control.close()
        try:
            self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Worker:
    """Runs one program at a time.

    Args:
        limits: of each round.
        factor: this machine's calibration.
        permissive: go on where a required layer is missing.
        without: layers to leave out, for tests.
        core: the processor core that all its processes stay on. Candidate and judge speak by turns, so a second core
            would only add the cost of waking it: on one core a third more programs are run.

    Raises:
        TonyError: a required layer is missing, or the interpreter does not start.
    """

    def __init__(
        self,
        limits: Limits,
        factor: float,
        permissive: bool = False,
        without: tuple[str, ...] = (),
        core: int | None = None,
    ):
        self.limits = limits
        self._cpu_s = limits.cpu_s * factor
        self._settings = {
            "permissive": permissive,
            "without": without,
            "core": core,
            "cpu_s": self._cpu_s,
            "memory_bytes": limits.memory_bytes,
        }
        self._servers: list[_Server] = []
        self._start()

    def _start(self) -> None:
        permissive = self._settings["permissive"]
        try:
            for role in ("candidate", "judge"):
                self._servers.append(_Server(role, self._settings))
                if not permissive:
                    self._servers[-1].report.refuse_if_incomplete()
        except BaseException:
            self.close()
            raise
        self.report = self._servers[0].report.merged(self._servers[1].report)

    def close(self) -> None:
        while self._servers:
            self._servers.pop().close()

    def run(self, program: Program) -> Verdict:
        """Run all rounds of `program`; the first that does not pass is the verdict."""
        if len(program.source) > self.limits.source_bytes:
            return Verdict(
                Ending.MEMORY,
                f"the program has {len(program.source)} characters, {self.limits.source_bytes} are allowed: not run",
            )
        total = Verdict(Ending.JUDGE_ERROR, "there is nothing to judge it by")
        for number, one in enumerate(program.rounds()):
            found = self._run_or_replace(one)
            total = found._replace(
                detail=f"{one.name}{found.detail}" if found.detail else "",
                cpu_s=found.cpu_s + (total.cpu_s if number else 0.0),
                wall_s=found.wall_s + (total.wall_s if number else 0.0),
                memory_bytes=max(found.memory_bytes, total.memory_bytes),
                calls=found.calls + (total.calls if number else 0),
            )
            if not found.passed:
                break
        return total

    def _run_or_replace(self, one: Round) -> Verdict:
        """Run a round; a lost server is replaced and the round tried once more."""
        for _ in range(2):
            try:
                return self._run_round(one)
            except ServerLost:
                self.close()
                self._start()
        return Verdict(
            Ending.JUDGE_ERROR, "the sandbox's servers were lost twice; the machine may be out of memory"
        )

    def _run_round(self, one: Round) -> Verdict:
        began = time.monotonic()
        deadline = began + self.limits.wall_s
        candidate, judge = self._servers
        listening, reporting = os.pipe()
        try:
            with _Handed() as handed:
                ours, theirs = handed.socket_pair()
                told = [handed.file(one.candidate), theirs]
                if one.stdin is not None:
                    told.append(handed.file(one.stdin))
                asked = [handed.file(one.judge), ours, handed.keep(reporting)]
                candidate.order(seed_of(one.candidate), told)
                judge.order(seed_of(one.judge), asked)
            heard = _listen(listening, deadline)
        finally:
            os.close(listening)
        is_script = one.stdin is not None
        waits = is_script and heard.status_decides(is_script)  # a script may close its output and go on
        candidate.end(waits)
        judge.end()  # both are told before either is waited for: fewer changes of process
        heard.candidate = candidate.ended(deadline if waits else None)
        heard.judge = judge.ended()
        return conclude(heard, self._cpu_s, is_script)._replace(
            cpu_s=heard.candidate["cpu_s"],
            wall_s=time.monotonic() - began,
            memory_bytes=heard.candidate["memory_bytes"],
        )


class _Handed:
    """Descriptors that are closed here once the servers have them: a socket ends only when nobody else holds its end."""

    def __init__(self) -> None:
        self._held: list[int] = []

    def __enter__(self) -> _Handed:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._held:
            os.close(descriptor)

    def keep(self, descriptor: int) -> int:
        self._held.append(descriptor)
        return descriptor

    def socket_pair(self) -> tuple[int, int]:
        ours, theirs = socket.socketpair()
        return self.keep(ours.detach()), self.keep(theirs.detach())

    def file(self, content: bytes | dict[str, Any]) -> int:
        """A file in memory that holds `content` and that nobody can change."""
        data = content if isinstance(content, bytes) else marshal.dumps(content)
        descriptor = self.keep(os.memfd_create("task", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
        rest = memoryview(data)
        while rest:  # without moving the offset, which a reader of standard input shares
            rest = rest[os.pwrite(descriptor, rest, len(data) - len(rest)) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        return descriptor


def _listen(descriptor: int, deadline: float) -> Heard:
    """What the judge reports until it has given its verdict, has died, or the clock runs out."""
    got = b""
    while not got.endswith(b"\n"):
        if not _is_readable_by(deadline, descriptor):
            return Heard(is_late=True, has_answered=got.startswith(ANSWERED))
        part = os.read(descriptor, 4096)
        if not part:
            return Heard(has_answered=got.startswith(ANSWERED))
        got += part
    ending, calls, detail = got.lstrip(ANSWERED).decode("utf-8").rstrip("\n").split("\t", 2)
    verdict = {"ending": ending, "calls": int(calls), "detail": detail}
    return Heard(has_answered=got.startswith(ANSWERED), verdict=verdict)


def _is_readable_by(deadline: float, descriptor: int) -> bool:
    """Whether there is something to read, or the end, before the clock shows `deadline`."""
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    left_ms = (deadline - time.monotonic()) * 1000
    return left_ms > 0 and bool(ready.poll(left_ms))
