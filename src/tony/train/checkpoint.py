"""Checkpoints: weights and optimiser state of one step in one safetensors file, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from tony.atomic import replacing
from tony.errors import TonyError

KEPT = 2


def _path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}.safetensors"


def saved_steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint, oldest first."""
    return sorted(int(path.stem.split("-")[1]) for path in folder.glob("step-*.safetensors"))


def save_checkpoint(
    folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, extra: dict[str, Any]
) -> Path:
    """Write the checkpoint of `step`; older ones than the last two are removed afterwards.

    Raises:
        TonyError: it cannot be written (a full disk); what was there stays as it was.
    """
    tensors = {f"model.{name}": p.detach().contiguous() for name, p in model.named_parameters()}
    names = {id(p): name for name, p in model.named_parameters()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{names[id(parameter)]}.{key}"] = value.detach().contiguous()
    path = _path(folder, step)
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"step": str(step), "extra": json.dumps(extra)})
        except SafetensorError as error:  # the library wraps the disk's own error
            raise OSError(str(error)) from None
    for old in saved_steps(folder)[:-KEPT]:
        _path(folder, old).unlink()
    for abandoned in folder.glob(".step-*.safetensors.*"):  # by a kill in the middle of writing
        abandoned.unlink()
    return path


def load_checkpoint(
    folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Put the weights and the optimiser state of `step` in place; what was saved as `extra` comes back.

    Raises:
        TonyError: the file is damaged, or belongs to another model.
    """
    path = _path(folder, step)
    remedy = f"Remove {path} to go on from the checkpoint before it"
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            extra = json.loads(file.metadata()["extra"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TonyError(f"{path}: damaged checkpoint ({error}). {remedy}") from None
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, parameter in parameters.items():
            saved = tensors.get(f"model.{name}")
            if saved is None or saved.shape != parameter.shape:
                raise TonyError(f"{path}: holds no {name} of shape {tuple(parameter.shape)}. {remedy}")
            parameter.copy_(saved)
    for name, parameter in parameters.items():
        prefix = f"optimizer.{name}."
        state = {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
        if state:
            optimizer.state[parameter] = {
                key: value.to(parameter.device)
                for key, value in state.items()  # fused AdamW: its step count as well
            }
    return extra
