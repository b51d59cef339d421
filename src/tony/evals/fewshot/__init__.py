"""In-context evaluation: a task is asked with K worked examples in the prompt, and nothing is trained."""

from tony.evals.fewshot.evaluate import Settings, evaluate_fewshot
from tony.evals.fewshot.find import find_tasks

__all__ = ["Settings", "evaluate_fewshot", "find_tasks"]
