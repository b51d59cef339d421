"""What one program may use up, and how the limits are put in force."""

from __future__ import annotations

import math
import resource
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

STACK_BYTES = 8 << 20
OPEN_FILES = 16


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of one program.

    Attributes:
        cpu_s: processor seconds on the reference machine; on this machine they are multiplied by its calibration, so
            that a slow or a busy machine fails no program that a fast and idle one passes.
        wall_s: seconds by the clock, loose: it ends programs that sleep. The time that a program waits for a busy
            processor counts, so it should stay several times cpu_s.
        memory_bytes: address space of the program, the interpreter included.
        source_bytes: longest program.
    """

    cpu_s: float = 3.0
    wall_s: float = 30.0
    memory_bytes: int = 512 << 20
    source_bytes: int = 1 << 20

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def lasting_limits() -> dict[int, int]:
    """The limits that a fork server can live under itself, so that its children have them from birth.

    No file may grow (`RLIMIT_FSIZE` 0).
    """
    return {
        resource.RLIMIT_STACK: STACK_BYTES,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }


def own_limits(cpu_s: float, memory_bytes: int) -> dict[int, int]:
    """The limits that only a child can have.

    `RLIMIT_CPU` counts whole seconds and is only what stops a program; the exact comparison is made when it has ended. It
    lies above the limit, never at it: the kernel ends a process a tick before its reported time reaches the number.
    `RLIMIT_NPROC` is not relied on: it does not hold for root.
    """
    return {
        resource.RLIMIT_CPU: math.floor(cpu_s) + 1,
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_NPROC: 0,
    }


def apply_limits(limits: Mapping[int, int]) -> None:
    """Put limits in force for this process and its children, for good: soft and hard limits are the same."""
    for name, most in limits.items():
        resource.setrlimit(name, (most, most))


def limits_hold(limits: Mapping[int, int]) -> bool:
    """Whether this process is under these limits or lower ones and cannot raise them."""
    return all(0 <= max(resource.getrlimit(name)) <= most for name, most in limits.items())
