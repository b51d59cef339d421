"""The part of the file tree that a confined program may read: the standard library, its shared libraries, little more.

Installed packages, the home folders, /proc and /etc are not in it.
"""

from __future__ import annotations

import os
from typing import NamedTuple

PACKAGES = ("site-packages", "dist-packages")
FILES = ("/etc/ld.so.cache",)
FOLDERS = ("/usr/share/zoneinfo",)
DEVICES = ("/dev/null", "/dev/urandom")


class Opened(NamedTuple):
    """A path and an O_PATH descriptor of it."""

    path: str
    descriptor: int

    @property
    def is_folder(self) -> bool:
        return os.path.isdir(f"/proc/self/fd/{self.descriptor}")


def standard_library() -> str:
    return os.path.realpath(os.path.dirname(os.__file__))  # `sysconfig` says the same, and is large


def shared_library_folders() -> list[str]:
    """The folders that this process's shared libraries came from, the C library's among them.

    A folder above the standard library (libpython beside it, as in /usr/local/lib) is left out: it is loaded already, and
    allowing the folder would allow the installed packages.
    """
    library = standard_library()
    found = set()
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            path = line[line.find("/") :].strip() if "/" in line else ""
            if ".so" in os.path.basename(path):
                found.add(os.path.dirname(os.path.realpath(path)))
    return sorted(f for f in found if os.path.commonpath([f, library]) not in (f, library))


def visible_paths() -> list[str]:
    """What the view of a confined process holds."""
    return [standard_library(), *shared_library_folders(), *FILES, *FOLDERS, *DEVICES]


def open_all(paths: list[str]) -> list[Opened]:
    """Those of `paths` that exist, opened."""
    opened = []
    for path in paths:
        try:
            opened.append(Opened(path, os.open(path, os.O_PATH | os.O_CLOEXEC)))
        except OSError:
            continue
    return opened


def library_modules() -> list[str]:
    """The standard library's own entries, without the folders of installed packages."""
    folder = standard_library()
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name not in PACKAGES]


def shared_libraries() -> list[str]:
    """Every shared library in the folders that hold this process's own."""
    return [
        os.path.join(folder, name)
        for folder in shared_library_folders()
        for name in sorted(os.listdir(folder))
        if ".so" in name
    ]
