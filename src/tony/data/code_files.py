"""The Python on a machine: the standard library, and the installed packages whose licences permit it."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

SKIPPED = {"site-packages", "dist-packages", "__pycache__", "lib2to3", "config"}
PYTHON = "python"
# What an expression or a classifier says, in lower case. Copyleft is left out: what a model repeats of it would bind.
_PERMISSIVE = re.compile(
    r"\b(mit|mit-0|mit-cmu|bsd|0bsd|bsl|apache|isc|iscl|psf|python|unlicense|zlib|cc0|hpnd|zpl)\b|software foundation"
)
_BINDING = re.compile(r"gpl|gnu|mpl|mozilla|epl|eclipse|cddl|proprietary|commercial|nvidia")


@dataclass(frozen=True)
class SourceFile:
    """One file: where it is, whose it is, and under which licence."""

    path: Path
    origin: str
    licence: str


def standard_library() -> Iterator[SourceFile]:
    """The .py files of the Python that runs, in the order of their names."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        if not SKIPPED & set(path.relative_to(root).parts):
            yield SourceFile(path, PYTHON, "PSF-2.0")


def installed_packages() -> tuple[list[SourceFile], dict[str, str]]:
    """The .py files of installed packages, and, of the packages left out, name -> licence.

    A package that says nothing of its licence, or names one that is not on the list of permissive ones, is left out.
    """
    files: list[SourceFile] = []
    left_out: dict[str, str] = {}
    known: dict[str, Distribution] = {}
    for found in distributions():
        known.setdefault(found.metadata["Name"] or "", found)
    for name, found in sorted(known.items()):
        licence = licence_of(found)
        if not is_permissive(licence):
            left_out[name] = licence or "none given"
            continue
        for entry in sorted(found.files or [], key=str):
            if entry.suffix == ".py" and not {"..", "__pycache__"} & set(entry.parts):
                files.append(SourceFile(Path(found.locate_file(entry)), name, licence))
    return files, left_out


def licence_of(package: Distribution) -> str:
    """The licence that a package declares: its expression, else its classifiers, else the first line of the free field."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return expression
    classifiers = [
        c.split(" :: ")[-1] for c in metadata.get_all("Classifier") or [] if c.startswith("License :: ")
    ]
    if classifiers:
        return " AND ".join(classifiers)
    return (metadata.get("License") or "").strip().split("\n")[0][:80]


def is_permissive(licence: str) -> bool:
    """Whether every part of a licence is permissive; of alternatives (OR) one is enough."""
    return any(
        all(_PERMISSIVE.search(part) and not _BINDING.search(part) for part in re.split(r"\band\b", choice))
        for choice in re.split(r"\bor\b(?! later)", licence.lower())
    )
