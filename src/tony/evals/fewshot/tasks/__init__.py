"""The tasks that come with Tony, a group a file: made by rule, or from data in ordinary packages."""

from tony.evals.fewshot.tasks.arithmetic import arithmetic
from tony.evals.fewshot.tasks.captions import translation
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
    "translation": translation,
}

__all__ = ["GROUPS"]
