"""Real passages: what they are read from, and how they and generated texts are brought into one form.

Whatever tells the two apart without being read (line breaks, an end in the middle of a sentence) is taken from both alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tony.errors import TonyError

SUFFIXES = (".jsonl", ".txt", ".md")
OPENING_WORDS = 12  # of an opening, at least; it goes on to the end of its sentence
LONGEST_OPENING = 40  # words; a longer sentence is cut here
FEWEST = 4  # passages of a quiz: one for each of the four hands that are dealt

_SENTENCE_END = re.compile(r"[.!?][\"')\]\u2019\u201d]*(?=\s|$)")


@dataclass(frozen=True)
class Passage:
    """A text that a person wrote.

    Attributes:
        opening: its title, or its first sentence: shown whoever wrote what follows.
        text: what the person wrote after it.
        prompt: the opening as a model reads it.
    """

    opening: str
    text: str
    prompt: str


def tidy(text: str) -> str:
    """Paragraphs with one empty line between and single spaces inside."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def cut(text: str, words: int) -> str:
    """The first `words` words of a tidy text or fewer, up to the end of a sentence if half of them or more are left."""
    places = [match.end() for match in re.finditer(r"\S+", text)][:words]
    if not places:
        return ""
    kept = text[: places[-1]]
    # The lookahead must see what follows the cut: "3.5" cut after "3." is no sentence.
    ends = [match.end() for match in _SENTENCE_END.finditer(text) if match.end() <= len(kept)]
    whole = text[: ends[-1]] if ends else ""
    return whole if 2 * num_words(whole) >= len(places) else kept


def num_words(text: str) -> int:
    return len(text.split())


def read_passages(path: Path, words: int) -> list[Passage]:
    """The passages of a file, or of all files of a folder, that have from half of `words` to `words` words after the opening.

    A line of a .jsonl file is {"text": ..., "title": ...}, the title where there is one, and makes one passage. A .txt or
    .md file is cut into passages at the ends of paragraphs.

    Raises:
        TonyError: nothing is there, a file is not what its name says, or too few passages are long enough.
    """
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
    elif path.is_file():
        files = [path]
    else:
        raise TonyError(
            f"{path}: no such file or folder. --texts wants {', '.join(SUFFIXES)} files of real passages"
        )
    found = list(dict.fromkeys(passage for file in files for passage in _of_file(file, words)))
    if not found:
        raise TonyError(f"{path}: no passages. Give {', '.join(SUFFIXES)} files that have text in them")
    kept = [passage for passage in found if 2 * num_words(passage.text) >= words]
    if len(kept) < FEWEST:
        raise TonyError(
            f"{path}: {len(kept)} of {len(found)} passages have {(words + 1) // 2} words or more after the opening, and a "
            f"quiz needs {FEWEST}: give more or longer texts, or a smaller --words"
        )
    return kept


def choose(passages: Sequence[Passage], first: int, seed: int) -> list[Passage]:
    """`first` of them or all, in an order drawn by seed.

    Raises:
        TonyError: too few for a quiz are asked for.
    """
    if first < FEWEST:
        raise TonyError(f"first={first}: a quiz needs {FEWEST} texts or more, such as --first 24")
    return [passages[i] for i in np.random.default_rng(seed).permutation(len(passages))[:first]]


def _of_file(path: Path, words: int) -> Iterator[Passage]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise TonyError(
            f"{path}: not UTF-8, and a wrong letter would give the real text away: convert it"
        ) from None
    if path.suffix != ".jsonl":
        return _with_openings(_pieces(tidy(text), words), words)
    return _of_lines(path, text, words)


def _of_lines(path: Path, lines: str, words: int) -> Iterator[Passage]:
    for number, line in enumerate(lines.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            text, title = tidy(row["text"]), " ".join((row.get("title") or "").split())
        except (ValueError, KeyError, TypeError, AttributeError):
            raise TonyError(
                f'{path}:{number}: not a JSON object with a "text", and a "title" if it has one'
            ) from None
        if title:
            yield Passage(title, cut(text, words), f"{title}\n\n")
        else:
            yield from _with_openings([text], words)


def _pieces(text: str, words: int) -> Iterator[str]:
    """Runs of whole paragraphs with room for an opening and `words` words."""
    piece: list[str] = []
    for paragraph in text.split("\n\n"):
        piece.append(paragraph)
        if num_words(" ".join(piece)) >= words + LONGEST_OPENING:
            yield "\n\n".join(piece)
            piece = []
    yield "\n\n".join(piece)


def _with_openings(texts: Iterable[str], words: int) -> Iterator[Passage]:
    for text in texts:
        ends = [match.end() for match in re.finditer(r"\S+", text)]
        if len(ends) <= OPENING_WORDS:
            continue
        sentence = next(
            (m.end() for m in _SENTENCE_END.finditer(text) if m.end() >= ends[OPENING_WORDS - 1]), len(text)
        )
        opening = text[: min(sentence, ends[min(LONGEST_OPENING, len(ends)) - 1])]
        yield Passage(opening, cut(text[len(opening) :].lstrip(), words), opening)
