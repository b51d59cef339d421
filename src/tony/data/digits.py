"""The digit world: the default data, the same on every machine.

Real: scikit-learn's 1,797 handwritten 8x8 digits. Rendered: number words that espeak-ng speaks in many voices. Held out,
never trained on: a fifth of the digit pictures, and whole voices.

A person shows, says or writes a number and asks for it back in any form:

    picture of 7                              -> "seven", or a picture of another 7, or the sound of "seven"
    "sept"                                    -> "seven"                 (no language asked: English)
    "seven", "fr:"                            -> "sept"
    picture of 3, "+", sound of "five"        -> "eight", or its picture, or its sound
    sound of "three plus five"                -> the sound of "eight"
    clip of a moving 4, "where:"              -> "left"

Pictures and sounds that go in come in many hands and voices. What comes back is in one preset voice for each language, as
assistants have them, and in one preset hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from tony.data.handwriting import to_pixels, vary
from tony.data.mixture import (
    ENGLISH,
    ENGLISH_SUMS,
    LESSONS,
    MIXTURE,
    SEVERAL_INPUTS,
    SPOKEN_SUM_OUTPUTS,
    SUM_INPUTS,
    SUM_OUTPUTS,
    WIDE,
    pick,
)
from tony.data.sources import Split
from tony.data.speech import Voice, speak, voices
from tony.data.words import PLUS, WORDS
from tony.errors import TonyError
from tony.media import Audio, Document, Image, Modality, Part, Text, Video
from tony.runs.data_recipes import DigitsData

DIRECTIONS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
NUM_DIGITS = 10
NUM_NUMBERS = 19
CLIP_FRAMES = 4
CLIP_FPS = 2.0
HELD_OUT_PICTURES = 5  # every fifth picture, after a seeded shuffle
AUGMENTED = 24  # variants of each training picture that a person might have drawn instead
HAND = 12  # pictures of each digit that answers are drawn from
CODEC_SOUNDS = 4000  # in training voices, an hour: more would only fill memory
SUM_VOICES = 8  # of each variant say sums in training, all but one with vocal tracts of other lengths
HELD_OUT_SUM_TAKES = 3  # of each sum of two digits and language
PRESET = {language: Voice(language=language, variant="Andy", pitch=45, rate=165) for language in WORDS}


@dataclass(frozen=True)
class Example:
    """A request, what should come back, and what a judge must know of it."""

    prompt: Document
    reply: Document
    want: tuple[Modality, ...]
    number: int
    language: str
    direction: str | None = None

    @property
    def document(self) -> Document:
        return self.prompt.as_role("user", counted=False) + self.reply.as_role("assistant", counted=True)


@dataclass(frozen=True)
class Utterance:
    """A sound and what is said in it."""

    audio: Audio
    language: str
    number: int
    addends: tuple[int, int] | None = None


def _say(job: tuple[str, Voice]) -> Audio:
    return speak(*job)


def _speak_all(jobs: Sequence[tuple[str, Voice]]) -> list[Audio]:
    """Every job spoken, in order; two processes share the work, as espeak-ng speaks in one thread only."""
    if len(jobs) < 200:
        return [_say(job) for job in jobs]
    with ProcessPoolExecutor(2) as pool:
        return list(pool.map(_say, jobs, chunksize=32))


class _WhenAsked(dict):
    """What `make` gives for a key, made when it is first asked for."""

    def __init__(self, make: Callable) -> None:
        self._make = make

    def __missing__(self, key: Split) -> dict:
        self[key] = self._make(key)
        return self[key]


class DigitWorld:
    """A `Source` of the digit world.

    Args:
        recipe: the `[data]` section.
        seed: everything that is drawn is a function of it.
    """

    def __init__(self, recipe: DigitsData | None = None, seed: int = 0) -> None:
        self.recipe = recipe or DigitsData()
        self.seed = seed
        unknown = set(self.recipe.mixture) - set(MIXTURE)
        if unknown:
            raise TonyError(
                f"data.mixture: no kind of example is named {sorted(unknown)[0]!r}: use {', '.join(MIXTURE)}"
            )
        self.mixture = MIXTURE | self.recipe.mixture
        if not any(self.mixture.values()):
            raise TonyError("data.mixture gives every kind of example the share 0: give one of them more")

    @cached_property
    def _pictures(self) -> dict[Split, tuple[np.ndarray, np.ndarray]]:
        """For each split the pictures (n, 8, 8) with values 0 to 16, and their digits (n,)."""
        from sklearn.datasets import load_digits

        data = load_digits()
        order = np.random.default_rng([self.seed, 1]).permutation(len(data.images))
        held = np.zeros(len(order), bool)
        held[order[::HELD_OUT_PICTURES]] = True
        return {
            "train": (data.images[~held], data.target[~held]),
            "heldout": (data.images[held], data.target[held]),
        }

    def pictures(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Real pictures uint8 (n, 8, 8) of one split, and the digit (n,) of each."""
        values, digits = self._pictures[split]
        return to_pixels(values), digits

    @cached_property
    def _shown(self) -> dict[Split, dict[int, list[Image]]]:
        """By split and digit the pictures that go in: held-out ones as they are, training ones varied as well."""
        shown: dict[Split, dict[int, list[Image]]] = {}
        for split, (values, digits) in self._pictures.items():
            pixels, labels = to_pixels(values), digits
            if split == "train":
                varied = vary(values, AUGMENTED, np.random.default_rng([self.seed, 2]))
                pixels = np.concatenate([pixels, to_pixels(varied)])
                labels = np.concatenate([digits, np.tile(digits, AUGMENTED)])
            shown[split] = {d: [Image(p) for p in pixels[labels == d]] for d in range(NUM_DIGITS)}
        return shown

    @cached_property
    def _drawn(self) -> dict[int, list[Image]]:
        """By digit the pictures that come back: the real training pictures nearest to their digit's mean.

        They are the preset hand, as the preset voice is one: a network that must learn every hand spends nearly all of
        its loss on how people differ, and little on which digit it is (NOTEBOOK.md).
        """
        pixels, digits = self.pictures("train")
        drawn = {}
        for digit in range(NUM_DIGITS):
            own = pixels[digits == digit]
            distance = ((own - own.mean(0)) ** 2).sum((1, 2))
            drawn[digit] = [Image(p) for p in own[np.argsort(distance, kind="stable")[:HAND]]]
        return drawn

    @cached_property
    def _utterances(self) -> dict[Split, dict[tuple[str, int], list[Utterance]]]:
        return _WhenAsked(self._speak_words)

    def _speak_words(self, split: Split) -> dict[tuple[str, int], list[Utterance]]:
        keys, jobs = [], []
        for language in self.recipe.languages:
            per_variant = 1 + self.recipe.voices // 60
            cast = voices(language, split, per_variant=per_variant, seed=self.seed)
            rng = np.random.default_rng([self.seed, 3, *language.encode()])
            cast = [cast[i] for i in sorted(rng.permutation(len(cast))[: self.recipe.voices])]
            for voice in cast:
                for number in range(NUM_NUMBERS):
                    keys.append((language, number))
                    jobs.append((WORDS[language][number], voice))
        bank: dict[tuple[str, int], list[Utterance]] = {}
        for (language, number), audio in zip(keys, _speak_all(jobs), strict=True):
            bank.setdefault((language, number), []).append(Utterance(audio, language, number))
        return bank

    def utterances(self, split: Split) -> list[Utterance]:
        """Every number word of one split's voices."""
        return [u for bank in self._utterances[split].values() for u in bank]

    def preset_utterances(self) -> list[Utterance]:
        """Every number word in the voices that answer."""
        return [Utterance(audio, language, number) for (language, number), audio in self._preset.items()]

    @cached_property
    def _sums(self) -> dict[Split, dict[str, list[Utterance]]]:
        return _WhenAsked(self._speak_sums)

    def _speak_sums(self, split: Split) -> dict[str, list[Utterance]]:
        rng = np.random.default_rng([self.seed, 4, split == "train"])
        keys, jobs = [], []
        for language in self.recipe.languages:
            cast = voices(language, split, per_variant=SUM_VOICES if split == "train" else 1, seed=self.seed)
            takes = self.recipe.sum_takes if language == "en" else -(-self.recipe.sum_takes // 10)
            takes = min(takes, len(cast)) if split == "train" else HELD_OUT_SUM_TAKES
            for a in range(NUM_DIGITS):
                for b in range(NUM_DIGITS):
                    for i in rng.choice(len(cast), takes, replace=False):
                        keys.append((language, a, b))
                        jobs.append((f"{WORDS[language][a]} {PLUS[language]} {WORDS[language][b]}", cast[i]))
        bank: dict[str, list[Utterance]] = {}
        for (language, a, b), audio in zip(keys, _speak_all(jobs), strict=True):
            bank.setdefault(language, []).append(Utterance(audio, language, a + b, (a, b)))
        return bank

    @cached_property
    def _preset(self) -> dict[tuple[str, int], Audio]:
        keys = [(language, n) for language in self.recipe.languages for n in range(NUM_NUMBERS)]
        sounds = _speak_all([(WORDS[language][n], PRESET[language]) for language, n in keys])
        return dict(zip(keys, sounds, strict=True))

    def part(
        self, modality: str, number: int, language: str, split: Split, rng: np.random.Generator
    ) -> list[Part]:
        """The number as it goes in: one part, or two pictures for a number of two digits."""
        match modality:
            case "text":
                return [Text(WORDS[language][number])]
            case "audio":
                bank = self._utterances[split][language, number]
                return [bank[rng.integers(len(bank))].audio]
            case "image":
                banks = [self._shown[split][int(d)] for d in str(number)]
                return [bank[rng.integers(len(bank))] for bank in banks]
            case "video":
                direction = list(DIRECTIONS)[rng.integers(len(DIRECTIONS))]
                return [self.clip(number, direction, split, rng)]
        raise AssertionError(modality)

    def clip(self, digit: int, direction: str, split: Split, rng: np.random.Generator) -> Video:
        """Four frames: the digit in its place, then one pixel further in each frame."""
        bank = self._shown[split][digit]
        pixels = bank[rng.integers(len(bank))].pixels[..., 0]
        dy, dx = DIRECTIONS[direction]
        frames = [ndimage.shift(pixels, (dy * t, dx * t), order=0) for t in range(CLIP_FRAMES)]
        return Video(np.stack(frames), CLIP_FPS)

    def answer(self, modality: str, number: int, language: str, rng: np.random.Generator) -> list[Part]:
        """The number as it comes back."""
        match modality:
            case "text":
                return [Text(WORDS[language][number])]
            case "audio":
                return [self._preset[language, number]]
            case "image":
                banks = [self._drawn[int(d)] for d in str(number)]
                return [bank[rng.integers(len(bank))] for bank in banks]
        raise AssertionError(modality)

    def _language(self, rng: np.random.Generator) -> str:
        languages = self.recipe.languages
        others = (1 - ENGLISH) / max(1, len(languages) - 1)
        shares = {language: ENGLISH if language == "en" else others for language in languages}
        return pick(rng, shares)

    def show(
        self,
        source: str,
        want: Sequence[str],
        spoken: str,
        asked: str,
        split: Split,
        rng: np.random.Generator,
    ) -> Example:
        """A number goes in as `source` in language `spoken`, and comes back as `want` in language `asked`."""
        # One digit, as everywhere but in sums; training also names larger numbers now and then, for their words.
        is_wide = (
            split == "train" and source in ("text", "audio") and "image" not in want and rng.random() < WIDE
        )
        number = int(rng.integers(NUM_NUMBERS if is_wide else NUM_DIGITS))
        prompt = self.part(source, number, spoken, split, rng)
        return self._example(prompt, want, number, asked, rng)

    def add(
        self, sources: tuple[str, str], want: Sequence[str], spoken: str, asked: str, split: Split,
        rng: np.random.Generator,
    ) -> Example:  # fmt: skip
        """Two digits go in, each in its own form, and their sum comes back."""
        a, b = (int(d) for d in rng.integers(NUM_DIGITS, size=2))
        if sources == ("text", "text"):
            prompt: list[Part] = [Text(f"{WORDS[spoken][a]} + {WORDS[spoken][b]}")]
        else:
            first, second = (
                self.part(m, n, spoken, split, rng) for m, n in zip(sources, (a, b), strict=True)
            )
            prompt = [*first, Text("+"), *second]
        return self._example(prompt, want, a + b, asked, rng)

    def spoken_sum(
        self, want: Sequence[str], spoken: str, asked: str, split: Split, rng: np.random.Generator
    ) -> Example:
        """One sound in which a sum is said, such as "three plus five"."""
        bank = self._sums[split][spoken]
        said = bank[rng.integers(len(bank))]
        return self._example([said.audio], want, said.number, asked, rng)

    def where(self, split: Split, rng: np.random.Generator) -> Example:
        """A clip, and the question which way its digit moves."""
        digit = int(rng.integers(NUM_DIGITS))
        direction = list(DIRECTIONS)[rng.integers(len(DIRECTIONS))]
        prompt = Document([self.clip(digit, direction, split, rng), Text("where:")])
        return Example(prompt, Document([Text(direction)]), ("text",), digit, "en", direction)

    def _example(
        self, prompt: list[Part], want: Sequence[str], number: int, asked: str, rng: np.random.Generator
    ) -> Example:
        if asked != "en" and any(m in ("text", "audio") for m in want):
            prompt = [*prompt, Text(f"{asked}:")]
        parts, kinds = [], []
        for modality in want:
            answer = self.answer(modality, number, asked, rng)
            parts += answer
            kinds += [modality] * len(answer)
        return Example(Document(prompt), Document(parts), tuple(kinds), number, asked)

    def draw(
        self, split: Split, rng: np.random.Generator, mixture: Mapping[str, float] | None = None
    ) -> Example:
        """One example of `mixture` (that of the recipe, where none is given)."""
        kind = pick(rng, mixture or self.mixture)
        spoken = self._language(rng)
        asked = spoken if rng.random() < 0.5 else self._language(rng)
        if kind == "video->direction":
            return self.where(split, rng)
        if kind == "several":
            want = [str(m) for m in rng.permutation(["text", "image", "audio"])[: rng.integers(2, 4)]]
            return self.show(pick(rng, SEVERAL_INPUTS), want, spoken, asked, split, rng)
        if "->" in kind:
            source, want = kind.split("->")
            if kind == "text->text" and rng.random() < 0.9:
                asked = self._language(rng)  # a word in its own language teaches little
            return self.show(source, [want], spoken, asked, split, rng)
        if "en" in self.recipe.languages and rng.random() < ENGLISH_SUMS:
            spoken = asked = "en"
        if kind == "spoken sum":
            return self.spoken_sum([pick(rng, SPOKEN_SUM_OUTPUTS)], spoken, asked, split, rng)
        sum_want = [pick(rng, SUM_OUTPUTS)]
        if kind == "text+text":
            return self.add(("text", "text"), ["text"], spoken, asked, split, rng)
        first, second = pick(rng, SUM_INPUTS).split("+")
        return self.add((first, second), sum_want, spoken, asked, split, rng)

    def documents(self, split: Split) -> Iterator[Document]:
        rng = np.random.default_rng([self.seed, 5, split == "train"])
        examples = self.recipe.examples if split == "train" else 1_000
        lessons = round(self.recipe.lessons * examples) if split == "train" else 0
        for i in range(examples):
            yield self.draw(split, rng, LESSONS if i < lessons else None).document

    def texts(self) -> Iterator[str]:
        for language in self.recipe.languages:
            yield from WORDS[language]
            yield f"{language}:"
            yield from (
                f"{a} + {b}" for a in WORDS[language][:NUM_DIGITS] for b in WORDS[language][:NUM_DIGITS]
            )
        yield from ("where:", "+", *DIRECTIONS)

    def images(self) -> list[Image]:
        return [image for bank in self._drawn.values() for image in bank]

    def sounds(self) -> list[Audio]:
        """What the sound codec learns from: words and sums in training voices, and a third words in preset voices.

        With a seventh of them the small codec kept all but one preset word apart (NOTEBOOK.md).
        """
        spoken = [u.audio for bank in self._sums["train"].values() for u in bank]
        spoken += [u.audio for u in self.utterances("train")]
        chosen = np.random.default_rng([self.seed, 6]).permutation(len(spoken))[:CODEC_SOUNDS]
        preset = list(self._preset.values())
        return [spoken[i] for i in chosen] + preset * -(-len(chosen) // (2 * len(preset)))
