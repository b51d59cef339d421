"""How a process is confined: once for a fork server, whose children inherit it, then finally for each child.

A fork server gives up files, privileges and, where it can, the sight of the machine. A child then takes the limits and the
system-call filter, which its server cannot have: forking is not on the list. Each layer is tried and what the machine
refuses is recorded, never skipped in silence; `tony.sandbox.selftest` then proves the layers by running into them.
"""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Callable, Mapping

from tony.sandbox import kernel, landlock, library, namespaces
from tony.sandbox.seccomp import Filter

STACK_BYTES = 8 << 20
OPEN_FILES = 16
SERVER_FILES = 64  # descriptors that a server may hold; `closerange` up to there closes all


class Confinement:
    """The layers of one fork server and of its children.

    Args:
        limits: of each child, from `own_limits`.
        without: layers to leave out, for tests that show what each is for.

    Attributes:
        own_limits: those of `limits` that each child takes.
        missing: layer name -> why it is not in force.
    """

    def __init__(self, limits: Mapping[int, int], without: tuple[str, ...] = ()):
        self._without = without
        self.own_limits = {} if "limits" in without else dict(limits)
        self._pairs = [(name, (most, most)) for name, most in self.own_limits.items()]
        self._filter: Filter | None = None
        self.missing: dict[str, str] = dict.fromkeys(without, "switched off for a test")

    def confine_server(self) -> None:
        """Confine this process for good. It may continue as a child of itself, in a process tree of its own."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (SERVER_FILES, SERVER_FILES))
        rules: list[landlock.Ruleset] = []
        self._try("landlock", lambda: rules.append(_reading_only()))
        self._enter_namespaces()
        self._become_nobody()
        os.environ.clear()
        kernel.prctl("no_new_privs", kernel.PR_SET_NO_NEW_PRIVS, 1)
        self._try("capabilities", kernel.drop_capabilities)
        for ruleset in rules:
            self._try("landlock", ruleset.restrict)
        if "limits" not in self._without:
            apply_limits(lasting_limits())
        self._try("seccomp", self._assemble)
        kernel.prctl("dumpable", kernel.PR_SET_DUMPABLE, 0)

    def confine_child(self, first: int, count: int) -> None:
        """Confine this process, just forked from a server, for good; of its descriptors, `count` from `first` on stay open."""
        kernel.die_with_parent()
        self._close_all_but(first, first + count)
        for name, pair in self._pairs:
            resource.setrlimit(name, pair)
        if self._filter is not None:
            self._filter.install()

    def _assemble(self) -> None:
        if not kernel.machine_is_supported():
            raise OSError(f"no list of system calls for {os.uname().machine}")
        self._filter = Filter()

    def _enter_namespaces(self) -> None:
        if "namespaces" not in self._without and _works(namespaces.enter_namespaces):
            namespaces.enter_namespaces()
            namespaces.continue_as_first_process()
            self._try("view", lambda: namespaces.view_only(library.visible_paths()))
        else:
            self.missing.setdefault("namespaces", "this machine does not permit them to this user")
            self.missing.setdefault("view", "it needs namespaces")

    def _become_nobody(self) -> None:
        """Root becomes nobody, unless nobody could not reach the library where it lies (there is no view of its own)."""

        def read_as_nobody() -> None:
            namespaces.become_nobody()
            os.listdir(library.standard_library())

        if os.geteuid() == 0 and "user" not in self._without:
            if _works(read_as_nobody):
                namespaces.become_nobody()
            else:
                self.missing["user"] = "only root can read the standard library, and there is no view of it"

    def _close_all_but(self, first: int, last: int) -> None:
        """Close what the server had open; standard streams become a null device that no other program shares."""
        null = os.open("/dev/null", os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        os.closerange(3, first)
        os.closerange(last, SERVER_FILES)

    def _try(self, layer: str, action: Callable[[], object]) -> None:
        if layer in self.missing:
            return
        try:
            action()
        except OSError as error:
            self.missing[layer] = error.strerror or str(error)


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


def _reading_only() -> landlock.Ruleset:
    """The rules: modules, shared libraries and time zones may be read, the null device written, nothing else touched."""
    version = landlock.abi()
    if version < landlock.LEAST_ABI:
        raise OSError(
            f"its ABI is {version}, and {landlock.LEAST_ABI} is needed" if version else "not in this kernel"
        )
    rules = landlock.Ruleset()
    rules.allow_path(library.standard_library(), landlock.READ_DIR)
    for path in library.library_modules():
        rights = landlock.READ_FILE | (landlock.READ_DIR if os.path.isdir(path) else 0)
        rules.allow_path(path, rights)
    for path in (*library.shared_libraries(), *library.FILES):
        rules.allow_path(path, landlock.READ_FILE)
    for path in library.FOLDERS:
        rules.allow_path(path, landlock.READ_FILE | landlock.READ_DIR)
    for path in library.DEVICES:
        rules.allow_path(path, landlock.READ_FILE | (landlock.WRITE_FILE if path == "/dev/null" else 0))
    return rules


def _works(action: Callable[[], object]) -> bool:
    """Whether a child of this process can do it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0
