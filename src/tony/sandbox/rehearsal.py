"""A known program, played in a fork server before it is confined and takes its first order.

The interpreter specialises code that has run a few times, by writing to it, and fills caches (of attributes, of formats).
What has been done once in a server is there for all its children: each would else do it again, at a page fault for every
page that is written to. Without it a program takes 60 page faults of 900 more, and 8% more processor time.
"""

from __future__ import annotations

import _socket
import os
import sys

ROUNDS = 12  # code is specialised from its eighth run on
_SOURCE = '''
import math
from typing import List


def helper(x):
    """Twice."""
    return x * 2


def f(numbers: List[int], name: str = "a") -> List[str]:
    """Some of what programs do.
    >>> f([1, 2])
    ['a2', 'a4']
    """
    found, seen = [], {}
    for n in sorted(numbers):
        seen[n] = seen.get(n, 0) + 1
        found.append(name + str(helper(n)))
    if len(numbers) == 3:
        return math.sqrt(4.0)
    return [word.strip().lower() for word in " ".join(found).split(" ") if word and not word.isdigit()]
'''
_TEST = """
def check(candidate):
    assert candidate([1, 2]) == ["a2", "a4"]
    assert candidate([1, 2], "b") == ["b2", "b4"], "by position"
    assert candidate([], name="b") == []
    assert abs(candidate([1, 2, 3]) - 2.0) < 1e-6
    assert candidate([5] * 10) == ["a10"] * 10
    assert candidate([True]) != (None, False, {1: 2}, {3}, -1)
"""
_CANDIDATE = {"profile": "function", "source": _SOURCE, "entry": "f"}
_JUDGE = {"profile": "function", "entry": "f", "test": _TEST, "prompt": _SOURCE}


def rehearse(role: str) -> None:
    """Play the program `ROUNDS` times: this process in its `role`, a child of it in the other.

    Raises RuntimeError where the program does not pass, which would be a fault of the sandbox.
    """
    channels = [_socket.socketpair() for _ in range(ROUNDS)]
    child = os.fork()
    if child == 0:
        try:
            _play("candidate" if role == "judge" else "judge", channels)
            os._exit(0)
        finally:
            os._exit(1)
    _play(role, channels)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("the rehearsal did not pass")


def _play(role: str, channels: list[tuple[_socket.socket, _socket.socket]]) -> None:
    """Play all rounds in one role. The ends of the other are closed first, so that neither waits for a dead one."""
    for ours, theirs in channels:
        (theirs if role == "judge" else ours).close()
    if role == "judge":
        _judge([ours.fileno() for ours, _ in channels])
    else:
        from tony.sandbox.candidate import run

        for _, theirs in channels:
            run(_CANDIDATE, theirs.fileno())
        del sys.modules["candidate"]


def _judge(channels: list[int]) -> None:
    from tony.sandbox.judge import run

    reading, writing = os.pipe()
    for channel in channels:
        run(_JUDGE, channel, writing)
        if b"passed" not in os.read(reading, 4096):
            raise RuntimeError("the rehearsal did not pass")
    os.close(reading)
    os.close(writing)
