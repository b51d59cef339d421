"""Namespaces: a process tree, a network, a file tree and an identity of the fork server's own.

They come on top of what is required: a machine or a container may forbid them, and then they are recorded as missing.
With them a program sees no process but its own tree, no network device, and of the file tree only what it may read.
"""

from __future__ import annotations

import os

from tony.sandbox import kernel
from tony.sandbox.library import DEVICES, PACKAGES, open_all, standard_library

NOBODY = 65534
_USER, _MOUNT, _PID, _NET, _IPC, _UTS = 0x10000000, 0x20000, 0x20000000, 0x40000000, 0x8000000, 0x4000000
_MOUNT_POINTS = ("/tmp", "/mnt", "/var", "/opt")


def become_nobody() -> None:
    """Root gives up its identity for that of nobody, who owns no file."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def enter_namespaces() -> None:
    """This process moves into namespaces of its own; its next child is the first process of the process tree.

    An ordinary user needs a user namespace for that, root does not.

    Raises OSError where the machine does not permit it.
    """
    uid, gid = os.getuid(), os.getgid()
    if uid:
        kernel.unshare("user namespace", _USER)
        maps = (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1"))
        for name, text in maps:
            file = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
            os.write(file, text.encode())
            os.close(file)
    kernel.unshare(
        "mount, process, network, ipc and host name namespaces", _MOUNT | _PID | _NET | _IPC | _UTS
    )


def continue_as_first_process() -> None:
    """Fork into the new process tree. The parent stays outside only to hand on how the child ends."""
    child = os.fork()
    if child == 0:
        kernel.die_with_parent()
        return
    os.closerange(0, 64)
    _, status = os.waitpid(child, 0)
    os._exit(0 if status == 0 else 1)


def view_only(paths: list[str]) -> None:
    """Replace the file tree by an empty one in which only `paths` can be seen, those of them that exist.

    Folders of installed packages inside them are covered. Raises OSError where a mount is refused.
    """
    opened = open_all(paths)  # before the mount point covers anything
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    point = next(path for path in _MOUNT_POINTS if os.path.isdir(path))
    links = {path: os.readlink(path) for path in ("/lib", "/lib64", "/usr/lib64") if os.path.islink(path)}
    quiet = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("tmpfs", point, "tmpfs", quiet, "size=1m,mode=755")
    for item in opened:
        target = point + item.path
        if item.is_folder:
            os.makedirs(target, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))
        kernel.mount(f"/proc/self/fd/{item.descriptor}", target, None, kernel.MS_BIND | kernel.MS_REC)
    for path, aim in links.items():
        os.makedirs(os.path.dirname(point + path), exist_ok=True)
        if not os.path.lexists(point + path):
            os.symlink(aim, point + path)
    for name in PACKAGES:
        covered = f"{point}{standard_library()}/{name}"
        if os.path.isdir(covered):
            kernel.mount("tmpfs", covered, "tmpfs", quiet, "size=1m,mode=555")
    os.chdir(point)
    kernel.pivot_root_here()
    for item in opened:
        os.close(item.descriptor)
    assert os.path.exists(DEVICES[0]), "the null device is part of every view"
