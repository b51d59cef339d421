"""The system calls that a confined program may make: an allow-list in the kernel's filter language (classic BPF).

Candidate and judge run under the same list. A call that is not on it ends the process with SIGSYS, which no program can
catch, fake or survive: that is how `denied call` is known. What a well-meaning program may do by accident and handle
(asking a terminal's settings, starting a thread through clone3 before clone) answers with an error number first.

The list is short on purpose. Reading and writing are allowed, but only on descriptors that are open; opening is allowed,
but Landlock decides of what. There is no call on it that signals or changes another process, makes one, or makes a socket:
`prlimit64` only reads and only of the caller, `fcntl` cannot say who receives a descriptor's signals (F_SETOWN with F_SETSIG would
let a program signal others of its user), and `futex` wakes no other process (they share the pages of libraries).
"""

from __future__ import annotations

import ctypes
import struct

from tony.sandbox import kernel

ALLOWED = {
    # read, write and look at open descriptors
    "read": 0, "write": 1, "close": 3, "fstat": 5, "poll": 7, "lseek": 8, "pread64": 17, "pwrite64": 18,
    "readv": 19, "writev": 20, "select": 23, "dup": 32, "dup2": 33, "dup3": 292, "pselect6": 270, "ppoll": 271,
    "close_range": 436,
    # names in the file tree (Landlock decides what may be opened)
    "open": 2, "openat": 257, "stat": 4, "lstat": 6, "newfstatat": 262, "statx": 332, "access": 21,
    "faccessat": 269, "faccessat2": 439, "readlink": 89, "readlinkat": 267, "getdents": 78, "getdents64": 217,
    "getcwd": 79, "chdir": 80, "umask": 95,
    # memory
    "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "mremap": 25, "madvise": 28,
    # signals to oneself, timers, sleep
    "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "rt_sigpending": 127, "rt_sigtimedwait": 128,
    "rt_sigsuspend": 130, "sigaltstack": 131, "pause": 34, "alarm": 37, "getitimer": 36, "setitimer": 38,
    "nanosleep": 35, "clock_nanosleep": 230, "restart_syscall": 219,
    # clocks, random bytes, and who one is
    "gettimeofday": 96, "time": 201, "times": 100, "clock_gettime": 228, "clock_getres": 229, "getrandom": 318,
    "getpid": 39, "getppid": 110, "gettid": 186, "getpgrp": 111, "getuid": 102,
    "getgid": 104, "geteuid": 107, "getegid": 108, "getresuid": 118, "getresgid": 120, "getgroups": 115,
    "getrlimit": 97, "getrusage": 98, "uname": 63, "sysinfo": 99, "getcpu": 309,
    # threads of one: scheduling
    "sched_yield": 24, "sched_getaffinity": 204,
    "exit": 60, "exit_group": 231,
}  # fmt: skip
FCNTL, IOCTL, PRLIMIT64, CLONE3, FUTEX = 72, 16, 302, 435, 202
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC
FCNTL_COMMANDS = (0, 1, 2, 3, 4, 1030)
ENOTTY, ENOSYS = 25, 38

_AUDIT_ARCH_X86_64 = 0xC000003E
_X32_CALLS = 0x40000000
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _RETURN = 0x20, 0x06  # BPF_LD|W|ABS, BPF_RET|K
_EQUAL, _AT_LEAST, _ANY_OF = 0x15, 0x35, 0x45  # BPF_JEQ|K, BPF_JGE|K, BPF_JSET|K
_NUMBER, _ARCHITECTURE, _ARGUMENTS = (
    0,
    4,
    16,
)  # offsets in struct seccomp_data; arguments are eight bytes each
_SET_MODE_FILTER, _SYS_SECCOMP = 1, 317
_FUTEX_PRIVATE_FLAG = 128
Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def _give(action: int) -> Instruction:
    return (_RETURN, 0, 0, action)


def _load_argument(index: int, high: bool = False) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index + 4 * high)


