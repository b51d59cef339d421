"""The fork server: a small interpreter, confined, that forks one process per program and holds no data itself.

Two of them make a worker, one for candidates and one for judges. Programs and tests never pass through a server: it only
receives descriptors, hands them to the child that it forks, and closes its own copies. So no program can find another's
source, or a test, in the memory that it inherits.

    python -c BOOT ROLE

ROLE is `candidate` or `judge`. Standard input is a packet socket to the evaluator; its first packet holds the settings, and the
answer says which layers are in force. Then, per program: an order with the child's descriptors, and later the order to end
the child, to which the server answers how it ended and what it cost. It leaves when the evaluator closes the socket or dies.

Orders and endings lie in two buffers, each written over or cleared before the next fork, and no object is made of either:
freed memory is inherited too, and one program must not learn from it what became of another.
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
from tony.sandbox.verdict import OUT_OF_MEMORY, WAIT

# What solutions use most, imported once: a program that imports one of them then pays nothing. Every module here makes every
# fork dearer (dataclasses and hashlib alone by a tenth), so those that few programs use are left to them.
COMMON = (
    "abc bisect cmath collections collections.abc copy decimal enum fractions functools heapq itertools math numbers "
    "operator random re string struct time types typing"
).split()
_CONTROL, _FIRST = 0, 3  # the socket, and the lowest free descriptor: those received begin there
_MOST_DESCRIPTORS = 4
_SETTINGS_BYTES, _SEED_BYTES = 1 << 12, 4
_emptied: list = []  # kept: the holes that they would leave in the heap cost a program 20 page faults of 800


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
    _forget_where_it_lies()
    for name in [name for name in sys.modules if name.split(".")[0] == "tony"]:
        del sys.modules[name]  # here and not in each child, where it would cost a third of a millisecond
    gc.collect()
    gc.freeze()
    gc.disable()  # the server makes no garbage; its children switch it on again
    _serve(control, run, confinement)


def _forget_where_it_lies() -> None:
    """Drop the command line, which holds the sandbox's path, and the listings of the folders from which it was imported."""
    sys.argv[:] = [""]
    sys.orig_argv[:] = []
    ours = sys.modules["tony"].__path__[0]
    for path in [path for path in sys.path_importer_cache if path.startswith(ours)]:
        _emptied.append(sys.path_importer_cache.pop(path))
        _emptied[-1]._path_cache.clear()


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
    order = bytearray(_SEED_BYTES)
    into = [order]
    while True:
        size, ancillary, _, _ = control.recvmsg_into(into, space)
        if not size:
            os._exit(0)
        if not ancillary:
            continue  # the order that ended a wait
        child = os.fork()
        if child == 0:
            _become_child(order, len(ancillary[0][2]) // 4, run, confinement)
        os.closerange(_FIRST, _FIRST + _MOST_DESCRIPTORS)
        control.recv_into(order)
        if order[0] == WAIT[0]:
            _wait(child, control)
        os.kill(child, kernel.SIGKILL)
        control.send(kernel.reap(child))
        kernel.forget()


def _become_child(order: bytearray, count: int, run: Callable, confinement: Confinement) -> None:
    """The whole life of a child: confine itself, read its task, run it, leave.

    Args:
        order: the seed of its random numbers.
        count: of the descriptors that came with it, of which the first holds the task.
    """
    try:
        confinement.confine_child(_FIRST, count)
        gc.enable()
        sys.modules["random"].seed(int.from_bytes(order, "little"))
        run(marshal.loads(read_all(_FIRST)), *range(_FIRST + 1, _FIRST + count))
        os._exit(0)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    finally:
        os._exit(1)


def _wait(child: int, control: _socket.socket) -> None:
    """Until the child has ended or the evaluator, which keeps the time, says something; that is left to be read."""
    ended = os.pidfd_open(child)
    select.select([ended, control], [], [])
    os.close(ended)
