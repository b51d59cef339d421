"""Worked examples with pictures and sounds: turns of a conversation before the question's own turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tony.engine import Omni
from tony.engine.score import Scorer
from tony.errors import TonyError
from tony.evals.fewshot.cell import Cell, Question, Row, accepted_of
from tony.evals.fewshot.metrics import METRICS
from tony.evals.task import Example
from tony.media import Document, Part, Text
from tony.model.machine import autocast
from tony.runs.recipe import Sampling

GREEDY = {"text": Sampling(temperature=0.0)}


class OmniAsker:
    """An omni model, ready to answer the cells of one evaluation: what is asked is the user's, an answer the assistant's."""

    def __init__(self, omni: Omni) -> None:
        self.omni = omni
        self._scorer = Scorer(omni.engine.model)
        self._cell: Cell | None = None

    def begin(self, cell: Cell) -> None:
        """Make ready for a cell.

        Raises:
            TonyError: a prompt does not fit the model's context, or the task is scored in a way that text alone can be.
        """
        self._cell = cell
        if cell.task.beams > 1 or cell.task.metric == "bleu":
            raise TonyError(f"{cell.name}: omni models answer greedily, by exact match or F1, or by choice")
        context, answer = self.omni.engine.model.config.context, self.omni.grammar.length(("text",))
        longest = max(len(self.omni.prompt(document_of(q))) for q in cell.questions) + answer
        if longest > context:
            raise TonyError(
                f"{cell.name}: the longest prompt needs {longest} ids with its answer and this model's context is "
                f"{context}: lower --shots"
            )

    def ask(self, questions: Sequence[Question]) -> list[Row]:
        """What the model makes of some questions of the cell begun."""
        assert self._cell is not None
        task = self._cell.task
        rows = self._choose(questions) if task.scoring == "choice" else self._write(questions)
        heads = [
            {"key": q.key, "task": task.name, "shots": self._cell.k, "item": q.number} for q in questions
        ]
        return [head | row for head, row in zip(heads, rows, strict=True)]

    def _choose(self, questions: Sequence[Question]) -> list[Row]:
        """Nats of each choice as the whole of an answer, after the prompt and after nothing but the assistant's mark."""
        vocabulary = self.omni.vocabulary
        start = vocabulary.begin("text")
        bare = [vocabulary.control("start"), vocabulary.control("assistant"), start]
        pairs, plain = [], []
        for question in questions:
            prompt = [*self.omni.prompt(document_of(question)).tolist(), start]
            for choice in question.example.choices:
                ids = [*vocabulary.encode_part(Text(choice.strip())).tolist(), vocabulary.end("text")]
                pairs.append((prompt, ids))
                plain.append((bare, ids))
        self._scorer.forget()
        engine = self.omni.engine
        with autocast(engine.device, engine.precision):
            scores = zip(self._scorer.score(pairs), self._scorer.score(plain), pairs, strict=True)
        found = iter([(one.total, other.total, len(ids)) for one, other, (_, ids) in scores])
        rows = []
        for question in questions:
            own = [next(found) for _ in question.example.choices]
            rows.append(
                {
                    "nats": [round(nats, 6) for nats, _, _ in own],
                    "answer_nats": [round(nats, 6) for _, nats, _ in own],
                    "tokens": [count for _, _, count in own],
                }
            )
        return rows

    def _write(self, questions: Sequence[Question]) -> list[Row]:
        assert self._cell is not None
        wants = [("text",)] * len(questions)
        replies = self.omni.replies([document_of(q) for q in questions], wants, sampling=GREEDY)
        metric = METRICS[self._cell.task.metric]
        texts = [part.text for (part,) in replies]
        return [
            {"answer": text, "score": metric(text, accepted_of(q.example))}
            for text, q in zip(texts, questions, strict=True)
        ]


def document_of(question: Question) -> Document:
    """The conversation: a turn of the user and one of the assistant for each worked example, then the question's."""
    parts: list[Part] = []
    for shot in question.shots:
        parts += [*_asked(shot), Text(shot.target.strip(), role="assistant")]
    return Document([*parts, *_asked(question.example)])


def _asked(example: Example) -> list[Part]:
    parts: list[Part] = [replace(part, role="user") for part in example.parts]
    if example.context.strip():
        parts.append(Text(example.context.strip(), role="user"))
    return parts
