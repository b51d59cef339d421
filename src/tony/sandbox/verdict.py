"""How a program ended, and what it cost."""

from __future__ import annotations

import struct
from enum import StrEnum
from typing import NamedTuple

ANSWERED = b"."  # what a judge reports once the program has answered anything
END, WAIT = (
    b"\0",
    b"\1",
)  # orders to a server: have its child killed now, or once it has left or the next order comes
ENDED = struct.Struct("=i4x4qq104x")  # how a child ended: the status and the struct rusage that wait4 gives
SILENT = "the program went silent"  # what a judge says when the channel has closed
OUT_OF_MEMORY = 71  # exit status of a process that ran out of memory; faking it only names a failure


class Ending(StrEnum):
    """The eight ways in which a run ends. Only `PASSED` counts for the program; `JUDGE_ERROR` does not count against it."""

    PASSED = "passed"
    WRONG = "wrong"  # it answered, and a test said no
    EXCEPTION = "exception"  # it raised, left, crashed or could not be compiled
    TIME = "time"
    MEMORY = "memory"
    DENIED_CALL = "denied call"  # it made a system call that is not on the list
    PROTOCOL = "protocol"  # it sent something other than plain values, or went silent
    JUDGE_ERROR = "judge error"  # the tests could not be run: the problem's fault or the machine's


class Verdict(NamedTuple):
    """What the judge found.

    Attributes:
        ending: how the run ended.
        detail: one line on why, for people.
        cpu_s: processor seconds of the program, user and system, on this machine (not scaled).
        wall_s: seconds from the order to the verdict.
        memory_bytes: largest resident size of the program's process.
        calls: how often the tests called the program, or cases run.
    """

    ending: Ending
    detail: str = ""
    cpu_s: float = 0.0
    wall_s: float = 0.0
    memory_bytes: int = 0
    calls: int = 0

    @property
    def passed(self) -> bool:
        return self.ending is Ending.PASSED
