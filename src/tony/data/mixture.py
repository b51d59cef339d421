"""What the digit world draws, in shares: kinds of example, what goes into sums, languages.

A kind is named as its cell of the any-to-any table.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# What training begins with (`data.lessons`): the parts are named one by one before they are added, drawn and said. A
# network that is given everything at once learns to read pictures and sounds much later (NOTEBOOK.md).
LESSONS = {
    "text->text": 0.07, "text->image": 0.05, "text->audio": 0.07, "image->text": 0.36, "audio->text": 0.29,
    "text+text": 0.16,
}  # fmt: skip
# Examples by kind, in shares. A kind is named as its cell of the any-to-any table. Short kinds are drawn often: an
# example of text to text costs 12 ids, one that begins with a clip 270, and both show one number once.
MIXTURE = {
    "text->text": 0.02, "text->image": 0.01, "text->audio": 0.015,
    "image->text": 0.085, "image->image": 0.075, "image->audio": 0.055,
    "audio->text": 0.055, "audio->image": 0.045, "audio->audio": 0.06,
    "video->text": 0.016, "video->image": 0.055, "video->audio": 0.014, "video->direction": 0.01,
    "text+text": 0.03, "parts+parts": 0.2, "spoken sum": 0.23, "several": 0.045,
}  # fmt: skip
SUM_OUTPUTS = {"text": 0.85, "audio": 0.1, "image": 0.05}
SPOKEN_SUM_OUTPUTS = {"text": 0.47, "audio": 0.5, "image": 0.03}
SEVERAL_INPUTS = {"text": 0.15, "image": 0.45, "audio": 0.35, "video": 0.05}
# A picture is long and a clip longer: a sum of two pictures is rarer than one of a picture and a sound.
SUM_INPUTS = {
    "image+audio": 0.56, "audio+image": 0.10, "image+text": 0.06, "text+image": 0.06, "audio+text": 0.05,
    "text+audio": 0.05, "audio+audio": 0.06, "image+image": 0.04, "video+audio": 0.01, "text+video": 0.01,
}  # fmt: skip
WIDE = 0.15  # share of training's spoken and written numbers that go up to 18
ENGLISH = 0.5  # share of English among the languages
ENGLISH_SUMS = 0.9  # share of shown and spoken sums that are English whatever was drawn


def pick(rng: np.random.Generator, shares: Mapping[str, float]) -> str:
    """A name, each as often as its share says (`Generator.choice` takes ten times as long for so few)."""
    left = rng.random() * sum(shares.values())
    for name, share in shares.items():
        left -= share
        if left < 0:
            return name
    return max(shares, key=shares.__getitem__)  # rounding left nothing
