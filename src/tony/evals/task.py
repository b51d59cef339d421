"""The contract of an evaluation: examples, how they are asked, how answers are scored; numbers with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tony.errors import TonyError
from tony.evals.intervals import student, wilson
from tony.media import Part


@dataclass(frozen=True)
class Result:
    """A measured share, or the mean of a score.

    Attributes:
        name: what was measured.
        metric: of what kind the value is.
        value: right answers over questions, or the mean.
        low, high: the 95% interval of the value.
        n: questions.
    """

    name: str
    metric: str
    value: float
    low: float
    high: float
    n: int

    @classmethod
    def share(cls, name: str, right: int, n: int, metric: str = "accuracy") -> Result:
        """`right` of `n`, with its Wilson interval."""
        return cls(name, metric, right / n, *wilson(right / n, n), n)

    @classmethod
    def mean(cls, name: str, values: Sequence[float], metric: str) -> Result:
        """The mean of `values` with the interval of Student's t."""
        return cls(name, metric, math.fsum(values) / len(values), *student(values), len(values))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def as_cell(self) -> dict[str, Any]:
        """The short form of the any-to-any table."""
        return {"accuracy": self.value, "low": self.low, "high": self.high, "n": self.n}


@dataclass(frozen=True, kw_only=True)
class Example:
    """One question with its answer.

    Attributes:
        context: all the text that stands before the answer.
        target: the right completion as it follows the context, its space included (" 143").
        accepted: further right completions.
        choices: the completions to compare, `target` among them, where the task is one of choice.
        parts: pictures and sounds that are asked about, before the context; only omni models see them.
    """

    context: str
    target: str
    accepted: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()


NORMALISATIONS = ("sum", "token", "character", "byte", "answer")


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is asked, and how it is scored. A new task is one of these; see docs/fewshot.md.

    A prompt is `head`, then the K examples (context and target), then the question's context, with `between` between
    examples. With `scoring="choice"` the choice of highest likelihood is the answer; with "generate" it is what the model
    writes up to a stop string.

    Attributes:
        name: what results call it.
        test: the questions.
        train: what the K examples are drawn from; none of the questions is among them.
        head: stands before everything, at K = 0 too.
        between: stands between examples.
        scoring: "choice" or "generate".
        normalise: how likelihoods of choices are made comparable. All of NORMALISATIONS are reported; this one, named before
            anything is run, is the task's result. "sum" takes nats as they are; "token", "character" and "byte" divide by
            the length of the choice (GPT-3's default is "token"); "answer" subtracts the nats of the choice after
            `answer_context` (GPT-3 for ARC, OpenBookQA and RACE).
        answer_context: see `normalise`.
        metric: of generated answers: "exact_match", "f1" (words in common, as SQuAD) or "bleu".
        stop: strings that end an answer.
        max_tokens: ids of an answer at most.
        beams: width of the beam search; 1 is greedy.
        length_penalty: of the beam search (GPT-3: 0.6).
        version: raised when the questions or the scoring change.
    """

    name: str
    test: Callable[[], Sequence[Example]]
    train: Callable[[], Sequence[Example]]
    head: str = ""
    between: str = ""
    scoring: Literal["choice", "generate"] = "generate"
    normalise: Literal["sum", "token", "character", "byte", "answer"] = "token"
    answer_context: str = "Answer:"
    metric: Literal["exact_match", "f1", "bleu"] = "exact_match"
    stop: tuple[str, ...] = ("\n",)
    max_tokens: int = 16
    beams: int = 1
    length_penalty: float = 0.6
    version: int = 1

    def prefix(self, shots: Sequence[Example]) -> str:
        """All of a prompt that stands before the question."""
        return self.head + "".join(shot.context + shot.target + self.between for shot in shots)

    def check(self, example: Example) -> None:
        """
        Raises:
            TonyError: nothing is asked, or there is nothing to choose from.
        """
        if not example.context.strip() and not example.parts:
            raise TonyError(f"{self.name}: an example has an empty context. Every example needs a question")
        if not example.target.strip():
            raise TonyError(f"{self.name}: the example {example.context.strip()[:40]!r} has an empty target")
        if self.scoring == "choice" and (len(example.choices) < 2 or example.target not in example.choices):
            raise TonyError(
                f"{self.name}: the example {example.context.strip()[:40]!r} needs two choices or more, its target among them"
            )
