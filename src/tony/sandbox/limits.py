"""What one program may use up."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


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
