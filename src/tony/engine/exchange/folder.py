"""Folders of models: what is imported, exported, and read again as a plain language model.

An imported model is a folder with model/ (our own form), tokenizer.json, and import.json: where it came from, and which
ids begin and end a text. A run's model is read with its whole vocabulary as one tokenizer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from tony.atomic import replacing, write_json
from tony.engine.exchange.chat import ChatTemplate
from tony.engine.exchange.gguf_files import read_gguf, write_gguf
from tony.engine.exchange.huggingface import from_huggingface, to_huggingface
from tony.engine.exchange.scale import fold_attention_scale
from tony.engine.exchange.tokenizers import omni_tokenizer
from tony.errors import TonyError
from tony.model import Transformer
from tony.model.weights import load_model, save_model
from tony.runs import Run
from tony.tokens.vocabulary import Vocabulary

FORMATS = ("hf", "gguf")


@dataclass
class LanguageModel:
    """A network over plain text ids.

    Attributes:
        model: the network, float32.
        tokenizer: text <-> ids.
        bos, eos: the ids that begin and end a text, or None.
        name: what results call it.
        template: how a conversation is written for it, of a model that was tuned to answer; else None.
    """

    model: Transformer
    tokenizer: Tokenizer
    bos: int | None
    eos: int | None
    name: str
    template: str | None = None

    @property
    def chat(self) -> ChatTemplate | None:
        """The template with this model's tokens."""
        if self.template is None:
            return None
        bos, eos = ("" if i is None else self.tokenizer.id_to_token(i) or "" for i in (self.bos, self.eos))
        return ChatTemplate(self.template, bos, eos)

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def save(self, folder: Path, source: str) -> None:
        """Write the form that `load_language_model` and `tony train` read; import.json comes last."""
        save_model(folder / "model", self.model)
        with replacing(folder / "tokenizer.json") as temporary:
            temporary.write_text(self.tokenizer.to_str(), encoding="utf-8")
        head = {"source": source, "name": self.name, "bos": self.bos, "eos": self.eos}
        write_json(folder / "import.json", head | {"chat_template": self.template})


def load_language_model(path: str | Path) -> LanguageModel:
    """The model at `path`: a run folder, an imported folder, a Hugging Face folder, or a .gguf file.

    Raises:
        TonyError: nothing readable is there.
    """
    path = Path(path)
    if path.is_file():
        config, tensors, tokenizer, special = read_gguf(path)
        return LanguageModel(from_huggingface(config, tensors), tokenizer, **special, name=path.stem)
    if (path / "import.json").is_file():
        value = _read_json(path / "import.json")
        model = load_model(path / "model")
        tokenizer = _read_tokenizer(path / "tokenizer.json")
        return LanguageModel(
            model,
            tokenizer,
            value.get("bos"),
            value.get("eos"),
            value.get("name", path.name),
            value.get("chat_template"),
        )
    if (path / "recipe.toml").is_file():
        run = Run(path)
        vocabulary = Vocabulary.load(run.vocabulary)
        ends = vocabulary.control("start"), vocabulary.control("stop")
        return LanguageModel(load_model(run.model), omni_tokenizer(vocabulary), *ends, name=run.name)
    if (path / "config.json").is_file():
        return _load_huggingface(path)
    raise TonyError(
        f"{path}: no model here. Give a run folder, a Hugging Face folder (config.json, *.safetensors) or a .gguf file"
    )


def _load_huggingface(path: Path) -> LanguageModel:
    config = _read_json(path / "config.json")
    model = from_huggingface(config, _read_safetensors(path))
    ends = [config.get(f"{name}_token_id") for name in ("bos", "eos")]
    bos, eos = (value[0] if isinstance(value, list) and value else value for value in ends)
    tokenizer = _read_tokenizer(path / "tokenizer.json")
    return LanguageModel(model, tokenizer, bos, eos, path.resolve().name, _read_template(path))


def _read_template(path: Path) -> str | None:
    """The chat template of a Hugging Face folder: a file of its own, or in the tokenizer's settings, where one may be named."""
    if (path / "chat_template.jinja").is_file():
        return (path / "chat_template.jinja").read_text(encoding="utf-8")
    settings = path / "tokenizer_config.json"
    found = _read_json(settings).get("chat_template") if settings.is_file() else None
    if isinstance(found, list):
        found = next((one.get("template") for one in found if one.get("name") == "default"), None)
    return found if isinstance(found, str) else None


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of model.safetensors, or of the shards that model.safetensors.index.json lists."""
    index = path / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(_read_json(index).get("weight_map", {}).values()))
        if any(Path(name).name != name for name in names):
            raise TonyError(f"{index}: names a file outside its folder. Fetch the model again")
    else:
        names = ["model.safetensors"]
    tensors: dict[str, Tensor] = {}
    for name in names:
        if not (path / name).is_file():
            raise TonyError(
                f"{path / name} is missing (pickled .bin weights are not read). Fetch the model again"
            )
        try:
            tensors |= load_file(path / name)
        except (OSError, SafetensorError) as error:
            raise TonyError(f"{path / name}: damaged ({error}). Fetch the model again") from None
    return tensors


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TonyError(f"{path}: cannot be read ({error}). Fetch the model again") from None
    if not isinstance(value, dict):
        raise TonyError(f"{path}: holds no JSON object. Fetch the model again")
    return value


def _read_tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise TonyError(f"{path}: cannot be read as a tokenizer ({error}). Fetch the model again") from None


def export_model(
    source: LanguageModel, target: Path, form: str = "hf", dtype: str = "float32", scale: float | None = None
) -> None:
    """Write `source` as a Hugging Face folder ("hf") or a GGUF file ("gguf"); what is in the way is refused.

    `scale` is the attention scale that the weights were made for, where it is not head_dim^-0.5: it is folded into them,
    in a copy.

    Raises:
        TonyError: `target` exists, the format cannot hold the model, or the disk is full.
    """
    if form not in FORMATS:
        raise TonyError(f"no format {form!r}: use {' or '.join(FORMATS)}")
    if target.exists() and (target.is_file() or any(target.iterdir())):
        raise TonyError(f"{target} exists: choose another name or remove it")
    model = source.model
    if scale is not None:
        import copy

        model = copy.deepcopy(model)
        fold_attention_scale(model, scale)
    special = {"bos": source.bos, "eos": source.eos}
    if form == "gguf":
        write_gguf(
            target, model, source.tokenizer, special | {"template": source.template}, source.name, dtype
        )
        return
    if dtype not in ("float32", "bfloat16", "float16"):
        raise TonyError(f"dtype {dtype!r}: use float32, bfloat16 or float16")
    config, tensors = to_huggingface(model)
    tensors = {name: tensor.to(getattr(torch, dtype)) for name, tensor in tensors.items()}
    with replacing(target / "model.safetensors") as temporary:
        try:
            save_file(tensors, temporary, metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(str(error)) from None
    ends = {f"{name}_token_id": index for name, index in special.items() if index is not None}
    with replacing(target / "tokenizer.json") as temporary:
        temporary.write_text(source.tokenizer.to_str(), encoding="utf-8")
    words = {f"{name}_token": source.tokenizer.id_to_token(i) for name, i in special.items() if i is not None}
    words |= {"chat_template": source.template} if source.template else {}
    write_json(
        target / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **words},
    )
    write_json(target / "generation_config.json", ends)
    write_json(target / "config.json", config | ends | {"dtype": dtype, "torch_dtype": dtype})
