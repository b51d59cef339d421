"""WordNet as Debian ships it: how often words occur, what they mean, and irregular forms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tony.data.packages import debian_package

# wordnet-base 1:3.0-37 (WordNet licence)
SHA256 = "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752"


def folder() -> Path:
    """Where the database is; fetched on first use.

    Raises:
        TonyError: the package cannot be fetched.
    """
    return debian_package("wordnet-base", SHA256) / "usr/share/wordnet"


@cache
def frequent_words() -> tuple[str, ...]:
    """Single words, most frequent first: by tagged occurrences in SemCor, then by alphabet."""
    counts: Counter[str] = Counter()
    for line in (folder() / "cntlist.rev").read_text("ascii").splitlines():
        key, _, count = line.split()  # "abandon%2:40:01:: 1 5"
        counts[key.split("%")[0]] += int(count)
    return tuple(sorted((w for w in counts if "_" not in w), key=lambda w: (-counts[w], w)))


@dataclass(frozen=True)
class Synset:
    """One sense: the words that have it, most usual first, its definition and sentences that show it."""

    words: tuple[str, ...]
    definition: str
    sentences: tuple[str, ...]


def synsets(part: str) -> Iterator[Synset]:
    """All senses of a part of speech: "noun", "verb", "adj" or "adv"."""
    for line in (folder() / f"data.{part}").read_text("ascii").splitlines():
        if line.startswith("  "):  # the licence
            continue
        data, _, gloss = line.partition(" | ")
        fields = data.split()
        count = int(fields[3], 16)
        names = (fields[4 + 2 * i].split("(")[0].replace("_", " ") for i in range(count))
        first, *rest = gloss.strip().split('; "')
        yield Synset(tuple(names), first.strip(), tuple(s.strip().strip('";').strip() for s in rest))
