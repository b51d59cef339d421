"""How a program ended, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(frozen=True)
class Verdict:
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
