"""What may come next: one small state machine, used by sampling and by scoring, so that a reply always decodes.

A reply is a list of wanted parts. Each part is its begin mark, its body, its end mark:

    text    at least one text id, then end_text             (forced when max_text ids are reached)
    image   exactly as many image ids as a picture has,     (then end_image is forced)
            each of those that its pixel may have
    audio   at least one sound id, then end_audio           (forced when max_seconds are reached)

The state is two counters, so it is copied with the KV cache at no cost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tony.errors import TonyError
from tony.runs.recipe import SamplingRecipe
from tony.tokens.vocabulary import SOUND_IDS_PER_SECOND, Vocabulary

WRITABLE = ("text", "image", "audio")


@dataclass(frozen=True)
class State:
    """Where a reply stands: in wanted part `part`, after `count` ids of its body; -1 before its begin mark."""

    want: tuple[str, ...]
    part: int = 0
    count: int = -1

    @property
    def is_done(self) -> bool:
        return self.part == len(self.want)

    @property
    def modality(self) -> str:
        return self.want[self.part]


class Grammar:
    """The rules for one vocabulary and its limits."""

    def __init__(self, vocabulary: Vocabulary, limits: SamplingRecipe) -> None:
        self.vocabulary = vocabulary
        self.most = {
            "text": limits.max_text,
            "audio": max(1, round(limits.max_seconds * SOUND_IDS_PER_SECOND)),
            "image": vocabulary.image.length if vocabulary.image is not None else 0,
        }

    def start(self, want: tuple[str, ...]) -> State:
        """The state before a reply of parts `want`.

        Raises:
            TonyError: nothing is wanted, or something that this model cannot write.
        """
        if not want:
            raise TonyError("nothing is asked for: want at least one of text, image, audio")
        for modality in want:
            if modality not in WRITABLE or modality not in self.vocabulary.modalities:
                able = ", ".join(m for m in self.vocabulary.modalities if m in WRITABLE)
                raise TonyError(f"this model does not write {modality!r}: ask for {able}")
        return State(tuple(want))

    def key(self, state: State) -> int:
        """The row of `masks` that says what may follow."""
        if state.is_done:
            return self._rows["nothing"]
        modality, most = state.modality, self.most[state.modality]
        if state.count < 0:
            return self._rows[f"begin {modality}"]
        if state.count >= most:
            return self._rows[f"end {modality}"]
        if modality == "image" and self._is_placed:
            return self._rows[f"body image {state.count}"]
        if modality == "image" or state.count == 0:
            return self._rows[f"body {modality}"]
        return self._rows[f"body or end {modality}"]

    def advance(self, state: State, index: int) -> State:
        """The state after id `index`.

        Raises:
            TonyError: the grammar does not allow that id here.
        """
        if not self.masks[self.key(state), index]:
            raise TonyError(
                f"id {index} may not follow here: the stream is not a reply of {', '.join(state.want)}"
            )
        if index == self.vocabulary.end(state.modality):
            return replace(state, part=state.part + 1, count=-1)
        return replace(state, count=state.count + 1)

    def length(self, want: tuple[str, ...]) -> int:
        """The most ids that a reply of `want` can have.

        Raises:
            TonyError: as `start` does.
        """
        self.start(want)
        return sum(self.most[m] + 2 for m in want)

    @property
    def _is_placed(self) -> bool:
        """Whether a picture's ids depend on their place in it."""
        return getattr(self.vocabulary.image, "placed", False)

    @cached_property
    def _rows(self) -> dict[str, int]:
        names = ["nothing"]
        for modality in WRITABLE:
            names += [f"begin {modality}", f"body {modality}", f"body or end {modality}", f"end {modality}"]
        if self._is_placed:
            names += [f"body image {place}" for place in range(self.most["image"])]
        return {name: row for row, name in enumerate(names)}

    @cached_property
    def masks(self) -> np.ndarray:
        """bool (rows, vocabulary): the ids that each kind of state allows."""
        v = self.vocabulary
        masks = np.zeros((len(self._rows), v.size), bool)
        masks[self._rows["nothing"], v.control("stop")] = True
        for modality in WRITABLE:
            body = v.ranges[modality]
            masks[self._rows[f"begin {modality}"], v.begin(modality)] = True
            masks[self._rows[f"body {modality}"], body.start : body.end] = True
            masks[self._rows[f"body or end {modality}"], body.start : body.end] = True
            masks[self._rows[f"body or end {modality}"], v.end(modality)] = True
            masks[self._rows[f"end {modality}"], v.end(modality)] = True
        if self._is_placed:
            for place in range(v.image.length):
                allowed = v.image.allowed(place)
                start = v.ranges["image"].start
                masks[self._rows[f"body image {place}"], start + allowed.start : start + allowed.stop] = True
        return masks
