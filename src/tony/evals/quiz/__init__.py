"""Can people tell what a model wrote from what a person wrote? The blind quiz of GPT-3's section 3.9.4."""

from tony.evals.quiz.answers import Answer, Answers
from tony.evals.quiz.items import Item, Settings, make_items, read_items
from tony.evals.quiz.passages import Passage, choose, read_passages
from tony.evals.quiz.quiz import Quiz
from tony.evals.quiz.score import score, write_score

__all__ = [
    "Answer", "Answers", "Item", "Passage", "Quiz", "Settings", "choose", "make_items", "read_items",
    "read_passages", "score", "write_score",
]  # fmt: skip
