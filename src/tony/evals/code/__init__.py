"""Functional correctness: programs that a model wrote, run in the sandbox and counted (Chen et al. 2021, section 2)."""

from tony.evals.code.draw import Drawing, draw
from tony.evals.code.grade import Graded, grade
from tony.evals.code.measure import evaluate, measure, temperature_for
from tony.evals.code.problems import Problem, read_problems
from tony.evals.code.sampler import Drawn, Sampler
from tony.evals.code.study import STUDIES, Asking, run_study

__all__ = [
    "STUDIES",
    "Asking",
    "Drawing",
    "Drawn",
    "Graded",
    "Problem",
    "Sampler",
    "draw",
    "evaluate",
    "grade",
    "measure",
    "read_problems",
    "run_study",
    "temperature_for",
]
