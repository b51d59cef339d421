"""Python as text: the standard library of the Python that runs and, where asked, the installed packages, cleaned.

    python -m tony.data.code        what a clean corpus of this machine holds and what was left out, as JSON

Without `clean` only files with very long lines and exact copies are left out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from tony.data.code_files import SourceFile, installed_packages, standard_library
from tony.data.code_filters import NearCopies, Words, human_eval, why_left_out
from tony.data.sources import Split
from tony.errors import TonyError
from tony.media import Audio, Document, Image, Text
from tony.runs.data_recipes import CodeData


class Code:
    """Source of one document a file, held out by the hash of its content.

    Raises:
        TonyError: (from the first use) there is no file, or `clean` is asked for and HumanEval, to be removed, is not
            installed.
    """

    def __init__(self, recipe: CodeData) -> None:
        self.recipe = recipe
        self.report: dict[
            str, Any
        ] = {}  # filled by the first use: what was kept of whom, and what was left out why

    @cached_property
    def files(self) -> dict[Split, list[str]]:
        found: dict[Split, dict[str, str]] = {"train": {}, "heldout": {}}
        kept: Counter[str] = Counter()
        size: Counter[str] = Counter()
        left_out: Counter[str] = Counter()
        licences: dict[str, str] = {}
        wanted, refused = self._wanted()
        budget = self.recipe.most_characters or float("inf")
        known: dict[str, int] = {}
        near, benchmark = (NearCopies(), human_eval(known)) if self.recipe.clean else (None, None)
        for file in wanted:
            text, reason = self._read(file)
            if reason is None and text.strip():
                digest = hashlib.sha256(text.encode()).hexdigest()
                if any(digest in split for split in found.values()):
                    reason = "copy"
                elif near is not None and benchmark is not None:
                    words = Words(text, known)
                    if benchmark.is_in(words):
                        reason = "in HumanEval"
                    elif near.add(words):
                        reason = "near copy"
                if reason is None and size.total() >= budget:
                    break
                if reason is None:
                    is_held_out = int(digest[:8], 16) < self.recipe.held_out * 2**32
                    found["heldout" if is_held_out else "train"][digest] = text
                    kept[file.origin] += 1
                    size[file.origin] += len(text)
                    licences[file.origin] = file.licence
            if reason is not None:
                left_out[reason] += 1
        if not found["train"]:
            raise TonyError(
                "the standard library is not there as files: run a Python that has .py files of it"
            )
        self.report = {
            "files": kept.total(),
            "characters": size.total(),
            "left_out": dict(left_out.most_common()),
            "packages_left_out": refused,
            "packages": {
                name: {"files": kept[name], "characters": size[name], "licence": licences[name]} for name in sorted(kept)
            },
        }  # fmt: skip
        return {split: [texts[key] for key in sorted(texts)] for split, texts in found.items()}

    def _wanted(self) -> tuple[list[SourceFile], dict[str, str]]:
        """The files in the order in which they are read: any order serves, but a part of all is to be a fair sample."""
        files, refused = list(standard_library()), {}
        if self.recipe.packages:
            more, refused = installed_packages()
            files += more
        if self.recipe.most_characters:
            files.sort(key=lambda file: hashlib.sha256(f"{file.origin}/{file.path.name}".encode()).digest())
        return files, refused

    def _read(self, file: SourceFile) -> tuple[str, str | None]:
        """The text of a file, or why it is left out."""
        try:
            text = file.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return "", "not UTF-8"  # a file that tests other encodings
        reason = why_left_out(text)
        return text, reason if self.recipe.clean or reason == "long lines" else None

    def documents(self, split: Split) -> Iterator[Document]:
        for text in self.files[split]:
            yield Document([Text(text)])

    def texts(self) -> Iterator[str]:
        yield from self.files["train"]

    def images(self) -> Sequence[Image]:
        return []

    def sounds(self) -> Sequence[Audio]:
        return []


if __name__ == "__main__":
    import json

    source = Code(CodeData(packages=True, clean=True))
    splits = {split: len(texts) for split, texts in source.files.items()}
    print(json.dumps({"splits": splits, **source.report}, indent=1))
