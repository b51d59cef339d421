"""A quiz as its page sees it: the next text of a participant, and never whose it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tony.evals.quiz.answers import Answers
from tony.evals.quiz.deal import deal
from tony.evals.quiz.items import Item


class Quiz:
    """Items, answers, and what is dealt to whom.

    Args:
        items: what is judged.
        answers: where answers are kept.
        seed: of what is dealt.
    """

    def __init__(self, items: Sequence[Item], answers: Answers, seed: int) -> None:
        self.items, self.answers, self.seed = items, answers, seed

    def begin(self) -> str:
        """The token of a new participant."""
        return self.answers.begin()

    def state(self, token: str) -> dict[str, Any] | None:
        """How far a participant is, and what they judge next: `answered`, `total`, `question` (opening and text; None when
        all is answered). None for a token not given out.
        """
        found = self.answers.find(token)
        if found is None:
            return None
        participant, answered = found
        question, total = None, len(self.items)
        if answered < total:
            shown = deal(total, participant, self.seed)[answered]
            item = self.items[shown.item]
            question = {"opening": item.opening, "text": item.text(shown.arm, shown.is_machine)}
        return {"answered": answered, "total": total, "question": question}

    def answer(self, token: str, place: int, rating: int) -> dict[str, Any] | None:
        """Keep the answer to the question in `place` (from 0) and return the new state; None as in `state`.

        An answer to any other question than the next is an old one sent twice, and is left out.
        """
        found = self.answers.find(token)
        if found is None:
            return None
        participant, answered = found
        if place == answered < len(self.items):
            self.answers.add(participant, deal(len(self.items), participant, self.seed)[place], rating)
        return self.state(token)
