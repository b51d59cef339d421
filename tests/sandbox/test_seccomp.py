"""Protects the list of system calls: the filter as the kernel reads it, instruction by instruction."""

import pytest

from tony.sandbox.seccomp import ALLOWED, CLONE3, FCNTL, FUTEX, IOCTL, PRLIMIT64, assemble, decision

KILL, ALLOW, ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
PROGRAM = assemble()


def test_only_the_list_is_allowed():
    conditional = {FCNTL, FUTEX, IOCTL, PRLIMIT64, CLONE3}
    assert not {449, 454, 455, 456} & set(
        ALLOWED.values()
    )  # futexes of the newer kinds: shared is their default
    for number in range(600):
        if number not in conditional:
            assert decision(PROGRAM, number) == (ALLOW if number in ALLOWED.values() else KILL), number


@pytest.mark.parametrize(
    ("number", "arguments", "action"),
    [
        (PRLIMIT64, (0, 7, 0, 1), ALLOW),
        (PRLIMIT64, (1, 7, 0, 1), KILL),
        (PRLIMIT64, (0, 7, 1 << 32, 1), KILL),  # a pointer whose low word is zero
        (PRLIMIT64, (1 << 32, 7, 0, 1), KILL),
        (FCNTL, (3, 4), ALLOW),
        (FCNTL, (3, 8), KILL),  # F_SETOWN
        (FCNTL, (3, 10), KILL),  # F_SETSIG
        (IOCTL, (0, 0x5412), ERRNO | 25),
        (CLONE3, (), ERRNO | 38),
        (FUTEX, (4096, 128 | 9), ALLOW),
        (FUTEX, (4096, 1), KILL),  # FUTEX_WAKE, shared between processes
        (FUTEX, (4096, 256 | 9), KILL),
        (FUTEX, (4096, 128 << 32 | 1), KILL),  # the kernel looks at the low word
    ],
)
def test_arguments_decide(number, arguments, action):
    assert decision(PROGRAM, number, arguments) == action


def test_other_architectures_and_x32_are_ended():
    assert decision(PROGRAM, 0, architecture=0x40000003) == KILL
    assert decision(PROGRAM, 0x40000000) == KILL
