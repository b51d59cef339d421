"""A training of seconds: pictures of digits and their words, no sound. Run as a script it trains, or resumes, to the end.

python tiny.py FOLDER [SECONDS] [PROCESSES] [OPTIMIZER] [UNTIL]      # SECONDS: sleep so long at every logged step
"""

import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

from tony.data.digits import WORDS, DigitWorld
from tony.data.shards import Shard
from tony.media import Document, Image, Text
from tony.runs import Run, load_recipe
from tony.tokens.pixels import PixelCodec
from tony.tokens.text import TextCodec
from tony.tokens.vocabulary import Vocabulary
from tony.train.distributed import helped, launched_group
from tony.train.loop import Trainer
from tony.train.progress import Silent

STEPS = 24


def recipe(**train):
    return load_recipe(
        {
            "name": "tiny",
            "vocabulary": {"text": 300, "sound": False},
            "model": {"width": 32, "depth": 2, "head_dim": 16, "hidden": 64, "context": 160, "kv_heads": 1},
            "train": {
                "tokens": STEPS * 640, "batch_tokens": 640, "log_every": 4, "checkpoint_every": 5, "evaluate_every": 8,
                "loss_shares": {"text": 0.4, "image": 0.6}, "precision": "float32", **train,
            },
        }
    )  # fmt: skip


def vocabulary():
    return Vocabulary(TextCodec.train(WORDS["en"], 300), PixelCodec.grey(8, 17))


def documents(split, n):
    """Draw a digit, or name one."""
    pixels, digits = DigitWorld(seed=0).pictures(split)
    rng = np.random.default_rng([n, split == "train"])
    for _ in range(n):
        i = int(rng.integers(len(digits)))
        word, picture = Text(WORDS["en"][digits[i]]), Image(pixels[i])
        ask, answer = (word, picture) if rng.random() < 0.5 else (picture, word)
        yield Document([ask]).as_role("user", False) + Document([answer]).as_role("assistant", True)


def trainer(folder, reporter=None, group=None, **train):
    """A fresh Trainer on the run below `folder`, made where there is none."""
    run, words = Run.create(recipe(**train), folder), vocabulary()
    shards = []
    for split, n in (("train", 150), ("heldout", 40)):
        if not (run.data / split / "index.json").is_file():
            Shard.write(run.data / split, [words.encode(d) for d in documents(split, n)], words)
        shards.append(Shard(run.data / split, words.hash))
    return Trainer(run, words, *shards, reporter or Silent(), group)


def work(folder, pause, optimizer, until, group):
    training = trainer(folder, group=group, optimizer=optimizer)
    training.resume()
    if group.is_first:
        print("from", training.step, flush=True)
    training.fit(until, on_log=lambda row: time.sleep(pause))
    if training.step == training.steps:
        training.finish()
    group.wait()


if __name__ == "__main__":
    given = sys.argv[1:]
    folder, pause, processes, optimizer, until = (*given, *("0", "1", "adamw", STEPS)[len(given) - 1 :])
    run = partial(work, Path(folder), float(pause), optimizer, int(until))
    with launched_group(torch.device("cpu")) as launched:
        if launched.is_first:
            trainer(Path(folder), optimizer=optimizer)  # writes the shards
        launched.wait()
        with helped(launched, int(processes), run) as group:
            run(group)
