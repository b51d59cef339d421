"""Which test examples occur in the training text, and whether the others score worse: GPT-3's appendix C as a report.

A gram is N words in a row, a word being what white space divides, in lower case without punctuation. N is the 5th percentile
of a task's example lengths in words, at most 13; at least 8, but for synthetic tasks, whose examples are short, at least 2.
An example is dirty when ANY of its grams occurs anywhere in the training text. The search is exact: grams are found by a
64-bit hash and then compared word by word.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tony.atomic import write_json
from tony.data.shards import Shard
from tony.errors import TonyError
from tony.runs import Run
from tony.tokens.vocabulary import Vocabulary

LONGEST, SHORTEST, SHORTEST_SYNTHETIC = 13, 8, 2
BATCH = 4 << 20  # characters of training text that are searched at once
PUNCTUATION = str.maketrans("", "", string.punctuation)
SUFFIXES = (".txt", ".md", ".jsonl")


def words(text: str) -> list[str]:
    return text.lower().translate(PUNCTUATION).split()


def gram_length(lengths: Sequence[int], synthetic: bool) -> int:
    """N for examples of `lengths` words: their 5th percentile, within the bounds above."""
    shortest = SHORTEST_SYNTHETIC if synthetic else SHORTEST
    return int(np.clip(math.floor(np.percentile(lengths, 5)), shortest, LONGEST))


class Grams:
    """The grams of all test examples, ready to be looked for.

    Args:
        texts: of each task, its examples.
        length: N of each task.
    """

    def __init__(self, texts: Mapping[str, Sequence[str]], length: Mapping[str, int]) -> None:
        self._ids: dict[str, int] = {}  # a word of the tests -> its number, from 1 on
        self._owners: dict[tuple[int, ...], set[tuple[str, int]]] = {}
        for task, examples in texts.items():
            n = length[task]
            for number, text in enumerate(examples):
                ids = [self._ids.setdefault(word, len(self._ids) + 1) for word in words(text)]
                for i in range(len(ids) - n + 1):
                    self._owners.setdefault(tuple(ids[i : i + n]), set()).add((task, number))
        stream = np.random.default_rng(0)
        self._mix = stream.integers(1, 2**63, len(self._ids) + 1, dtype=np.uint64)
        self._hashes: dict[int, np.ndarray] = {}
        for n in sorted({len(gram) for gram in self._owners}):
            own = np.array([gram for gram in self._owners if len(gram) == n])
            self._hashes[n] = np.unique(np.concatenate([self._hash(row, n) for row in own]))

    def _hash(self, ids: np.ndarray, n: int) -> np.ndarray:
        """A hash of each run of n word numbers in `ids`, uint64 (len(ids) - n + 1,)."""
        mixed = self._mix[ids]
        total = np.zeros(len(ids) - n + 1, np.uint64)
        for i in range(n):
            total = total * np.uint64(0x9E3779B97F4A7C15) + mixed[i : i + len(total)]
        return total

    def find(self, texts: Iterable[str]) -> set[tuple[str, int]]:
        """(task, example) of all examples that share a gram with one of `texts`."""
        get, ids = self._ids.get, []
        for text in texts:
            ids += [get(word, 0) for word in words(text)]
            ids.append(0)  # no gram spans two documents
        array, found = np.array(ids, np.int64), set()
        unknown = np.concatenate([[0], np.cumsum(array == 0)])
        for n, hashes in self._hashes.items():
            if len(array) < n:
                continue
            whole = np.flatnonzero(unknown[n:] == unknown[:-n])  # where n known words begin
            if not len(whole):
                continue
            candidates = self._hash(array, n)[whole]
            places = np.searchsorted(hashes, candidates).clip(max=len(hashes) - 1)
            for start in whole[hashes[places] == candidates]:
                found |= self._owners.get(tuple(array[start : start + n].tolist()), set())
        return found


def training_texts(paths: Iterable[Path]) -> Iterator[str]:
    """The documents of run folders (their training shards), text files and JSONL files ("text" of each line).

    Raises:
        TonyError: a path is not there, or a line is no JSON object with a "text".
    """
    for path in paths:
        if (path / "recipe.toml").is_file():
            yield from _shard_texts(Run(path))
        elif path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
            if not inside:
                raise TonyError(f"{path}: holds no run and no {', '.join(SUFFIXES)} file")
            yield from training_texts(inside)
        elif not path.is_file():
            raise TonyError(f"{path}: no such file or folder")
        elif path.suffix == ".jsonl":
            yield from _jsonl_texts(path)
        else:
            yield path.read_text(encoding="utf-8", errors="replace")


def _jsonl_texts(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)["text"]
            except (ValueError, KeyError, TypeError):
                raise TonyError(f'{path}:{number}: not a JSON object with a "text"') from None


def _shard_texts(run: Run) -> Iterator[str]:
    vocabulary = Vocabulary.load(run.vocabulary)
    shard, text = Shard(run.data / "train", vocabulary.hash), vocabulary.ranges["text"]
    for number in range(len(shard)):
        ids = shard.tokens(number).ids
        is_text = (ids >= text.start) & (ids < text.end)
        # What stands between two text parts divides them: no word is made of the two.
        parts = np.split(ids, np.flatnonzero(np.diff(is_text)) + 1)
        yield " ".join(
            vocabulary.text.decode(part - text.start).text
            for part in parts
            if len(part) and text.start <= part[0] < text.end
        )


@dataclass(frozen=True)
class Row:
    """A line of the report, as table C.1 of the paper; scores are means of the examples' values, None where there are none."""

    task: str
    metric: str
    n_gram: int
    all: float
    n: int
    dirty: float | None
    n_dirty: int
    clean: float | None
    n_clean: int

    @property
    def clean_percent(self) -> float:
        return 100 * self.n_clean / self.n

    @property
    def relative_difference(self) -> float | None:
        """Percent by which the clean examples score better (worse: negative) than all."""
        return 100 * (self.clean - self.all) / self.all if self.clean is not None and self.all else None

    def to_dict(self) -> dict[str, Any]:
        more = {"clean_percent": self.clean_percent, "relative_difference": self.relative_difference}
        return self.__dict__ | more


