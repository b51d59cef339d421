"""Landlock: which files a process may touch, decided by the kernel and needing no privilege.

Everything that the running kernel's Landlock can deny is denied: all access to files, TCP bind and connect (ABI 4), device
ioctl (ABI 5), abstract sockets and signals to processes outside (ABI 6). What is then allowed is named by rules.
"""

from __future__ import annotations

import ctypes
import os
import struct

from tony.sandbox import kernel

LEAST_ABI = 4
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
_SYS_CREATE_RULESET, _SYS_ADD_RULE, _SYS_RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_FILE_RIGHTS_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many of the file bits an ABI knows
_TCP_BIND_AND_CONNECT = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


def abi() -> int:
    """The kernel's Landlock ABI; 0 where it has none or has it switched off."""
    try:
        return kernel.syscall("landlock", _SYS_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    except OSError:
        return 0


class Ruleset:
    """A set of rules under construction, which `restrict` puts in force for this process and its children.

    Raises OSError where the kernel refuses.
    """

    def __init__(self) -> None:
        version = abi()
        files = (1 << _FILE_RIGHTS_OF_ABI[min(version, 5)]) - 1
        attributes = struct.pack("<Q", files)
        if version >= 4:
            attributes += struct.pack("<Q", _TCP_BIND_AND_CONNECT)
        if version >= 6:
            attributes += struct.pack("<Q", _ABSTRACT_SOCKETS_AND_SIGNALS)
        self.descriptor = kernel.syscall(
            "landlock_create_ruleset", _SYS_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0
        )

    def allow(self, opened: int, rights: int) -> None:
        """Allow `rights` on the file that descriptor `opened` (O_PATH is enough) names, or beneath it."""
        rule = struct.pack("<Qi", rights, opened)
        kernel.syscall("landlock_add_rule", _SYS_ADD_RULE, self.descriptor, _PATH_BENEATH, rule, 0)

    def allow_path(self, path: str, rights: int) -> None:
        """Allow `rights` on `path` where it exists."""
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return
        try:
            self.allow(opened, rights)
        finally:
            os.close(opened)

    def restrict(self) -> None:
        """Put the rules in force. no_new_privs must be set."""
        kernel.syscall("landlock_restrict_self", _SYS_RESTRICT_SELF, self.descriptor, 0)
        os.close(self.descriptor)
