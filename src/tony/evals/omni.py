"""The any-to-any table: every kind of input against every kind of output, on held-out digits, voices and clips.

A cell's name says what goes in and what comes back: `image+audio->text` is a picture and a spoken number whose sum comes
back as a word. Words must match letter by letter; pictures and sounds are judged by classifiers that were trained on
real examples only (tony.evals.judges). A reply of several parts is right when all of them are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tony.atomic import replacing, write_json
from tony.data.digits import WORDS, DigitWorld, Example
from tony.engine import Omni
from tony.errors import TonyError
from tony.evals.answers import answers_of
from tony.evals.judges import Heard, ImageJudge, SoundJudge, digits_of
from tony.evals.task import Result
from tony.media import Document, Image, Text, Video
from tony.model.machine import give_back_memory
from tony.runs.data_recipes import DigitsData

EXAMPLES = 500
SUITE_SEED = 2024
Make = Callable[[DigitWorld, np.random.Generator], Example]


@dataclass(frozen=True)
class Cell:
    """One square of the table in one language; `make` draws a held-out example of it."""

    name: str
    language: str
    make: Make


def _show(source: str, want: Sequence[str], spoken: str, asked: str) -> Make:
    return lambda world, rng: world.show(source, want, spoken, asked, "heldout", rng)


def _translate(to: str) -> Make:
    """A number word of another language comes back in language `to`; English goes to the others."""

    def make(world: DigitWorld, rng: np.random.Generator) -> Example:
        others = [language for language in world.recipe.languages if language != to]
        spoken = "en" if to != "en" else others[rng.integers(len(others))]
        return world.show("text", ["text"], spoken, to, "heldout", rng)

    return make


def cells_of(language: str) -> list[Cell]:
    """The table of one language; English has the sums, the directions and the replies of several parts as well."""
    sources = ("text", "image", "audio", "video")
    wants = ("text", "image", "audio")
    cells = []
    for source in sources:
        for want in wants:
            name = f"{source}->{want}"
            if name == "text->text":
                cells.append(Cell(name, language, _translate(language)))
            elif language == "en" or (want != "image" and (source, want) != ("video", "audio")):
                cells.append(Cell(name, language, _show(source, [want], language, language)))
    if language == "en":
        add = DigitWorld.add
        several = ["text", "image", "audio"]
        cells += [
            Cell(
                "text+text->text",
                "en",
                lambda w, r: add(w, ("text", "text"), ["text"], "en", "en", "heldout", r),
            ),
            Cell(
                "image+audio->text",
                "en",
                lambda w, r: add(w, ("image", "audio"), ["text"], "en", "en", "heldout", r),
            ),
            Cell("audio+audio->audio", "en", lambda w, r: w.spoken_sum(["audio"], "en", "en", "heldout", r)),
            Cell("video->direction", "en", lambda w, r: w.where("heldout", r)),
            Cell("image->text+image+audio", "en", _show("image", several, "en", "en")),
        ]
    return cells


@dataclass(frozen=True)
class Verdict:
    """What came back for one example, in words, and whether it was right."""

    cell: Cell
    example: Example
    answer: list[str]
    right: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "cell": self.cell.name,
            "language": self.cell.language,
            "prompt": [_in_words(part) for part in self.example.prompt],
            "expected": [*_expected(self.example)],
            "answer": self.answer,
            "right": self.right,
        }


def evaluate_omni(
    omni: Omni,
    examples: int = EXAMPLES,
    seed: int = SUITE_SEED,
    progress: Callable[[int, int], None] | None = None,
    processes: int | None = None,
) -> dict[str, Any]:
    """The any-to-any table of `omni`, written to evals/omni.json of its run, with samples and timings beside.

    `processes` answer (default: one a core).

    Raises:
        TonyError: the model was not trained on the digit world.
    """
    if not isinstance(omni.recipe.data, DigitsData):
        raise TonyError(
            f"{omni.name} was not trained on the digit world: the omni suite asks for digits and number words"
        )
    began = time.perf_counter()
    world = DigitWorld(omni.recipe.data, omni.recipe.seed)
    image_judge, sound_judge = ImageJudge(world), SoundJudge(world)
    give_back_memory()  # the judges' training words
    judges_ready = time.perf_counter()
    verdicts: list[Verdict] = []
    cells = [cell for language in world.recipe.languages for cell in cells_of(language)]
    if len(world.recipe.languages) == 1:  # there is nothing to translate from
        cells = [cell for cell in cells if cell.name != "text->text"]

    def questions() -> Iterator[tuple[list[Example], int]]:
        for number, cell in enumerate(cells):
            rng = np.random.default_rng([seed, number])
            yield [cell.make(world, rng) for _ in range(examples)], seed + number * examples

    with answers_of(omni, processes) as answers:
        for cell, (asked, replies) in zip(cells, answers.each(questions()), strict=True):
            verdicts += judge(cell, asked, replies, image_judge, sound_judge)
            if progress:
                progress(len(verdicts) // examples, len(cells))
    result = summarise(verdicts, image_judge, sound_judge)
    result["settings"] = {"examples": examples, "seed": seed, "sampling": omni.recipe.sampling.model_dump()}
    if omni.run is not None:
        evals = omni.run.path / "evals"
        with replacing(evals / "omni.jsonl") as temporary:
            temporary.write_text(
                "".join(json.dumps(v.to_dict(), ensure_ascii=False) + "\n" for v in verdicts), "utf-8"
            )
        omni.run.save_evaluation("omni", result)
        timings = {"judges": judges_ready - began, "answers": time.perf_counter() - judges_ready}
        write_json(evals / "omni.timings.json", {name: round(s, 2) for name, s in timings.items()})
    return result


def judge(
    cell: Cell,
    asked: Sequence[Example],
    replies: Sequence[Document],
    image_judge: ImageJudge,
    sound_judge: SoundJudge,
) -> list[Verdict]:
    """A verdict on each reply; every part must be what was asked for."""
    images = [part for reply in replies for part in reply if part.modality == "image"]
    sounds = [part for reply in replies for part in reply if part.modality == "audio"]
    seen, heard = iter(image_judge.digits(images)), iter(sound_judge.hear(sounds))
    verdicts = []
    for example, reply in zip(asked, replies, strict=True):
        answer = []
        for part in reply:
            match part.modality:
                case "text":
                    answer.append(part.text)
                case "image":
                    answer.append(f"image of {next(seen)}")
                case "audio":
                    answer.append(_sound_of(next(heard)))
        verdicts.append(Verdict(cell, example, answer, answer == _expected(example)))
    return verdicts


def _expected(example: Example) -> list[str]:
    """What the judges should find, part by part."""
    digits = iter(digits_of(example.number) * len(example.want))
    words = example.direction or WORDS[example.language][example.number]
    spoken = _sound_of(Heard(example.language, example.number))
    forms = {"text": lambda: words, "image": lambda: f"image of {next(digits)}", "audio": lambda: spoken}
    return [forms[modality]() for modality in example.want]


def _sound_of(heard: Heard) -> str:
    return f"sound of {WORDS[heard.language][heard.number]} ({heard.language})"


def _in_words(part: Any) -> str:
    match part:
        case Text():
            return part.text
        case Image():
            return f"image {part.width}x{part.height}"
        case Video():
            return f"video of {len(part.frames)} frames"
    return f"audio of {part.seconds:.2f} s"


def summarise(
    verdicts: Sequence[Verdict], image_judge: ImageJudge, sound_judge: SoundJudge
) -> dict[str, Any]:
    """Shares with intervals by cell and language, and the judges' own."""
    groups: dict[tuple[str, str], list[bool]] = {}
    for verdict in verdicts:
        groups.setdefault((verdict.cell.language, verdict.cell.name), []).append(verdict.right)
    results, cells, languages = [], {}, {}
    for (language, name), right in groups.items():
        result = Result.share(name if language == "en" else f"{language}: {name}", sum(right), len(right))
        results.append(result.to_dict())
        table = cells if language == "en" else languages.setdefault(language, {})
        table[name] = result.as_cell()
    judges = {
        "image": Result.share("image judge", *image_judge.accuracy).as_cell(),
        "audio": Result.share("audio judge", *sound_judge.accuracy).as_cell(),
    }
    return {
        "results": results,
        "samples": "omni.jsonl",
        "cells": cells,
        "languages": languages,
        "judges": judges,
    }
