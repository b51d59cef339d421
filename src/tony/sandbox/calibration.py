"""How fast this machine runs Python, as a factor on processor-time limits."""

from __future__ import annotations

import functools
import subprocess
import sys

# Processor seconds of the program below on the reference machine (one core of an AMD EPYC of the Zen 4 generation, Python
# 3.11, best of 12 rounds: 8.0 to 8.6 ms in three runs). There the factor is 1.
REFERENCE_S = 0.0082
LEAST, MOST = 0.5, 20.0
_ROUNDS = 12
_PROGRAM = """
import time
def work():
    table, total, words = {}, 0, []
    for i in range(40000):
        table[i * 7919 % 4099] = i
        total += table.get(i % 4099, 0) ^ i
        if i % 16 == 0:
            words.append(str(total)[-6:])
    words.sort()
    return sum(len(w) for w in "".join(sorted(words)).split("7")) + sum(x * 0.5 for x in range(20000))
best = 9e9
for _ in range(ROUNDS):
    began = time.process_time()
    work()
    best = min(best, time.process_time() - began)
print(best)
"""


@functools.cache
def speed_factor() -> float:
    """Processor time that Python code takes here over what it takes on the reference machine.

    The best of a dozen short runs in a fresh interpreter (under a second in all): on a busy machine most runs are
    disturbed, and the best is not. Measured once a process.
    """
    code = _PROGRAM.replace("ROUNDS", str(_ROUNDS))
    done = subprocess.run(
        [python_executable(), "-S", "-s", "-P", "-B", "-c", code],
        capture_output=True, text=True, env={"PYTHONHASHSEED": "0"}, check=True,
    )  # fmt: skip
    return min(MOST, max(LEAST, float(done.stdout) / REFERENCE_S))


def python_executable() -> str:
    """The interpreter that runs programs: the one behind this virtual environment, with nothing installed."""
    return getattr(sys, "_base_executable", None) or sys.executable
