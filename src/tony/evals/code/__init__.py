"""Functional correctness: programs that a model wrote, run in the sandbox and counted (Chen et al. 2021, section 2)."""

from tony.evals.code.grade import Graded, grade
from tony.evals.code.problems import Problem, read_problems

__all__ = ["Graded", "Problem", "grade", "read_problems"]
