"""The paper's other experiments on a ladder, and what its settings should be.

Each module here has `run(climber) -> Finding`, and goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from tony.errors import TonyError
from tony.forecast.climb import Climber
from tony.forecast.studies.finding import Axes, Curve, Finding

STUDIES = {
    "aspect": "loss against width/depth at one size",
    "classify": "error of pictures' classes after fine-tuning, beside training from nothing",
    "codes": "pictures as raw pixels and as codes of an autoencoder",
    "data": "loss against the size of a fixed data set, L(D)",
    "frontier": "the compute-optimal size: every size at the same budgets, N_opt(C)",
    "heldout": "how far the choice of test documents moves a forecast",
    "information": "what captions and pictures tell of each other",
    "levels": "mathematics beyond the difficulty that was trained",
    "modules": "which modules of mathematics are learned of a sudden, and off every law",
    "position": "loss against the position in the context",
    "rates": "the best learning rates, and how they fall with the length of training",
}

__all__ = ["STUDIES", "Axes", "Curve", "Finding", "study_named"]


def study_named(name: str) -> Callable[[Climber], Finding]:
    """The study's `run`.

    Raises:
        TonyError: there is none of that name.
    """
    if name not in STUDIES:
        raise TonyError(f"study {name!r} is not known. Known: {', '.join(STUDIES)}")
    return import_module(f"tony.forecast.studies.{name}").run
