"""Data that ships inside ordinary Debian packages: fetched by name at run time, checked, unpacked, never installed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tony.errors import TonyError


def cache() -> Path:
    """Where packages are unpacked: $TONY_CACHE, or the user's cache folder."""
    return Path(os.environ.get("TONY_CACHE") or Path.home() / ".cache" / "tony")


def debian_package(name: str, sha256: str, folder: Path | None = None) -> Path:
    """The folder that package `name` is unpacked to; it is fetched where it is not there yet.

    Raises:
        TonyError: it cannot be fetched or unpacked, or its archive is not the one that is known.
    """
    target = (folder or cache()) / f"{name}-{sha256[:12]}"
    if target.is_dir():
        return target
    remedy = f"By hand: apt-get download {name}, then dpkg-deb -x {name}_*.deb FOLDER, and data.path=FOLDER"
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise TonyError(f"{name}: {tool} is missing, which fetches it. {remedy}, on a Debian machine")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        _run(["apt-get", "download", name], work, name, remedy)
        archive = next(Path(work).glob(f"{name}_*.deb"), None)
        if archive is None:
            raise TonyError(f"{name}: apt-get brought no archive. {remedy}")
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != sha256:
            raise TonyError(
                f"{name}: the archive's SHA-256 is {found[:12]}, not {sha256[:12]}: another version. {remedy}"
            )
        _run(["dpkg-deb", "-x", archive.name, "unpacked"], work, name, remedy)
        (Path(work) / "unpacked").rename(target)
    return target


def _run(command: list[str], folder: str, name: str, remedy: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise TonyError(f"{name}: {command[0]} failed ({reason}). {remedy}")
