"""A fork server runs into its own walls before it takes its first program: a layer counts only when it holds.

One child goes up to the filter and tries what each layer must refuse; two more make a call that the filter must kill.
"""

from __future__ import annotations

import _socket
import errno
import marshal
import os
from collections.abc import Callable

from tony.sandbox import kernel
from tony.sandbox.confine import Confinement, lasting_limits, limits_hold


def prove(confinement: Confinement) -> None:
    """Add to `confinement.missing` every layer that does not hold."""
    for layer, reason in _tried(confinement).items():
        confinement.missing.setdefault(layer, reason)
    if "seccomp" not in confinement.missing:
        for call in (lambda: _socket.socketpair(), lambda: os._exit(0) if os.fork() == 0 else None):
            if _ends_by(confinement, call) != kernel.SIGSYS:
                confinement.missing["seccomp"] = "a forbidden call was not stopped"


def _tried(confinement: Confinement) -> dict[str, str]:
    """What a confined child finds when it tries each layer but the filter."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            found = {layer: reason for layer, test in _TESTS.items() if (reason := test())}
            confinement.confine_child(writing, 1)
            if not limits_hold(lasting_limits() | confinement.own_limits):
                found["limits"] = "a limit is not in force"
            os.write(writing, marshal.dumps(found))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        answer = file.read()
    os.waitpid(child, 0)
    return marshal.loads(answer) if answer else dict.fromkeys(_TESTS, "the test of this layer did not end")


def _landlock() -> str:
    try:
        os.listdir("/")
        return "the root folder can be listed"
    except OSError as error:
        if error.errno != errno.EACCES:
            return f"unexpected answer: {error.strerror}"
    try:
        _socket.socket().bind(("127.0.0.1", 0))
        return "a TCP port can be bound"
    except OSError as error:
        return "" if error.errno == errno.EACCES else f"a TCP port is refused only by: {error.strerror}"


def _capabilities() -> str:
    return "some are left" if kernel.capabilities() else ""


def _environment() -> str:
    return "variables are left" if os.environ else ""


def _user() -> str:
    return "" if os.geteuid() else "the programs run as root"


def _namespaces() -> str:
    return "" if os.getppid() == 1 else "not the first process of its tree"


_TESTS = {
    "landlock": _landlock,
    "capabilities": _capabilities,
    "environment": _environment,
    "user": _user,
    "namespaces": _namespaces,
}


def _ends_by(confinement: Confinement, call: Callable[[], object]) -> int:
    """The signal that ends a confined child which makes `call`; 0 where it lives on."""
    child = os.fork()
    if child == 0:
        try:
            confinement.confine_child(3, 0)
            call()
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
