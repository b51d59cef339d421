"""The tasks that need no data set: a group a file."""

from tony.evals.fewshot.tasks.arithmetic import arithmetic
from tony.evals.fewshot.tasks.grammar import grammar
from tony.evals.fewshot.tasks.novel import novel
from tony.evals.fewshot.tasks.numbers import numbers
from tony.evals.fewshot.tasks.scramble import scramble
from tony.evals.fewshot.tasks.wordnet_tasks import wordnet

GROUPS = {
    "arithmetic": arithmetic,
    "scramble": scramble,
    "numbers": numbers,
    "wordnet": wordnet,
    "grammar": grammar,
    "novel": novel,
}

__all__ = ["GROUPS"]
