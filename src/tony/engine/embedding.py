"""Documents as unit vectors: pooled states of the network, and the linear head that brings modalities together.

The states of a picture and of its caption lie in different regions: what a decoder learns says how to go on, not that two
things are the same. A linear map for each modality, trained on pairs with the network frozen, aligns them (a "linear
probe" trained with the loss of CLIP: Radford et al. 2021, section 2.3).

Legend: D width of the network, F = 2 D features, E width of an embedding.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tony.atomic import replacing
from tony.engine.engine import Engine
from tony.errors import TonyError
from tony.model import Segments
from tony.model.machine import autocast
from tony.tokens.vocabulary import Vocabulary

POSITIONS = 4096  # ids that pass through the network together


@torch.inference_mode()
def pooled_states(
    engine: Engine, vocabulary: Vocabulary, parts: Sequence[tuple[str, np.ndarray]]
) -> np.ndarray:
    """Features float32 (n, F) of parts, each a (modality, ids) pair that stands alone as a person's request.

    The first D are the mean of the final states over the part, the last D the state at which the network would begin a
    written answer: what it has understood. A part longer than the context is cut.
    """
    control, longest = vocabulary.control, engine.model.config.context - 6
    before, after = 3, 2
    prompts = [
        np.concatenate(
            [
                [control("start"), control("user"), vocabulary.begin(modality)],
                np.asarray(ids[:longest], np.int64),
                [vocabulary.end(modality), control("assistant"), vocabulary.begin("text")],
            ]
        )
        for modality, ids in parts
    ]
    out = np.zeros((len(prompts), 2 * engine.model.config.width), np.float32)
    for batch in _batches([len(prompt) for prompt in prompts]):
        lengths = [len(prompts[i]) for i in batch]
        ids = torch.from_numpy(np.concatenate([prompts[i] for i in batch]).astype(np.int64))
        segments = Segments.from_lengths([lengths], len(ids)).to(engine.device)
        with autocast(engine.device, engine.precision):
            states = engine.model.trunk(ids[None].to(engine.device), segments).float()
        for i, own in zip(batch, states.split(lengths), strict=True):
            out[i] = torch.cat((own[before:-after].mean(0), own[-1])).cpu().numpy()
    return out


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Rows in batches of like length and of at most POSITIONS ids."""
    batches: list[list[int]] = []
    room = 0
    for i in np.argsort(lengths, kind="stable").tolist():
        if lengths[i] > room:
            batches.append([])
            room = max(POSITIONS, lengths[i])
        batches[-1].append(i)
        room -= lengths[i]
    return batches


def weights_hash(model_folder: Path) -> str:
    """What a head is bound to: SHA-256 of the weights that it was trained on."""
    with (model_folder / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Head:
    """A linear map for each modality, trained on pairs.

    Attributes:
        weight: modality -> float32 (F, E).
        bias: modality -> float32 (E,).
        sample: float32 (n, E) unit vectors of training parts: what queries look like.
        model: `weights_hash` of the network that the features come from.
        receipt: how it was trained and what it reached; plain JSON.
    """

    weight: Mapping[str, np.ndarray]
    bias: Mapping[str, np.ndarray]
    sample: np.ndarray
    model: str
    receipt: Mapping[str, object]

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.weight)

    @property
    def width(self) -> int:
        """E."""
        return self.sample.shape[1]

    def apply(self, modality: str, features: np.ndarray) -> np.ndarray:
        """Features (n, F) of parts of one modality -> unit vectors float32 (n, E).

        Raises:
            TonyError: no pair of the training data held this modality.
        """
        if modality not in self.weight:
            raise TonyError(
                f"this run's search knows no {modality}: its training data paired {', '.join(self.modalities)}"
            )
        return unit(features @ self.weight[modality] + self.bias[modality])

    def save(self, path: Path) -> None:
        """Write `path` (safetensors), whole or not at all."""
        tensors = {"sample": self.sample}
        for name in self.weight:
            tensors |= {f"weight.{name}": self.weight[name], f"bias.{name}": self.bias[name]}
        about = {"model": self.model, "receipt": json.dumps(self.receipt)}
        with replacing(path) as temporary:
            save_file({k: np.ascontiguousarray(v, np.float32) for k, v in tensors.items()}, temporary, about)

    @classmethod
    def load(cls, path: Path) -> Head:
        """The head in `path`.

        Raises:
            TonyError: there is none, or it is damaged.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                about = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            weight = {k.split(".")[1]: v for k, v in tensors.items() if k.startswith("weight.")}
            bias = {k.split(".")[1]: v for k, v in tensors.items() if k.startswith("bias.")}
            head = cls(weight, bias, tensors["sample"], about["model"], json.loads(about["receipt"]))
            if not weight or any(
                w.shape[1] != head.width or len(bias[m]) != head.width for m, w in weight.items()
            ):
                raise ValueError("shapes that do not fit")
        except FileNotFoundError:
            raise TonyError(f"{path}: no search head. Make it: tony search FOLDER QUERY --run RUN") from None
        except (OSError, SafetensorError, KeyError, IndexError, TypeError, ValueError) as error:
            raise TonyError(
                f"{path}: damaged search head ({error}). Remove it; the next search makes it again"
            ) from None
        return head


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows (n, E) divided by their lengths; a row of zeros stays one."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(length, np.finfo(np.float32).tiny)).astype(np.float32)
