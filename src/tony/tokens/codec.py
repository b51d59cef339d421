"""What every codec of one modality offers: media to token ids and back; and how those with a network are stored."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np

from tony.errors import TonyError
from tony.media import Part

if TYPE_CHECKING:
    from torch import nn


def check_ids(ids: np.ndarray, size: int, what: str) -> None:
    """Raise a TonyError unless every id lies in [0, size): an id of another modality would decode to nonsense."""
    ids = np.asarray(ids)
    if ids.size and not (ids.min() >= 0 and ids.max() < size):
        wrong = ids[(ids < 0) | (ids >= size)][0]
        raise TonyError(
            f"{what} id {int(wrong)} is outside 0 to {size - 1}: these ids are not of this vocabulary"
        )


def coordinates(values: np.ndarray) -> np.ndarray:
    """The columns of values (n, k), float32, each with mean 0 and variance 1; one that does not vary is 0."""
    values = np.asarray(values, np.float64)
    spread = values.std(0)
    return ((values - values.mean(0)) / np.where(spread > 0, spread, 1)).astype(np.float32)


def neighbours(indices: np.ndarray, levels: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """For each of the int64 indices (n,), mixed-radix numbers of `levels`, one whose random digit is one more or less."""
    dimension = rng.integers(len(levels), size=len(indices))
    basis = np.array([math.prod(levels[:i]) for i in range(len(levels))])[dimension]
    most = np.asarray(levels)[dimension] - 1
    digit = indices // basis % (most + 1)
    step = np.where(rng.random(len(indices)) < 0.5, -1, 1)
    step = np.where(digit == 0, 1, np.where(digit == most, -1, step))
    return indices + step * basis


@runtime_checkable
class Codec(Protocol):
    """Turns parts of one modality into ids and back. Ids lie in [0, size); anything else is a TonyError."""

    size: int

    def encode(self, part: Part) -> np.ndarray:
        """The part's ids, int64 of shape (n,)."""
        ...

    def decode(self, ids: np.ndarray) -> Part:
        """The part that the ids stand for."""
        ...

    def coordinates(self) -> np.ndarray:
        """A point (size, k), float32, for every id: those of ids that stand for much the same are near each other."""
        ...

    def save(self, folder: str | os.PathLike) -> Path:
        """The folder that now holds the codec: JSON and safetensors, written so that nothing is left half-written."""
        ...

    @classmethod
    def load(cls, folder: str | os.PathLike) -> Self:
        """The codec that `save` wrote there. Raises TonyError where the folder holds none, or a damaged one."""
        ...


def config_hash(config: Any) -> str:
    """Twelve hexadecimal digits that differ between any two configs (dataclasses) of one kind."""
    return hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()[:12]


def network_fingerprint(network: nn.Module) -> str:
    """Sixteen hexadecimal digits that differ where the config or any stored weight (as float32) differs."""
    digest = hashlib.sha256(config_hash(network.config).encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.float().numpy().tobytes())
    return digest.hexdigest()[:16]


def save_network(network: nn.Module, kind: str, folder: str | os.PathLike) -> Path:
    """The folder, now holding codec.json and weights.safetensors (float32).

    They are written beside it and renamed, so that an older codec there stays whole until the new one is.
    """
    from safetensors.torch import save

    folder = Path(folder)
    about = {"kind": kind, "config_hash": config_hash(network.config), "config": asdict(network.config)}
    new = old = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        new.chmod(0o755)
        weights = {name: value.float().contiguous() for name, value in network.state_dict().items()}
        (new / "weights.safetensors").write_bytes(save(weights))
        (new / "codec.json").write_text(json.dumps(about, indent=1) + "\n")
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            folder.replace(old)
        new.replace(folder)
    except OSError as error:
        if old is not None and not folder.exists():
            old.replace(folder)
        raise TonyError(
            f"{folder}: the codec cannot be written ({error.strerror or error}): free some space or choose another folder"
        ) from None
    finally:
        for leftover in (new, old):
            if leftover is not None:
                shutil.rmtree(leftover, ignore_errors=True)
    return folder


def load_network(
    kind: str, config_class: type, network_class: type[nn.Module], folder: str | os.PathLike
) -> nn.Module:
    """The network that `save_network` wrote there. Raises TonyError where there is none, or it does not fit."""
    from safetensors.torch import load_file

    folder = Path(folder)
    try:
        about = json.loads((folder / "codec.json").read_text())
        config = config_class(**{name: _tuple(value) for name, value in about["config"].items()})
        if about["kind"] != kind or about["config_hash"] != config_hash(config):
            raise ValueError("its codec.json was changed by hand or is of another version")
        network = network_class(config)
        network.load_state_dict(load_file(folder / "weights.safetensors"))
    except FileNotFoundError as error:
        missing = Path(str(error.filename)).name if error.filename else "weights.safetensors"
        raise TonyError(f"no {kind} codec in {folder}: {missing} is missing") from None
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise TonyError(f"the {kind} codec in {folder} cannot be read ({reason}): train it again") from error
    return network


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
