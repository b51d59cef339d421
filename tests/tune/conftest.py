"""A target's recipe of seconds, whose tuning finds its vocabulary and shards made."""

from pathlib import Path

import pytest

from tony.data.shards import Shard
from tony.runs import Run


@pytest.fixture(scope="session")
def tiny(beside):
    return beside(Path(__file__).parents[1] / "train" / "tiny.py")


@pytest.fixture
def goal(tiny, tmp_path):
    recipe = tiny.recipe(tokens=16.0 * 640, warmup=0.1)
    model = recipe.model.model_copy(update={"width": 32, "kv_heads": None, "hidden": 64, "depth": 2})
    recipe = recipe.model_copy(update={"model": model})
    run, words = Run.create(recipe.model_copy(update={"name": "tiny-tune"}), tmp_path), tiny.vocabulary()
    words.save(run.vocabulary)
    for split, n in (("train", 150), ("heldout", 40)):
        Shard.write(run.data / split, [words.encode(d) for d in tiny.documents(split, n)], words)
    return recipe