_grams: Grams  # of a worker process


def _begin(grams: Grams) -> None:
    global _grams
    _grams = grams


def _find(texts: list[str]) -> set[tuple[str, int]]:
    return _grams.find(texts)


def search(grams: Grams, texts: Iterable[str], processes: int = 1) -> set[tuple[str, int]]:
    """As `Grams.find`, for any amount of text."""
    found: set[tuple[str, int]] = set()
    if processes == 1:
        for batch in _batches(texts):
            found |= grams.find(batch)
        return found
    with multiprocessing.get_context("spawn").Pool(processes, _begin, (grams,)) as pool:
        batches = _batches(texts)
        # A few batches at a time: the text may be larger than memory.
        while ahead := list(islice(batches, 4 * processes)):
            for part in pool.imap_unordered(_find, ahead):
                found |= part
    return found


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch, size = [], 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def contamination(
    samples: Path, training: Sequence[Path], synthetic: bool = False, processes: int = 1
) -> list[Row]:
    """The report on the samples of a few-shot evaluation (fewshot.jsonl), written beside them as contamination.json.

    A task's rows at several K are one example each in the search; the score is that of the largest K.

    Raises:
        TonyError: there are no samples, or no training text.
    """
    if not samples.is_file():
        raise TonyError(f"{samples}: no samples. Run tony eval MODEL fewshot first")
    tasks: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for line in samples.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["value"] is not None:
            tasks.setdefault(row["task"], {}).setdefault(row["shots"], []).append(row)
    rows_of = {task: by_k[max(by_k)] for task, by_k in tasks.items()}
    texts = {task: [row["context"] + row["target"] for row in rows] for task, rows in rows_of.items()}
    length = {task: gram_length([len(words(t)) for t in own], synthetic) for task, own in texts.items()}
    dirty = search(Grams(texts, length), training_texts(training), processes)
    report = []
    for task, rows in rows_of.items():
        split: tuple[list[float], list[float]] = ([], [])
        for number, row in enumerate(rows):
            split[(task, number) in dirty].append(row["value"])
        clean, soiled = split
        report.append(
            Row(
                task,
                rows[0]["metric"],
                length[task],
                _mean(clean + soiled) or 0.0,
                len(rows),
                _mean(soiled),
                len(soiled),
                _mean(clean),
                len(clean),
            )
        )
    write_json(samples.parent / "contamination.json", {"rows": [row.to_dict() for row in report]})
    return report


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
