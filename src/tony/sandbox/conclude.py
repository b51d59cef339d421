"""From what the judge said and how both processes ended to the verdict: one pure function.

The judge alone decides whether answers are right. What the kernel says of the candidate (its status, its processor time)
can only turn a pass into a failure or name a failure better; nothing that a program does to itself can do the reverse.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import Any

from tony.sandbox.verdict import OUT_OF_MEMORY, SILENT, Ending, Verdict


@dataclass
class Heard:
    """What the evaluator knows of one run.

    Attributes:
        is_late: the clock ran out before the verdict.
        has_answered: the program had answered something before the judge ended.
        verdict: the judge's `ending`, `detail` and `calls`, if it gave one.
        candidate, judge: of the two processes: `status` (exit status, or minus a signal), `cpu_s`, `is_late` (it did not
            leave in time), `memory_bytes`.
    """

    is_late: bool = False
    has_answered: bool = False
    verdict: dict[str, Any] | None = None
    candidate: dict[str, Any] = field(default_factory=dict)
    judge: dict[str, Any] = field(default_factory=dict)

    def status_decides(self, is_script: bool) -> bool:
        """Whether the way in which the candidate ended has a say beside the judge's verdict."""
        if self.verdict is None:
            return False
        if is_script:
            return self.verdict["ending"] in (Ending.PASSED, Ending.WRONG)
        return self.verdict["detail"] == SILENT


def conclude(heard: Heard, cpu_s: float, is_script: bool) -> Verdict:
    """The verdict of one run under a limit of `cpu_s` processor seconds on this machine."""
    said = heard.verdict or {"ending": None, "detail": "", "calls": 0}
    calls = said["calls"]
    if said["ending"] == Ending.JUDGE_ERROR:
        return Verdict(Ending.JUDGE_ERROR, said["detail"], calls=calls)
    if heard.candidate["cpu_s"] >= cpu_s:
        return Verdict(Ending.TIME, f"over {cpu_s:.2f} s of processor time", calls=calls)
    if heard.is_late:
        return Verdict(Ending.TIME, "over the limit by the clock", calls=calls)
    if heard.verdict is None:
        return _without_verdict(heard, cpu_s)
    if heard.status_decides(is_script) and (found := _by_status(heard.candidate, is_script)):
        return Verdict(*found, calls=calls)
    return Verdict(Ending(said["ending"]), said["detail"], calls=calls)


def _without_verdict(heard: Heard, cpu_s: float) -> Verdict:
    """The judge died. Once the program had answered, its answers may be why, so this does not excuse it."""
    if not heard.has_answered:
        return Verdict(
            Ending.JUDGE_ERROR, f"the tests ended with status {heard.judge['status']} before any answer"
        )
    if heard.judge["cpu_s"] >= cpu_s:
        return Verdict(Ending.TIME, "the tests took too long on the program's answers")
    if heard.judge["status"] == OUT_OF_MEMORY:
        return Verdict(Ending.MEMORY, "the tests ran out of memory on the program's answers")
    return Verdict(Ending.PROTOCOL, "the tests died of the program's answers")


def _by_status(candidate: dict[str, Any], is_script: bool) -> tuple[Ending, str] | None:
    """What the way in which the candidate ended says about a run; None where it says nothing."""
    status = candidate["status"]
    if candidate["is_late"]:
        return Ending.TIME, "it closed its output and did not end"
    if status == -signal.SIGSYS:
        return Ending.DENIED_CALL, "it made a system call that is not allowed"
    if status == OUT_OF_MEMORY:
        return Ending.MEMORY, "out of memory"
    if status == -signal.SIGKILL:  # by us: it was still there
        return Ending.PROTOCOL, "it closed its channel"
    if status < 0:
        return Ending.EXCEPTION, f"ended by {_name_of_signal(-status)}"
    if status > 0 or not is_script:
        return Ending.EXCEPTION, f"left with exit status {status}"
    return None


def _name_of_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal between the first and the last
        return f"signal {number}"
