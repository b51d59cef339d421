"""School mathematics with a difficulty that can be set: DeepMind's mathematics_dataset (Apache-2.0), drawn in a Python of
its own.

A problem's level is its "entropy" s: about 10^s problems are equally likely (Saxton et al. 2019). Training draws levels 3
to 10 evenly; `level` gives problems of any level, for what lies beyond them (Henighan et al. 2020, section 5). A problem is
held out if the hash of its question says so, at every level: no question that is trained on is ever asked in a test. Only the
answer, and that it ends there, counts in the loss.

The package's own sets are named by s too: "interpolation" is s = 8 and "extrapolation" s = 12; sums and differences have
other ranges there (4 to 16, 12, 16 to 20), and here the same as all. The two modules that the paper drops
(probability__swr_p_*_more_samples) are of its extrapolation set and are not drawn here: every module is that of the training
set.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from math import ceil
from pathlib import Path

from tony.data.packages import cache
from tony.data.sources import Split
from tony.data.wheels import unpacked_wheels
from tony.errors import TonyError
from tony.media import Audio, Document, Image, Text
from tony.runs.data_recipes import MathematicsData

TRAINED = range(3, 11)
LEVELS = range(1, 20)  # of the paper's test sets
PART = 1000  # problems of a file
MOST_TRIES = 4
FOR_THE_BPE = 20_000  # problems
CHILD = Path(__file__).with_name("mathematics_child.py")
PACKAGES = {  # sympy 1.6 and numpy 1.24 no longer have what it calls
    "mathematics-dataset==1.0.1": ("8ebfe083ed65e07a9a555c9a51449c8e7c0ee097a96880a7183d2e8606081de6",),
    "sympy==1.5.1": ("4880d3a351558063bd89febda302f220dc4b88de393bba81fa6539a3966f03fa",),
    "mpmath==1.2.1": ("604bc21bd22d2322a177c73bdb573994ef76e62edd595d17e00aff24b0667e5c",),
    "six==1.16.0": ("8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254",),
    "absl-py==2.1.0": ("526a04eadab8b4ee719ce68f204172ead1027549089702d99b9059f129ff1308",),
    "numpy==1.23.5": (
        "58f545efd1108e647604a1b5aa809591ccd2540f468a880bedb97247e72db387",  # Linux x86-64
        "5039f55555e1eab31124a5768898c9e22c25a65c1e0037f4d7c495a45778c9f2",  # Linux arm64
        "56e454c7833e94ec9769fa0f86e6ff8e42ee38ce0ce1fa4cbb747ea7e06d56aa",  # macOS arm64
        "ce571367b6dfe60af04e04a1834ca2dc5f46004ac1cc756fb95319f64c095a96",  # macOS x86-64
        "0cbe9848fad08baf71de1a39e12d1b6310f1d5b2d0ea4de051058e6e1076852d",  # Windows
    ),
}


@dataclass(frozen=True)
class Problem:
    """A question and its one right answer, both ASCII."""

    module: str
    level: int
    question: str
    answer: str

    def document(self) -> Document:
        """The question on a line, and the answer, which alone is counted."""
        prompt = f"{self.question}\n"
        return Document([Text(prompt + self.answer, given=len(prompt))])


class Mathematics:
    """Source of one document a problem.

    Raises:
        TonyError: (from the first use) the packages cannot be fetched, another Python than 3.11 runs, or a module is unknown.
    """

    def __init__(self, recipe: MathematicsData, seed: int = 0) -> None:
        self.recipe, self.seed = recipe, seed
        self.left_out: Counter[str] = Counter()  # problems longer than `data.longest`, by module

    @cached_property
    def folder(self) -> Path:
        """Where the parts lie, one file each: they depend on the packages, the child, the modules and the seed."""
        key = json.dumps([self.recipe.modules, self.seed, PART, PACKAGES, CHILD.read_text(encoding="utf-8")])
        folder = cache() / "mathematics" / hashlib.sha256(key.encode()).hexdigest()[:12]
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def problems(self, split: Split) -> Iterator[Problem]:
        """Those of one split, the levels 3 to 10 by turns."""
        parts = -(-self.recipe.problems // (PART * len(TRAINED)))
        jobs = [(level, index) for index in range(parts) for level in TRAINED]
        rows = self._parts(jobs)
        for _ in range(parts):
            together = [next(rows) for _ in TRAINED]
            for turn in range(max(map(len, together))):
                for problems in together:
                    if turn < len(problems) and self.split_of(problems[turn].question) == split:
                        yield problems[turn]

    def level(self, level: int, number: int) -> list[Problem]:
        """`number` problems of one level, all of them held out, the same ones every time.

        Raises:
            TonyError: so many different ones do not exist, as at the lowest levels of few modules.
        """
        found: list[Problem] = []
        batch = ceil(1.25 * number / (PART * self.recipe.held_out))
        for begin in range(0, MOST_TRIES * batch, batch):
            for problems in self._parts([(level, part) for part in range(begin, begin + batch)]):
                found += [p for p in problems if self.split_of(p.question) == "heldout"]
            if len(found) >= number:
                return found[:number]
        raise TonyError(
            f"level {level} of data.modules has too few problems of at most data.longest={self.recipe.longest} characters "
            "that are held out: name more modules, or raise data.held_out"
        )

    def split_of(self, question: str) -> Split:
        """By its text alone, whatever the level it was drawn at."""
        digest = hashlib.sha256(question.encode()).digest()
        return "heldout" if int.from_bytes(digest[:4], "big") < self.recipe.held_out * 2**32 else "train"

    def _parts(self, jobs: Sequence[tuple[int, int]]) -> Iterator[list[Problem]]:
        """The problems of each (level, part); a child draws the missing ones while the first are already used."""
        paths = [self.folder / f"{level}-{part}.jsonl" for level, part in jobs]
        missing = [job for job, path in zip(jobs, paths, strict=True) if not path.is_file()]
        if not missing:
            yield from (self._read(path, level) for path, (level, _) in zip(paths, jobs, strict=True))
            return
        with tempfile.TemporaryFile("w+", encoding="utf-8") as errors, self._child(errors) as child:
            try:
                task = {"modules": self.recipe.modules, "seed": self.seed, "size": PART, "jobs": missing, "folder": str(self.folder)}  # fmt: skip
                with suppress(BrokenPipeError):  # of a child that failed at once: what it said comes below
                    child.stdin.write(json.dumps(task))
                    child.stdin.close()
                for path, (level, _) in zip(paths, jobs, strict=True):
                    while not path.is_file() and child.stdout.readline():
                        pass
                    if not path.is_file():
                        child.wait()
                        errors.seek(0)
                        raise TonyError(f"mathematics_dataset: {(errors.read().strip().splitlines() or ['it ended early'])[-1]}")  # fmt: skip
                    yield self._read(path, level)
            finally:
                child.terminate()  # of a reader that stops early

    def _child(self, errors: object) -> subprocess.Popen[str]:
        """Our own Python without its site-packages: it sees the old wheels and nothing else."""
        if sys.version_info[:2] != (3, 11):
            raise TonyError(
                "data.kind=mathematics needs numpy 1.23, of which there are wheels up to Python 3.11: run Tony with Python 3.11"
            )
        wheels = unpacked_wheels("mathematics-dataset", PACKAGES, self.recipe.path)
        alone = {
            "PYTHONPATH": str(wheels),
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "",
            "OPENBLAS_NUM_THREADS": "1",
        }
        return subprocess.Popen(
            [sys.executable, "-S", "-P", str(CHILD)], env=os.environ | alone, text=True, encoding="utf-8",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip

    def _read(self, path: Path, level: int) -> list[Problem]:
        """Without those that are too long."""
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            module, question, answer = json.loads(line)
            if len(question) + 1 + len(answer) <= self.recipe.longest:
                kept.append(Problem(module, level, question, answer))
            else:
                self.left_out[module] += 1
        return kept

    def documents(self, split: Split) -> Iterator[Document]:
        for problem in self.problems(split):
            yield problem.document()

    def texts(self) -> Iterator[str]:
        for problem in islice(self.problems("train"), FOR_THE_BPE):
            yield f"{problem.question}\n{problem.answer}"

    def images(self) -> Sequence[Image]:
        return []

    def sounds(self) -> Sequence[Audio]:
        return []
