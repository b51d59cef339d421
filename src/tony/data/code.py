"""The standard library of the Python that runs, as text: code, comments and prose that every machine has."""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from tony.data.sources import Split
from tony.errors import TonyError
from tony.media import Audio, Document, Image, Text
from tony.runs.recipe import CodeData

SKIPPED = {"site-packages", "dist-packages", "__pycache__", "lib2to3", "config"}
LONGEST_LINE = 1000  # as Chen et al. 2021 (section 3.1) leave generated files out
LONGEST_MEAN_LINE = 100


class Code:
    """Source of one document a file, held out by the hash of its content."""

    def __init__(self, recipe: CodeData) -> None:
        self.recipe = recipe

    @cached_property
    def files(self) -> dict[Split, list[str]]:
        root = Path(sysconfig.get_paths()["stdlib"])
        found: dict[Split, dict[str, str]] = {"train": {}, "heldout": {}}
        for path in sorted(root.rglob("*.py")):
            if SKIPPED & set(path.relative_to(root).parts):
                continue
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue  # a file that tests other encodings
            if text.strip() and _is_written_by_hand(text):
                digest = hashlib.sha256(text.encode()).hexdigest()
                is_held_out = int(digest[:8], 16) < self.recipe.held_out * 2**32
                found["heldout" if is_held_out else "train"][digest] = text  # a copy counts once
        if not found["train"]:
            raise TonyError(f"{root}: holds no .py file. Run a Python that has its standard library as files")
        return {split: [texts[key] for key in sorted(texts)] for split, texts in found.items()}

    def documents(self, split: Split) -> Iterator[Document]:
        for text in self.files[split]:
            yield Document([Text(text)])

    def texts(self) -> Iterator[str]:
        yield from self.files["train"]

    def images(self) -> Sequence[Image]:
        return []

    def sounds(self) -> Sequence[Audio]:
        return []


def _is_written_by_hand(text: str) -> bool:
    lines = text.splitlines()
    longest = max(map(len, lines), default=0)
    return longest <= LONGEST_LINE and len(text) / max(1, len(lines)) <= LONGEST_MEAN_LINE
