"""Probes of what a model says of people (Brown et al. 2020, section 6.2): gender, race and religion."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tony.errors import TonyError
from tony.evals.bias.evaluate import Settings, evaluate_bias
from tony.evals.bias.gender import gender
from tony.evals.bias.probe import Probe, Subject
from tony.evals.bias.race import race
from tony.evals.bias.religion import religion

PROBES: dict[str, Callable[[], Probe]] = {"gender": gender, "race": race, "religion": religion}

__all__ = ["PROBES", "Probe", "Settings", "Subject", "evaluate_bias", "find_probes"]


def find_probes(names: Iterable[str]) -> list[Probe]:
    """The probes of these names, each once.

    Raises:
        TonyError: there is no such probe, or what it needs is not installed.
    """
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in PROBES:
            raise TonyError(f"no probe {name!r}: use {', '.join(PROBES)}")
    return [PROBES[name]() for name in names]
