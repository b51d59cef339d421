"""Python packages whose versions clash with the installed ones: fetched by pip, checked, unpacked, never installed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from tony.data.packages import cache
from tony.errors import TonyError


def unpacked_wheels(
    name: str,
    pinned: Mapping[str, tuple[str, ...]],
    source: str = "",
    folder: Path | None = None,
    then: str = "data.path=FOLDER",
) -> Path:
    """The folder that wheels are unpacked to, for a child's PYTHONPATH; they are fetched where it is not there yet.

    Args:
        name: what they are for, which names the folder.
        pinned: "package==version", and the SHA-256 of its wheels, one a platform. pip takes no other file.
        source: a folder that holds the wheels, for a machine without an index; empty = pip's index.
        then: what a person does with wheels fetched by hand.

    Raises:
        TonyError: pip cannot fetch them, or they cannot be unpacked.
    """
    requirements = "".join(
        " ".join((package, *(f"--hash=sha256:{digest}" for digest in digests))) + "\n"
        for package, digests in pinned.items()
    )
    root = folder or cache()
    target = root / f"{name}-{hashlib.sha256(requirements.encode()).hexdigest()[:12]}"
    if target.is_dir():
        return target
    remedy = (
        f"By hand, where there is a network: python{sys.version_info[0]}.{sys.version_info[1]} -m pip download --no-deps "
        f"-d FOLDER {' '.join(pinned)}, and {then}"
    )
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--require-hashes", "-r", "requirements.txt", "-d", "wheels"]
    if source:
        command += ["--no-index", "--find-links", str(Path(source).resolve())]
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as work:
        Path(work, "requirements.txt").write_text(requirements, encoding="utf-8")
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "ERROR" in line or "No module" in line]
            raise TonyError(f"{name}: pip failed ({(lines or ['no reason given'])[-1].strip()}). {remedy}")
        unpacked = Path(work, "unpacked")
        try:
            for wheel in sorted(Path(work, "wheels").glob("*.whl")):
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(unpacked)
        except (OSError, zipfile.BadZipFile) as error:
            raise TonyError(f"{name}: a wheel cannot be unpacked ({error}). {remedy}") from None
        try:
            unpacked.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was faster
                raise
    return target
