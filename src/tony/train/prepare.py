"""What must be there before the first step: the vocabulary with its trained codecs, and the encoded shards."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tony.data.fit import fit
from tony.data.shards import Shard
from tony.data.sources import Source, open_source
from tony.errors import TonyError
from tony.media import Audio, Document, Image
from tony.runs import Run
from tony.runs.recipe import ImageCodecRecipe, Recipe, SoundCodecRecipe
from tony.tokens.pixels import PixelCodec
from tony.tokens.text import TextCodec
from tony.tokens.vocabulary import Tokens, Vocabulary, payload_key
from tony.train.pretrained import Pretrained
from tony.train.progress import Reporter

ENCODED_TOGETHER = 2048  # documents whose sounds are encoded in one go


def prepare(run: Run, reporter: Reporter) -> tuple[Vocabulary, Shard, Shard]:
    """The run's vocabulary and its train and held-out shards; what exists is read, what is missing is made."""
    source: Source | None = None
    if not (run.vocabulary / "vocabulary.json").is_file():
        source = open_source(run.recipe)
        build_vocabulary(source, run.recipe, run.vocabulary, reporter)
    vocabulary = Vocabulary.load(run.vocabulary)
    shards = []
    for split in ("train", "heldout"):
        folder = run.data / split
        if not (folder / "index.json").is_file():
            source = source or open_source(run.recipe)
            documents = source.documents(split)
            tokens = encode_documents(
                documents, vocabulary, run.recipe.model.context, reporter, f"encoding ({split})"
            )
            if split == "train" and run.recipe.train.jitter:
                rng = np.random.default_rng([run.recipe.seed, 13])
                tokens = (vocabulary.jitter(each, run.recipe.train.jitter, rng) for each in tokens)
            Shard.write(folder, tokens, vocabulary)
        shards.append(Shard(folder, vocabulary.hash))
    skipped = getattr(source, "skipped", [])
    if skipped:
        reporter.say(f"{len(skipped)} file(s) left out, the first because: {skipped[0]}")
    return vocabulary, shards[0], shards[1]


def build_vocabulary(source: Source, recipe: Recipe, folder: Path, reporter: Reporter) -> Vocabulary:
    """Train the codecs that `recipe` asks for on `source`, and save them below `folder`, whole or not at all."""
    settings = recipe.vocabulary
    start = Pretrained(recipe.start) if recipe.start else None
    if start and start.copy_vocabulary(folder):
        return Vocabulary.load(folder)
    text = start.text() if start else TextCodec.train(source.texts(), settings.text, settings.whitespace_runs)
    image = build_image_codec(source, settings.image, recipe.seed, reporter) if settings.image else None
    sound = (
        build_sound_codec(source.sounds(), settings.sound, recipe.seed, reporter) if settings.sound else None
    )
    vocabulary = Vocabulary(text, image, sound, settings.video_seconds)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        vocabulary.save(temporary)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except OSError as error:
        reason = error.strerror or error
        raise TonyError(
            f"{folder}: cannot be written ({reason}). Free some space or choose another folder"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return vocabulary


def build_image_codec(source: Source, recipe: ImageCodecRecipe, seed: int, reporter: Reporter) -> Any:
    """The picture codec; None where the data hold no picture."""
    images = source.images()
    if not images:
        return None
    if recipe.kind == "grey":
        return PixelCodec.grey(recipe.side, recipe.levels, recipe.placed)
    if recipe.kind == "palette":
        return PixelCodec.fit(images, recipe.side, recipe.levels, seed, recipe.placed)
    from tony.tokens.patches import PatchConfig
    from tony.train.codecs import train_patch_codec

    reporter.begin("training the picture codec", recipe.steps)
    config = PatchConfig(side=recipe.side)
    return train_patch_codec(images, config, recipe.steps, seed, progress=_told(reporter))


def build_sound_codec(sounds: list[Audio], recipe: SoundCodecRecipe, seed: int, reporter: Reporter) -> Any:
    """The sound codec; None where the data hold no sound."""
    if not sounds:
        return None
    from tony.tokens.sound import SoundConfig
    from tony.train.codecs import train_sound_codec

    reporter.begin("training the sound codec", recipe.steps)
    config = SoundConfig(levels=recipe.levels, width=recipe.width)
    return train_sound_codec(sounds, config, recipe.steps, seed, progress=_told(reporter))


def _told(reporter: Reporter) -> Callable[[int, int, dict[str, float]], None]:
    """`reporter` in the form in which codec training tells of its steps: step, steps, terms of the loss."""
    return lambda step, _steps, terms: reporter.advance(step, loss=sum(terms.values()))


def encode_documents(
    documents: Iterable[Document], vocabulary: Vocabulary, context: int, reporter: Reporter, what: str
) -> Iterator[Tokens]:
    """The tokens of each document; what does not fit `context` is divided or shortened, and the latter is said.

    Pictures and sounds of the next documents are encoded in a thread meanwhile; what many documents share, once.
    """
    memo: dict[int, np.ndarray] = {}
    shortened = done = 0
    reporter.begin(what, 0)
    for group in _with_media(documents, vocabulary, memo):
        for document in group:
            pieces, is_short = fit(document, vocabulary, context, memo)
            shortened += is_short
            yield from pieces
        done += len(group)
        reporter.advance(done)
    if shortened:
        reporter.say(
            f"{shortened} of {done} documents are longer than model.context={context} ids and were shortened"
        )


def _with_media(
    documents: Iterable[Document], vocabulary: Vocabulary, memo: dict[int, np.ndarray]
) -> Iterator[list[Document]]:
    """The documents in groups; `memo` then holds the ids of a group's pictures and sounds, while their arrays live."""

    def encoded(group: list[Document]) -> list[tuple[Audio | Image, np.ndarray]]:
        return list(vocabulary.encode_media(group, memo, exact=False))

    iterator = iter(documents)
    groups = iter(lambda: list(islice(iterator, ENCODED_TOGETHER)), [])
    waiting: tuple[list[Document], Future] | None = None
    # Beside a busy main thread, two threads in one small product would wait for each other.
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as thread:
            for group in chain(groups, [[]]):  # the empty one brings out the last
                for part, ids in waiting[1].result() if waiting else ():
                    memo[payload_key(part)] = ids
                    weakref.finalize(_owner(part), memo.pop, payload_key(part), None).atexit = False
                job = thread.submit(encoded, group)
                if waiting:
                    yield waiting[0]
                waiting = group, job
    finally:
        torch.set_num_threads(threads)  # of threads that start from now on


def _owner(part: Audio | Image) -> np.ndarray:
    """The array that holds the part's memory, which `payload_key` goes by."""
    array = part.samples if isinstance(part, Audio) else part.pixels
    return array if array.base is None else array.base
