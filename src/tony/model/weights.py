"""The finished model: weights and shape in a folder that nothing else is needed to read."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tony.atomic import replacing, write_json
from tony.errors import TonyError
from tony.model.transformer import Transformer, TransformerConfig


def save_model(folder: Path, model: Transformer) -> None:
    """Write `config.json` and, last, `model.safetensors` (float32)."""
    write_json(folder / "config.json", model.config.to_dict())
    tensors = {name: p.detach().float().cpu().contiguous() for name, p in model.named_parameters()}
    with replacing(folder / "model.safetensors") as temporary:
        try:
            save_file(tensors, temporary, metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(str(error)) from None


def load_model(folder: Path) -> Transformer:
    """The model that `save_model` wrote, in float32, for evaluation.

    Raises:
        TonyError: the folder holds no finished model, or a damaged one.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config["banded"] = tuple(config["banded"])
        tensors = load_file(folder / "model.safetensors")
        with torch.device("meta"):
            model = Transformer(TransformerConfig(**config))
        model.load_state_dict(tensors, strict=not model.config.tied, assign=True)
    except FileNotFoundError:
        raise TonyError(
            f"{folder}: no finished model. Train it: tony train RECIPE (the same command resumes)"
        ) from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise TonyError(
            f"{folder}: damaged model ({reason}). Remove that folder and run tony train again"
        ) from None
    if model.config.tied:
        model.readout.weight = model.embedding.weight
    return model.eval().requires_grad_(False)
