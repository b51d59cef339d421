"""What was asked (the recipe), and where its results live (the run folder)."""

from tony.runs.recipe import Recipe, Sampling, load_recipe
from tony.runs.run import Run, commit_hash, describe_environment

__all__ = ["Recipe", "Run", "Sampling", "commit_hash", "describe_environment", "load_recipe"]
