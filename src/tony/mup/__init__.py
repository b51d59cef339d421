"""Maximal update parametrisation for any torch module: tune small, transfer to large."""

from tony.mup.coordinates import coordinate_check
from tony.mup.plan import Plan
from tony.mup.rules import Depth, Rule
from tony.mup.verdict import CoordinateCheck

__all__ = ["CoordinateCheck", "Depth", "Plan", "Rule", "coordinate_check"]
