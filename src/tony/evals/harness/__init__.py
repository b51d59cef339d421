"""Tasks of EleutherAI's lm-evaluation-harness, asked of our own engine (extra `lm-eval`)."""

from tony.evals.harness.evaluate import HarnessSettings, evaluate_harness

__all__ = ["HarnessSettings", "evaluate_harness"]
