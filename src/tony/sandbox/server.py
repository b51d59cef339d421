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
import marshal
import os
import select
import signal
import socket
import struct
import sys
from typing import Any

from tony.sandbox import landlock
from tony.sandbox.channel import read_all
from tony.sandbox.conclude import ENDED, OUT_OF_MEMORY
from tony.sandbox.confine import Confinement
from tony.sandbox.layers import Report
from tony.sandbox.selftest import prove

# What solutions use most, imported once: a program that imports one of them then pays nothing. Every module here makes every
# fork dearer (dataclasses and hashlib alone by a tenth), so those that few programs use are left to them.
COMMON = (
    "abc bisect cmath collections collections.abc copy decimal enum fractions functools heapq itertools math numbers "
    "operator random re string struct time types typing"
).split()
PACKET = 1 << 16
_MOST_DESCRIPTORS = 4


def main() -> None:
    """Run the server described by the command line; never returns."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    role, settings = sys.argv[2], json.loads(sys.argv[3])
    if settings["core"] is not None:
        os.sched_setaffinity(0, {settings["core"]})
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
    gc.disable()  # the server makes no garbage; its children switch it on again
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
    """One program after another, until the evaluator hangs up.

    After a fork the first write to a page costs a fault, in the server too: few objects are used here, and few calls made.
    """
    space = socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS)
    while True:
        packet, ancillary, _, _ = control.recvmsg(PACKET, space)
        if not packet:
            os._exit(0)
        order = marshal.loads(packet)
        descriptors = struct.unpack(f"{len(ancillary[0][2]) // 4}i", ancillary[0][2])
        child = os.fork()
        if child == 0:
            _become_child(order, descriptors, run, confinement)
        for descriptor in descriptors:
            os.close(descriptor)
        ending = control.recv(PACKET)
        control.send(_end(child, marshal.loads(ending)["grace_s"] if ending else 0.0))


def _become_child(order: dict[str, Any], descriptors: tuple[int, ...], run, confinement: Confinement) -> None:
    """The whole life of a child: confine itself, read its task, run it, leave. The first descriptor holds the task."""
    try:
        confinement.confine_child(order["cpu_s"], order["memory_bytes"], descriptors)
        gc.enable()
        sys.modules["random"].seed(order["seed"])
        run(marshal.loads(read_all(descriptors[0])), *descriptors[1:])
        os._exit(0)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    finally:
        os._exit(1)


def _end(child: int, grace_s: float) -> bytes:
    """Kill and reap the child, which may end by itself within `grace_s`; how it ended and what it cost, in form `ENDED`."""
    is_late = False
    if grace_s:
        ended = os.pidfd_open(child)
        is_late = not select.select([ended], [], [], grace_s)[0]
        os.close(ended)
    os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return ENDED.pack(code, is_late, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
