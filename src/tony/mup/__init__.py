"""Maximal update parametrisation for any torch module: tune small, transfer to large."""

from tony.mup.plan import Plan
from tony.mup.rules import Depth, Rule

__all__ = ["Depth", "Plan", "Rule"]
