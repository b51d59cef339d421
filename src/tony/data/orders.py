"""In which orders an example is shown: what of it is the user's, and what comes back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tony.media import Document, Modality, Part, Text

STRETCH = 800  # characters of a beginning and its continuation
UNTAGGED = 0.4  # share of what is asked for in the language that carries no tag, where there is a choice
TRANSLATED = 0.3  # share of the documents that show an example's text in a second language
FEWER = 0.3  # share of the documents that leave parts of an example out: shorter ones also fill windows up
SEVERAL_GIVEN = 0.4  # share of the documents whose user may give more than one part


@dataclass(frozen=True, eq=False)
class Slot:
    """One thing that an example holds: a picture, a clip, or its words or sound in one or more languages."""

    modality: Modality
    variants: dict[str | None, Part]

    @property
    def has_languages(self) -> bool:
        return self.modality in ("text", "audio")

    def map(self, change: Callable[[Part], Part]) -> Slot:
        """The slot with each of its parts changed."""
        return Slot(self.modality, {language: change(part) for language, part in self.variants.items()})

    def speaks(self, language: str | None) -> bool:
        """Whether it can come back where `language` is asked for."""
        return not self.has_languages or language in self.variants


def arrange(slots: Sequence[Slot], order: int, rng: np.random.Generator) -> list[Document]:
    """The documents of one order of an example: parts that the user gives, then parts that come back.

    Every part counts in the loss, so that the model learns to write each kind; the request for a language does not.
    """
    slots = list(slots)
    if len(slots) == 1 and len(slots[0].variants) == 1:
        ((language, part),) = slots[0].variants.items()
        if isinstance(part, Text):
            return continuations(part.text, rng) if order else [Document([replace(part, role="user")])]
        return [Document([replace(part, role="assistant")])]
    slots = [slots[i] for i in rng.permutation(len(slots))]
    if len(slots) > 1 and rng.random() < FEWER:
        least = 1 if len(slots[0].variants) > 1 else 2
        slots = slots[: max(least, int(rng.integers(1, len(slots))))]
    num_given = (
        1 + int(rng.integers(len(slots) - 1)) if len(slots) > 1 and rng.random() < SEVERAL_GIVEN else 1
    )
    given, asked = slots[:num_given], slots[num_given:]
    translated = [slot for slot in slots if len(slot.variants) > 1 and (slot.modality == "text" or not asked)]
    if translated and (not asked or rng.random() < TRANSLATED):
        side = asked if translated[0] in given else given
        side.insert(int(rng.integers(len(side) + 1)), translated[0])
    languages = _sorted({language for slot in asked if slot.has_languages for language in slot.variants})
    language = _choose(languages, rng)
    given += [slot for slot in asked if not slot.speaks(language) and slot not in given]
    asked = [slot for slot in asked if slot.speaks(language)]
    parts: list[Part] = []
    for slot in given:
        others = [other for other in slot.variants if other != language or slot not in asked]
        parts.append(replace(slot.variants[_choose(_sorted(others), rng)], role="user"))
    if language is not None and any(slot.has_languages for slot in asked):
        parts.append(Text(f"{language}:", role="user", counted=False))
    for slot in asked:
        parts.append(replace(slot.variants[language if slot.has_languages else None], role="assistant"))
    return [Document(parts)]


def _sorted(languages: Iterable[str | None]) -> list[str | None]:
    return sorted(languages, key=lambda language: language or "")


def _choose(languages: Sequence[str | None], rng: np.random.Generator) -> str | None:
    if not languages:
        return None
    if None in languages and rng.random() < UNTAGGED:
        return None
    return languages[rng.integers(len(languages))]


def continuations(text: str, rng: np.random.Generator) -> list[Document]:
    """Stretches of a text, each as a beginning (user) and how it goes on (assistant)."""
    documents = []
    for a, b in sections(text, STRETCH):
        piece = text[a:b]
        breaks = [match.start() for match in re.finditer(r"(?<=\S)\s", piece)]
        if not breaks:
            documents.append(Document([Text(piece, role="user")]))
            continue
        at = breaks[rng.integers(len(breaks))]
        documents.append(Document([Text(piece[:at], role="user"), Text(piece[at:], role="assistant")]))
    return documents


def sections(text: str, length: int) -> list[tuple[int, int]]:
    """Bounds of consecutive stretches of about `length` characters that end at a blank line, a line, or a word."""
    bounds, start = [], 0
    while len(text) - start > 1.5 * length:
        window = text[start + length // 2 : start + length]
        for mark in ("\n\n", "\n", " "):
            place = window.rfind(mark)
            if place >= 0:
                end = start + length // 2 + place + len(mark)
                break
        else:
            end = start + length
        bounds.append((start, end))
        start = end
    return [*bounds, (start, len(text))]
