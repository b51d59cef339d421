"""One task at one K: its prompts, what the model makes of them, and the numbers that come of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tony.engine.exchange.folder import LanguageModel
from tony.engine.score import Scorer, split_ids
from tony.engine.text import TextEngine
from tony.errors import TonyError
from tony.evals.bleu import corpus_bleu
from tony.evals.fewshot.draw import Draw, shots_of
from tony.evals.fewshot.metrics import METRICS
from tony.evals.task import NORMALISATIONS, Example, Result, Task

UNIT = 50  # questions computed together: what a kill loses at most
ROWS = 16
Row = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """An example of a cell with its whole prompt.

    Attributes:
        number: its place in the task's test split.
        shots: the worked examples before it.
        prompt: all the text before the answer; a picture or sound is named in it, not shown.
        key: a hash of all that its answer depends on, the model apart.
    """

    number: int
    example: Example
    shots: tuple[Example, ...]
    prompt: str
    key: str


@dataclass(frozen=True)
class Cell:
    """A task, K, and the questions."""

    task: Task
    k: int
    questions: tuple[Question, ...]

    @property
    def name(self) -> str:
        return f"{self.task.name}, {self.k}-shot"

    def units(self) -> Iterator[tuple[Question, ...]]:
        """The questions in the parts that are computed together; the same whatever of them is known already."""
        for first in range(0, len(self.questions), UNIT):
            yield self.questions[first : first + UNIT]


def make_cell(task: Task, k: int, items: int | None, seed: int, draw: Draw) -> Cell:
    """The cell of `task` with K = `k`: the prompts of `items` questions, chosen by seed, or of all.

    Raises:
        TonyError: the task cannot make its examples, K is larger than the train split, or an example is empty.
    """
    try:
        test, train = task.test(), task.train()
    except TonyError:
        raise
    except Exception as error:  # somebody's task file
        raise TonyError(f"{task.name}: its examples fail ({type(error).__name__}: {error})") from None
    if not test:
        raise TonyError(f"{task.name}: its test split is empty")
    numbers = list(range(len(test)))
    if items is not None and items < len(test):
        numbers = sorted(np.random.default_rng([seed, len(test)]).permutation(len(test))[:items].tolist())
    questions = []
    for number in numbers:
        example = test[number]
        shots = shots_of(task, train, k, seed, draw, number)
        for own in (example, *shots):
            task.check(own)
        if any(own.parts for own in (example, *shots)):
            prompt = _in_words(task, shots, example)
        else:
            prompt = task.prefix(shots) + example.context
        questions.append(Question(number, example, tuple(shots), prompt, _key(task, example, prompt)))
    return Cell(task, k, tuple(questions))


def _in_words(task: Task, shots: Sequence[Example], example: Example) -> str:
    """A prompt that holds pictures or sounds: each is named by its kind and a hash of what it shows."""

    def name(part: Any) -> str:
        content = next(getattr(part, name) for name in ("pixels", "samples", "frames") if hasattr(part, name))
        return f"<{part.modality} {hashlib.blake2b(content.tobytes(), digest_size=6).hexdigest()}>"

    def seen(own: Example) -> Example:
        return replace(own, context="".join(name(part) for part in own.parts) + own.context)

    return task.prefix([seen(shot) for shot in shots]) + seen(example).context


def _key(task: Task, example: Example, prompt: str) -> str:
    parts = [
        prompt, example.target, example.accepted, example.choices, task.scoring, task.answer_context, task.metric,
        task.stop, task.max_tokens, task.beams, task.length_penalty, task.version,
    ]  # fmt: skip
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()


class Asker:
    """A model, ready to answer the cells of one evaluation."""

    def __init__(self, source: LanguageModel, deterministic: bool) -> None:
        self.source, self.deterministic = source, deterministic
        self._scorer, self._answer_scorer = Scorer(source.model), Scorer(source.model)
        self._engine: TextEngine | None = None
        self._cell: Cell | None = None
        self._prefix: list[int] = []

    def begin(self, cell: Cell) -> None:
        """Make ready for a cell.

        Raises:
            TonyError: a prompt does not fit the model's context, or a choice has no ids.
        """
        self._cell = cell
        if any(q.example.parts for q in cell.questions):
            raise TonyError(
                f"{cell.name}: asks about pictures or sounds, and {self.source.name} reads text only"
            )
        self._scorer.forget()  # with a prefix, units share it and nothing else
        context = self.source.model.config.context
        if cell.task.scoring == "choice":
            pairs = [self._pair(q.prompt, choice) for q in cell.questions for choice in q.example.choices]
            longest = max(len(before) + len(after) - 1 for before, after in pairs)
            first, last = min(before for before, _ in pairs), max(before for before, _ in pairs)
            common = next(
                (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first)
            )
            self._prefix = first[:common]
        else:
            lengths = [len(self.source.encode(q.prompt)) for q in cell.questions]
            longest = max(lengths) + cell.task.max_tokens
            if longest <= context:
                self._engine = TextEngine.of(
                    self.source, rows=ROWS, deterministic=self.deterministic, room=longest
                )
        if longest > context:
            raise TonyError(
                f"{cell.name}: the longest prompt needs {longest} ids and this model's context is {context}: lower --shots"
            )

    def _pair(self, prompt: str, choice: str) -> tuple[list[int], list[int]]:
        try:
            return split_ids(self.source.encode, prompt, choice, self.source.bos)
        except TonyError as error:
            raise TonyError(f"{self._cell.name if self._cell else ''}: {error}") from None

    def ask(self, questions: Sequence[Question]) -> list[Row]:
        """What the model makes of some questions of the cell begun."""
        assert self._cell is not None
        task = self._cell.task
        rows = self._choose(task, questions) if task.scoring == "choice" else self._write(task, questions)
        heads = [
            {"key": q.key, "task": task.name, "shots": self._cell.k, "item": q.number} for q in questions
        ]
        return [head | row for head, row in zip(heads, rows, strict=True)]

    def _choose(self, task: Task, questions: Sequence[Question]) -> list[Row]:
        """Nats and ids of every choice, after the prompt and after the answer context alone."""
        pairs = [self._pair(q.prompt, choice) for q in questions for choice in q.example.choices]
        plain = [self._pair(task.answer_context, choice) for q in questions for choice in q.example.choices]
        if self.deterministic:
            self._answer_scorer.forget()
            if not self._prefix:
                self._scorer.forget()
        scores = iter(
            zip(pairs, self._scorer.score(pairs, self._prefix), self._answer_scorer.score(plain), strict=True)
        )
        rows = []
        for question in questions:
            own = [next(scores) for _ in question.example.choices]
            rows.append(
                {
                    "nats": [round(score.total, 6) for _, score, _ in own],
                    "answer_nats": [round(score.total, 6) for _, _, score in own],
                    "tokens": [len(after) for (_, after), _, _ in own],
                }
            )
        return rows

    def _write(self, task: Task, questions: Sequence[Question]) -> list[Row]:
        assert self._engine is not None
        prompts = [q.prompt for q in questions]
        if task.beams > 1:
            texts = [
                self._engine.beam(
                    prompt,
                    width=task.beams,
                    length_penalty=task.length_penalty,
                    max_tokens=task.max_tokens,
                    stop=task.stop,
                ).text
                for prompt in prompts
            ]
        else:
            found = self._engine.complete(prompts, max_tokens=task.max_tokens, temperature=0, stop=task.stop)
            texts = [completion.text for (completion,) in found]
        rows: list[Row] = []
        for text, question in zip(texts, questions, strict=True):
            row: Row = {"answer": text}
            if task.metric != "bleu":
                row["score"] = METRICS[task.metric](text, accepted_of(question.example))
            rows.append(row)
        return rows


def accepted_of(example: Example) -> list[str]:
    return [example.target, *example.accepted]


def normalised(nats: float, answer_nats: float, choice: str, tokens: int, how: str) -> float:
    """The score of a choice, by the rule `how` of NORMALISATIONS; lengths are of the choice without the space before it."""
    text = choice.strip()
    match how:
        case "token":
            return nats / tokens
        case "character":
            return nats / max(len(text), 1)
        case "byte":
            return nats / max(len(text.encode()), 1)
        case "answer":
            return nats - answer_nats
    return nats


def picked(example: Example, row: Row, how: str) -> str:
    """The choice that the rule `how` prefers; of equals the first."""
    parts = zip(row["nats"], row["answer_nats"], example.choices, row["tokens"], strict=True)
    return example.choices[int(np.argmax([normalised(*part, how) for part in parts]))]


def values_of(cell: Cell, rows: Sequence[Row]) -> list[float | None]:
    """What each question counts, 0 to 1, by the task's own measure; None for BLEU, which is of all answers together."""
    task = cell.task
    if task.scoring == "choice":
        pairs = zip(cell.questions, rows, strict=True)
        return [float(picked(q.example, row, task.normalise) == q.example.target) for q, row in pairs]
    return [row.get("score") for row in rows]


def summarise(cell: Cell, rows: Sequence[Row]) -> tuple[Result, dict[str, Any]]:
    """The cell's result, and what else its rows say: for choices all normalisations."""
    task = cell.task
    if task.scoring == "choice":
        shares = {}
        for how in NORMALISATIONS:
            pairs = zip(cell.questions, rows, strict=True)
            right = sum(picked(q.example, row, how) == q.example.target for q, row in pairs)
            shares[how] = Result.share(cell.name, right, len(rows), f"accuracy by {how}")
        return shares[task.normalise], {"normalisations": {how: r.as_cell() for how, r in shares.items()}}
    if task.metric == "exact_match":
        return Result.share(cell.name, sum(row["score"] == 1 for row in rows), len(rows), "exact match"), {}
    if task.metric == "f1":
        return Result.mean(cell.name, [row["score"] for row in rows], "F1"), {}
    accepted = [accepted_of(question.example) for question in cell.questions]
    value, low, high = corpus_bleu([row["answer"] for row in rows], accepted)
    return Result(cell.name, "BLEU", value, low, high, len(rows)), {}
