"""The few system calls that Python does not offer, called through ctypes; each raises OSError as os functions do."""

from __future__ import annotations

import ctypes
import os

SIGKILL, SIGSYS = 9, 31  # the module `signal` would make every fork dearer
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP = 1, 4, 22
PR_CAPBSET_DROP, PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS = 24, 28, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
MNT_DETACH = 2
CAPABILITY_VERSION_3 = 0x20080522
# x86-64 numbers; `machine_is_supported` guards them.
SYS_PIVOT_ROOT, SYS_CAPGET, SYS_CAPSET = 155, 125, 126

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def machine_is_supported() -> bool:
    """Whether this is 64-bit Linux on x86-64, the only kind whose system-call numbers are known here."""
    host = os.uname()
    return host.sysname == "Linux" and host.machine == "x86_64" and ctypes.sizeof(ctypes.c_void_p) == 8


def check(result: int, what: str) -> int:
    """`result`, or an OSError that says `what` failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(what: str, number: int, *arguments: object) -> int:
    return check(_libc.syscall(ctypes.c_long(number), *arguments), what)


def prctl(what: str, option: int, *arguments: int) -> int:
    words = [ctypes.c_ulong(word) for word in (*arguments, 0, 0, 0, 0)[:4]]
    return check(_libc.prctl(ctypes.c_int(option), *words), what)


def die_with_parent() -> None:
    """The kernel kills this process when its parent ends."""
    check(_libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "parent-death signal")


_ended = ctypes.create_string_buffer(8 + 144)  # an int and its padding, struct rusage
_usage = ctypes.byref(_ended, 8)


def reap(child: int) -> ctypes.Array:
    """Wait for `child` to end: its status and its struct rusage, as the kernel writes them, until `forget` is called.

    os.wait4 makes objects of them: that costs a fork server two dozen page faults, and the next child could read them.
    """
    check(_libc.wait4(child, _ended, 0, _usage), "wait4")
    return _ended


def forget() -> None:
    """Clear what `reap` gave, which a child would inherit."""
    ctypes.memset(_ended, 0, len(_ended))


def unshare(what: str, flags: int) -> None:
    check(_libc.unshare(ctypes.c_int(flags)), what)


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    texts = [text.encode() if text is not None else None for text in (source, target, kind, options)]
    check(
        _libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]), f"mount {source} {target}"
    )


def pivot_root_here() -> None:
    """The working directory becomes the root of the file tree, and the old root is let go."""
    syscall("pivot_root", SYS_PIVOT_ROOT, b".", b".")
    check(_libc.umount2(b".", MNT_DETACH), "umount of the old root")
    os.chdir("/")


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


_CapabilitySets = ctypes.c_uint32 * 6  # effective, permitted, inheritable: low words, then high words


def capabilities() -> int:
    """The union of this thread's effective, permitted and inheritable capabilities as a bit mask."""
    sets = _CapabilitySets()
    syscall("capget", SYS_CAPGET, ctypes.byref(_CapabilityHeader(CAPABILITY_VERSION_3, 0)), sets)
    return (sets[0] | sets[1] | sets[2]) | (sets[3] | sets[4] | sets[5]) << 32


def drop_capabilities() -> None:
    """Give up every capability, and the ways to get one back.

    The bounding set and the secure bits can be changed only by a process with CAP_SETPCAP; without it there is
    nothing to drop, and no_new_privs keeps execve from adding any.
    """
    for capability in range(64):
        if _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break  # the last capability that the kernel knows, or no right to drop any
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    no_root_no_fixup_locked = 0x2F  # NOROOT, NO_SETUID_FIXUP and KEEP_CAPS off, each with its lock
    _libc.prctl(PR_SET_SECUREBITS, no_root_no_fixup_locked, 0, 0, 0)
    header = _CapabilityHeader(CAPABILITY_VERSION_3, 0)
    syscall("capset", SYS_CAPSET, ctypes.byref(header), _CapabilitySets())
