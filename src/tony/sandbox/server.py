"""The fork server: a small interpreter, confined, that forks one process per program and holds no data itself.

Two of them make a worker, one for candidates and one for judges. Programs and tests never pass through a server: it only
receives descriptors, hands them to the child that it forks, and closes its own copies. So no program can find another's
source, or a test, in the memory that it inherits.

    python -c BOOT ROLE

ROLE is `candidate` or `judge`. Standard input is a packet socket to the evaluator; its first packet holds the settings, and the
answer says which layers are in force. Then, per program: an order with the child's descriptors, and later the order to end
the child, to which the server answers how it ended and what it cost. It leaves when the evaluator closes the socket or dies.
"""

from __future__ import annotations

import _socket  # `socket`, `signal`, `json`, `dataclasses` and `sysconfig` would add a quarter to what each fork copies
import gc
import marshal
import os
import select
import sys
from collections.abc import Callable

from tony.sandbox import kernel, landlock
from tony.sandbox.channel import read_all
from tony.sandbox.confine import Confinement, own_limits
from tony.sandbox.layers import Report
from tony.sandbox.rehearsal import rehearse
from tony.sandbox.selftest import prove
from tony.sandbox.verdict import OUT_OF_MEMORY

# What solutions use most, imported once: a program that imports one of them then pays nothing. Every module here makes every
# fork dearer (dataclasses and hashlib alone by a tenth), so those that few programs use are left to them.
COMMON = (
    "abc bisect cmath collections collections.abc copy decimal enum fractions functools heapq itertools math numbers "
    "operator random re string struct time types typing"
).split()
_CONTROL, _FIRST = 0, 3  # the socket, and the lowest free descriptor: those received begin there
_MOST_DESCRIPTORS = 4
_SETTINGS_BYTES, _ORDER_BYTES = 1 << 12, 1 << 6


def main() -> None:
    """Run the server described by the command line; never returns."""
    control = _socket.socket(fileno=_CONTROL)
    role, settings = sys.argv[1], marshal.loads(control.recv(_SETTINGS_BYTES))
    if settings["core"] is not None:
        os.sched_setaffinity(0, {settings["core"]})
    _import_common()
    rehearse(role)
    run = _role(role)
    limits = own_limits(settings["cpu_s"], settings["memory_bytes"])
    confinement = Confinement(limits, settings["without"])
    confinement.confine_server()
    prove(confinement)
    report = Report(confinement.missing, landlock.abi(), os.uname().release)
    control.send(marshal.dumps(report._asdict()))
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


def _role(name: str) -> Callable:
    if name == "judge":
        from tony.sandbox.judge import run
    else:
        from tony.sandbox.candidate import run
    return run


def _serve(control: _socket.socket, run: Callable, confinement: Confinement) -> None:
    """One program after another, until the evaluator hangs up.

    After a fork the first write to a page costs a fault, in the server too: few objects are used here, and few calls made.
    """
    space = _socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS)
    while True:
        order, ancillary, _, _ = control.recvmsg(_ORDER_BYTES, space)
        if not order:
            os._exit(0)
        child = os.fork()
        if child == 0:
            _become_child(order, len(ancillary[0][2]) // 4, run, confinement)
        os.closerange(_FIRST, _FIRST + _MOST_DESCRIPTORS)
        ending = control.recv(_ORDER_BYTES)
        control.send(_end(child, marshal.loads(ending) if ending else 0.0))


def _become_child(order: bytes, count: int, run: Callable, confinement: Confinement) -> None:
    """The whole life of a child: confine itself, read its task, run it, leave.

    Args:
        order: the seed of its random numbers.
        count: of the descriptors that came with it, of which the first holds the task.
    """
    try:
        confinement.confine_child(_FIRST, count)
        gc.enable()
        sys.modules["random"].seed(marshal.loads(order))
        run(marshal.loads(read_all(_FIRST)), *range(_FIRST + 1, _FIRST + count))
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
    os.kill(child, kernel.SIGKILL)
    return (b"\1" if is_late else b"\0") + kernel.reap(child)
