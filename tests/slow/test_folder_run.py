"""A folder of captioned pictures with spoken captions trains, and what it learns holds for pictures it never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tony.engine.omni import Omni
from tony.evals.samples import write_samples
from tony.media import Audio, Document, Image, Text, write
from tony.runs import Run, load_recipe
from tony.train.loop import Trainer
from tony.train.prepare import prepare
from tony.train.progress import Silent

COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 70, 220), "yellow": (230, 220, 50)}
FRENCH = {"red": "rouge", "green": "vert", "blue": "bleu", "yellow": "jaune"}


def fill(folder, count: int) -> None:
    """Squares of a colour on a grey ground; the sound of a colour is a tone of its own pitch."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(count):
        name = list(COLOURS)[rng.integers(len(COLOURS))]
        pixels = np.full((16, 16, 3), int(rng.integers(180, 250)), np.uint8)
        y, x = rng.integers(0, 9, 2)
        pixels[y : y + 7, x : x + 7] = np.clip(np.array(COLOURS[name]) + rng.integers(-15, 16, 3), 0, 255)
        write(Image(pixels), folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"a {name} square")
        (folder / f"{i}.fr.txt").write_text(f"un carr\u00e9 {FRENCH[name]}")
        hertz = 200 * 2 ** list(COLOURS).index(name) * rng.uniform(0.95, 1.05)
        wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(6_400) / 16_000)
        write(Audio(wave.astype(np.float32), 16_000), folder / f"{i}.wav")


@pytest.mark.slow
def test_a_folder_trains_and_generalises(tmp_path):
    fill(tmp_path / "mine", 300)
    recipe = load_recipe(
        "recipes/folder.toml",
        [
            f"data.path={tmp_path / 'mine'}", "data.held_out=0.2", "vocabulary.text=320", "data.orders=6",
            "vocabulary.image.kind=palette", "vocabulary.image.side=8", "vocabulary.image.levels=16",
            "vocabulary.sound.levels=[8, 5, 5]", "vocabulary.sound.width=64", "vocabulary.sound.steps=40",
            "model.width=64", "model.head_dim=32", "model.depth=3", "train.tokens=600000",
            "train.batch_tokens=4096", "train.compile=false", "train.processes=1",
        ],
    )  # fmt: skip
    run = Run.create(recipe, tmp_path / "runs")
    vocabulary, train, heldout = prepare(run, Silent())
    trainer = Trainer(run, vocabulary, train, heldout, Silent())
    assert trainer.batches.packing.lost < 0.02
    trainer.fit()
    trainer.finish()
    loss, entropy = trainer.evaluate(), heldout.unigram_entropy(vocabulary)
    for modality in ("text", "image", "audio"):
        assert loss[modality] < 0.7 * entropy[modality], (modality, loss, entropy)
    omni = Omni.load(run.path)
    asked = [Document([Image(_square(rgb))]) for rgb in COLOURS.values()]
    replies = omni.replies(asked, [("text",)] * len(asked))
    right = [f"a {name} square" == reply.parts[0].text for name, reply in zip(COLOURS, replies, strict=True)]
    assert sum(right) >= 3
    french = omni.reply(Document([Text("a blue square"), Text("fr:")]), ("text",)).parts[0].text
    assert french == "un carr\u00e9 bleu"
    files = [Path(name) for name in write_samples(run, most=5)]
    assert {f.name.split("-")[0] for f in files} == set("01234") and all(f.stat().st_size for f in files)
    assert len({f.read_bytes() for f in files if "asked" in f.name}) >= 4, "of different examples"


def _square(rgb) -> np.ndarray:
    pixels = np.full((16, 16, 3), 215, np.uint8)
    pixels[4:11, 4:11] = rgb
    return pixels
