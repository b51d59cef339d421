"""The fork server: a small interpreter, confined, that forks one process per program and holds no data itself.

Two of them make a worker, one for candidates and one for judges. Programs and tests never pass through a server: it only
receives descriptors, hands them to the child that it forks, and closes its own copies. So no program can find another's
source, or a test, in the memory that it inherits.

    python -c BOOT CONTROL ROLE SETTINGS

CONTROL is the descriptor of a packet socket to the evaluator, ROLE `candidate` or `judge`. First the server says which
layers are in force. Then, per program: an order with the child's descriptors, and later the order to end the child, to
which it answers how the child ended and what it cost. It leaves when the evaluator closes the socket or dies.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
from typing import Any

from tony.sandbox import landlock
from tony.sandbox.channel import read_all
from tony.sandbox.conclude import OUT_OF_MEMORY
from tony.sandbox.confine import Confinement
from tony.sandbox.layers import Report
from tony.sandbox.selftest import prove

# What solutions use, imported once: a program that imports one of them then pays nothing.
COMMON = (
    "array bisect cmath collections collections.abc copy datetime decimal enum fractions functools hashlib heapq "
    "itertools json math numbers operator random re statistics string struct textwrap time types typing "
    "dataclasses abc contextlib io bisect queue"
).split()
PACKET = 1 << 16
_MOST_DESCRIPTORS = 4


def main() -> None:
    """Run the server described by the command line; never returns."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    role, settings = sys.argv[2], json.loads(sys.argv[3])
    run = _role(role)
    _import_common()
    confinement = Confinement(tuple(settings["without"]))
    confinement.confine_server()
    prove(confinement)
    report = Report(confinement.missing, landlock.abi(), os.uname().release)
    control.send(
        json.dumps(
            {"missing": report.missing, "landlock_abi": report.landlock_abi, "kernel": report.kernel}
        ).encode()
    )
    if not report.is_complete and not settings["permissive"]:
        os._exit(3)  # refuse here as well, and not only in the evaluator
    sys.argv[:] = [""]
    for name in [name for name in sys.modules if name.split(".")[0] == "tony"]:
        del sys.modules[name]  # here and not in each child, where it would cost a third of a millisecond
    gc.collect()
    gc.freeze()
    _serve(control, run, confinement)


def _import_common() -> None:
    """Import what programs use, without what these modules do after a fork.

    They ask to be told (to seed `random` anew, to mend locks): the server has one thread and seeds its children itself, and
    those handlers took two thirds of the processor time of a fork, nearly all of it in page faults.
    """
    register, os.register_at_fork = os.register_at_fork, lambda **_: None
    for name in COMMON:
        __import__(name)
    os.register_at_fork = register


def _role(name: str):
    if name == "judge":
        from tony.sandbox.judge import run
    else:
        from tony.sandbox.candidate import run
    return run


def _serve(control: socket.socket, run, confinement: Confinement) -> None:
    """One program after another, until the evaluator hangs up."""
    while True:
        order, descriptors, _, _ = socket.recv_fds(control, PACKET, _MOST_DESCRIPTORS)
        if not order:
            os._exit(0)
        child = os.fork()
        if child == 0:
            _become_child(json.loads(order), descriptors, run, confinement)
        for descriptor in descriptors:
            os.close(descriptor)
        ending = control.recv(PACKET)
        control.send(_end(child, json.loads(ending)["grace_s"] if ending else 0.0))


def _become_child(order: dict[str, Any], descriptors: list[int], run, confinement: Confinement) -> None:
    """The whole life of a child: confine itself, read its task, run it, leave. The first descriptor holds the task."""
    try:
        confinement.confine_child(order["cpu_s"], order["memory_bytes"], tuple(descriptors))
        sys.modules["random"].seed(order["seed"])
        run(json.loads(read_all(descriptors[0])), *descriptors[1:])
        os._exit(0)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    finally:
        os._exit(1)


def _end(child: int, grace_s: float) -> bytes:
    """Kill and reap the child, which may end by itself within `grace_s`; how it ended and what it cost, as JSON."""
    is_late = False
    if grace_s:
        ended = os.pidfd_open(child)
        is_late = not select.select([ended], [], [], grace_s)[0]
        os.close(ended)
    os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    cost = {"cpu_s": usage.ru_utime + usage.ru_stime, "memory_bytes": usage.ru_maxrss * 1024}
    return json.dumps({"status": code, "is_late": is_late, **cost}).encode()
