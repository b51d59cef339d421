"""The items of a quiz: to each real passage, what the model and a deliberately bad control wrote in its place.

They are made once and kept in quiz.jsonl: a line that says how, then one line an item, written as soon as it is made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from tony.errors import TonyError
from tony.evals.journal import Journal, whole_rows
from tony.evals.quiz.passages import Passage, cut, num_words, tidy

FILE = "quiz.jsonl"
LONGER = 1.25  # times the words of the real text: more of a generated one is cut off


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How texts are written.

    Attributes:
        words: of a text, at most.
        candidates: texts drawn for each one that is shown: the one closest in length to the real text, as in GPT-3.
        temperature, top_p: of the model.
        control_temperature: of the control, which reads no opening either and draws from all ids.
        seed: of all that is drawn.
    """

    words: int = 200
    candidates: int = 5
    temperature: float = 1.0
    top_p: float = 0.95
    control_temperature: float = 1.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.words < 10:
            raise TonyError(
                f"words={self.words}: nobody can judge so little: 10 or more, such as --words 200"
            )


@dataclass(frozen=True)
class Item:
    """One opening and the three texts that may follow it."""

    opening: str
    human: str
    model: str
    control: str

    def text(self, arm: str, is_machine: bool) -> str:
        """What is shown in this arm of the quiz ("model" or "control")."""
        return getattr(self, arm) if is_machine else self.human


class Writer(Protocol):
    """Something that writes texts in the place of a real one."""

    def write(self, passage: Passage, n: int, seed: int) -> list[str]:
        """`n` texts about as long as the passage's own."""
        ...


def make_items(
    passages: Sequence[Passage],
    model: Writer,
    control: Writer,
    settings: Settings,
    sources: dict[str, Any],
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> list[Item]:
    """One item a passage, kept in quiz.jsonl of `folder`; those that a killed call has left are not made again.

    Args:
        passages: what people wrote.
        model, control: who writes in their place.
        settings: how.
        sources: what results say about the two: "model" and "control" are their names, the rest tells them from others.
        folder: where items go.
        progress: called with items made and items in all.

    Raises:
        TonyError: the file cannot be written, a writer refuses, or it writes nothing.
    """
    head = quiz_head(passages, settings, sources)
    folder.mkdir(parents=True, exist_ok=True)
    with Journal(folder / FILE, head) as journal:
        items = [Item(**row) for row in journal.rows]
        for number in range(len(items), len(passages)):
            if progress:
                progress(number, len(passages))
            passage = passages[number]
            # Seeds far apart: `n` samples of one passage use streams of one seed.
            written = [
                _closest(passage, writer.write(passage, settings.candidates, seed), who)
                for who, writer, seed in (
                    (sources["model"], model, 2 * number + (settings.seed << 32)),
                    (f"the control {sources['control']}", control, 2 * number + 1 + (settings.seed << 32)),
                )
            ]
            items.append(Item(passage.opening, passage.text, *written))
            journal.add(asdict(items[-1]))
        if progress:
            progress(len(passages), len(passages))
    return items


def _closest(passage: Passage, texts: Sequence[str], who: str) -> str:
    """The text closest in length to the real one, in the form that the real one has."""
    length = num_words(passage.text)
    cuts = [cut(tidy(text), int(LONGER * length)) for text in texts]
    best = min(cuts, key=lambda text: abs(num_words(text) - length))
    if not best:
        raise TonyError(
            f"{who} wrote nothing after {passage.opening[:40]!r}: try another --temperature or --seed"
        )
    return best


def quiz_head(passages: Sequence[Passage], settings: Settings, sources: dict[str, Any]) -> dict[str, Any]:
    """The first line of quiz.jsonl: whatever the items follow from."""
    texts = hashlib.blake2b(json.dumps([asdict(p) for p in passages]).encode(), digest_size=12).hexdigest()
    return {**sources, "settings": asdict(settings), "texts": texts, "items": len(passages)}


def digest(head: dict[str, Any]) -> str:
    """Tells one quiz from another."""
    return hashlib.blake2b(json.dumps(head, sort_keys=True).encode(), digest_size=12).hexdigest()


def read_items(folder: Path) -> tuple[dict[str, Any], list[Item]]:
    """The head and the items of the quiz in `folder`.

    Raises:
        TonyError: there is none, or it is not whole.
    """
    path = folder / FILE
    if not path.is_file():
        raise TonyError(f"{path}: no quiz yet. Make one: tony eval MODEL quiz --texts FILE")
    rows, _ = whole_rows(path)
    try:
        head, items = rows[0], [Item(**row) for row in rows[1:]]
        missing = head["items"] - len(items)
    except (IndexError, KeyError, TypeError):
        raise TonyError(
            f"{path}: not the items of a quiz. Remove it and make them again with --texts FILE"
        ) from None
    if missing:
        raise TonyError(
            f"{path}: {missing} of {head['items']} items are missing. The same command with --texts FILE goes on"
        )
    return head, items
