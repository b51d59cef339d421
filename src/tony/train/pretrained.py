"""Training that begins from weights that are there: an imported language model, or a finished run.

The network then has the shape of that model, and its text ids. What a run has besides (controls, pictures, sounds) are ids of
its own, whose rows in the embedding begin near the mean of the others; so a language model can be taught to see and to speak.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from tony.errors import TonyError
from tony.model import Transformer, TransformerConfig
from tony.model.weights import load_model
from tony.runs import Run
from tony.runs.recipe import Recipe
from tony.tokens.text import TextCodec
from tony.tokens.vocabulary import Vocabulary

SHAPE = (
    "width",
    "depth",
    "head_dim",
    "kv_heads",
    "hidden",
    "qk_norm",
    "tied",
    "rope_base",
    "window",
    "banded",
)
# How far apart new rows begin, of the spread of the rows that are there. As far as those (1), random rows were the likeliest ids of
# all, and the held-out loss of SmolLM2 began at 4.84 nats instead of 2.20.
APART = 0.1
BEGINS, ENDS = ("start", "begin_text"), ("stop", "end_text")


class Pretrained:
    """The model that a recipe's `start` names: a run, or a folder that `tony import` wrote.

    Raises:
        TonyError: there is no finished model.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.run = Run(self.path) if (self.path / "recipe.toml").is_file() else None
        if self.run is None and not (self.path / "import.json").is_file():
            raise TonyError(
                f"start={self.path}: no model to begin from. Give a finished run, or what `tony import` wrote"
            )
        config = self.path / "model" / "config.json"
        if not (self.path / "model" / "model.safetensors").is_file():
            raise TonyError(f"start={self.path}: its model is not finished. Train it first")
        value = _read(config)
        try:
            self.config = TransformerConfig(**value | {"banded": tuple(value["banded"])})
        except (KeyError, TypeError) as error:
            raise TonyError(f"{config}: is no shape of a model ({error}). Import it again") from None

    def settle(self, recipe: Recipe) -> Recipe:
        """`recipe` with the shape of this model, and of a run all its vocabulary, so that what is saved says what is trained.

        Raises:
            TonyError: the recipe's context is longer than the model's, or it has scales that belong to initial values.
        """
        if recipe.model.context > self.config.context:
            raise TonyError(
                f"model.context={recipe.model.context}, but {self.path} has {self.config.context}: lower it"
            )
        scales = {
            name: value
            for name, value in (recipe.mup.model_dump() if recipe.mup else {}).items()
            if name.endswith("_scale") and value != 1
        }
        if scales:
            raise TonyError(
                f"mup.{next(iter(scales))}: scales of initial values, and with start={self.path} there are none. Leave it out"
            )
        shape = {name: getattr(self.config, name) for name in SHAPE}
        if self.run:
            vocabulary = self.run.recipe.vocabulary
        else:
            vocabulary = recipe.vocabulary.model_copy(
                update={"text": self._text().size, "whitespace_runs": 0}
            )
        return recipe.model_copy(
            update={"model": recipe.model.model_copy(update=shape), "vocabulary": vocabulary}
        )

    def copy_vocabulary(self, folder: Path) -> bool:
        """Copy a run's vocabulary to `folder`; False where there is none to copy."""
        if self.run is None:
            return False
        temporary = folder.with_name(f".{folder.name}.copy")
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.copytree(self.run.vocabulary, temporary)
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
        except OSError as error:
            raise TonyError(
                f"{folder}: cannot be written ({error.strerror or error}). Free some space; the same command goes on"
            ) from None
        return True

    def text(self) -> TextCodec | None:
        """The text codec of an imported model; None for a run, whose whole vocabulary is copied."""
        return None if self.run else self._text()

    def _text(self) -> TextCodec:
        codec = TextCodec.load(self.path)
        if codec.size > self.config.vocabulary:
            raise TonyError(
                f"start={self.path}: {codec.size} tokens, but embeddings of {self.config.vocabulary}. Import it anew"
            )
        return codec

    @torch.no_grad()
    def fill(self, model: Transformer, vocabulary: Vocabulary) -> None:
        """Give `model`, freshly initialised and on the CPU, these weights.

        Rows of ids that an imported model lacks are the mean of its rows, which makes them no likelier than an average id (Hewitt
        2021, "Initializing new word embeddings"), and a little of their own initial values, to tell them apart. But what begins
        a text is as the id that begins one there, and what ends a text as the id that ends one.
        """
        given = load_model(self.path / "model").state_dict()
        own = model.state_dict()
        for name, tensor in own.items():
            if tensor.shape[:1] == (vocabulary.size,) and self.run is None and name in TABLES:
                self._fill_rows(tensor, given[name], vocabulary)
            else:
                tensor.copy_(given[name])

    def _fill_rows(self, rows: Tensor, given: Tensor, vocabulary: Vocabulary) -> None:
        text, ids = vocabulary.ranges["text"], _read(self.path / "import.json")
        own = rows.std()
        rows.mul_(APART * given.std() / own if own > 0 else 0.0).add_(given.mean(0))
        rows[text.start : text.end] = given[: text.size]
        for names, index in ((BEGINS, ids.get("bos")), (ENDS, ids.get("eos"))):
            for name in names if index is not None else ():
                rows[vocabulary.control(name)] = given[index]


TABLES = ("embedding.weight", "readout.weight")


def config_of(recipe: Recipe, vocabulary: int) -> TransformerConfig:
    """The shape of a recipe's network; what only the model that it starts from knows comes from there."""
    config = TransformerConfig.from_recipe(recipe.model, vocabulary)
    if recipe.start is None:
        return config
    return replace(config, norm_eps=Pretrained(recipe.start).config.norm_eps)


def settled(recipe: Recipe) -> Recipe:
    """`recipe`, its shape and vocabulary those of the model that it starts from, if it starts from one."""
    return recipe if recipe.start is None else Pretrained(recipe.start).settle(recipe)


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TonyError(f"{path}: cannot be read ({error}). Import the model again") from None