def _calls_with_conditions() -> dict[int, list[Instruction]]:
    """What is decided by a call's arguments. Pointers and ids are compared in both 32-bit halves."""
    one_of = [(_EQUAL, len(FCNTL_COMMANDS) - i, 0, command) for i, command in enumerate(FCNTL_COMMANDS)]
    zero_words = [
        _load_argument(0),
        _load_argument(0, high=True),
        _load_argument(2),
        _load_argument(2, high=True),
    ]
    all_zero: list[Instruction] = []
    for left, load in zip((6, 4, 2, 0), zero_words, strict=True):
        all_zero += [load, (_EQUAL, 0, left + 1, 0)]
    return {
        FCNTL: [_load_argument(1), *one_of, _give(_KILL_PROCESS), _give(_ALLOW)],
        PRLIMIT64: [*all_zero, _give(_ALLOW), _give(_KILL_PROCESS)],
        IOCTL: [_give(_ERRNO | ENOTTY)],
        CLONE3: [_give(_ERRNO | ENOSYS)],
        FUTEX: [_load_argument(1), (_ANY_OF, 0, 1, _FUTEX_PRIVATE_FLAG), _give(_ALLOW), _give(_KILL_PROCESS)],
    }


def _decide(numbers: list[int], blocks: dict[int, list[Instruction]]) -> list[Instruction]:
    """A binary search for the call's number: a call is decided after about log2(n) comparisons.

    A short program also installs faster: the kernel walks it once for every call number to learn which are plain.
    """
    if len(numbers) == 1:
        block = blocks[numbers[0]]
        return [(_EQUAL, 0, len(block), numbers[0]), *block, _give(_KILL_PROCESS)]
    middle = len(numbers) // 2
    low, high = _decide(numbers[:middle], blocks), _decide(numbers[middle:], blocks)
    if len(low) < 256:
        return [(_AT_LEAST, len(low), 0, numbers[middle]), *low, *high]
    always = (0x05, 0, 0, len(low))  # BPF_JMP|BPF_JA: conditional jumps reach 255 instructions only
    return [(_AT_LEAST, 0, 1, numbers[middle]), always, *low, *high]


def assemble() -> list[Instruction]:
    """The filter: another architecture (int 0x80) or the x32 range kills, then the search, then kill by default."""
    blocks = {number: [_give(_ALLOW)] for number in ALLOWED.values()} | _calls_with_conditions()
    return [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _AUDIT_ARCH_X86_64),
        _give(_KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32_CALLS),
        _give(_KILL_PROCESS),
        *_decide(sorted(blocks), blocks),
    ]


def decision(
    program: list[Instruction],
    number: int,
    arguments: tuple[int, ...] = (),
    architecture: int = _AUDIT_ARCH_X86_64,
) -> int:
    """What `program` returns for a call: the kernel's interpreter in a few lines, for tests."""
    words = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<IIQ6Q", number, architecture, 0, *words)
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, constant = program[at]
        at += 1
        if code == _RETURN:
            return constant
        if code == _LOAD:
            (accumulator,) = struct.unpack_from("<I", data, constant)
        elif code == 0x05:
            at += constant
        else:
            holds = {
                _EQUAL: accumulator == constant,
                _AT_LEAST: accumulator >= constant,
                _ANY_OF: bool(accumulator & constant),
            }
            at += if_true if holds[code] else if_false


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


class Filter:
    """An assembled filter, made once in a fork server and installed by each process it forks."""

    def __init__(self) -> None:
        packed = b"".join(struct.pack("<HBBI", *instruction) for instruction in assemble())
        self._buffer = ctypes.create_string_buffer(packed, len(packed))
        self._program = _Program(len(packed) // 8, ctypes.addressof(self._buffer))
        self._pointer = ctypes.byref(self._program)

    def install(self) -> None:
        """From here on this process and its children make only the calls on the list; there is no way back.

        no_new_privs must be set. Raises OSError where the kernel has no filters.
        """
        kernel.syscall("seccomp", _SYS_SECCOMP, _SET_MODE_FILTER, 0, self._pointer)
