"""Keys of the past in fewer numbers: an option of the text engine.

Attention wants keys for their inner products with queries only, and keys and queries are two sources of vectors that look
unlike each other: the case of asymmetric random projections (`tony.projections`; Ryder, Karnin and Liberty 2019). Of every
head a key is kept as k numbers instead of E, and a query is turned to meet it. What they do not keep of an inner product is
the price, measured in nats a token by benchmarks/keys.py.

Legend: B rows, T ids, K key/value heads, G query heads a key head, E head_dim, k numbers kept of a key.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tony.atomic import replacing
from tony.errors import TonyError
from tony.model import Transformer
from tony.model.cache import Cache
from tony.projections import AsymmetricRandomProjection


@dataclass(frozen=True)
class KeySketch:
    """What keys and queries of every layer and head are multiplied by.

    Attributes:
        keys: (depth, K, E, k).
        queries: (depth, K, E, k), one for all the query heads of a key head; they also hold (k / E)^0.5, since attention
            divides by the root of the length that it sees.
    """

    keys: Tensor
    queries: Tensor

    @property
    def size(self) -> int:
        """Numbers kept of a key."""
        return self.keys.shape[3]

    @classmethod
    @torch.inference_mode()
    def fit(
        cls,
        model: Transformer,
        documents: Iterable[Sequence[int]],
        size: int,
        *,
        method: str = "truncated",
        seed: int = 0,
    ) -> KeySketch:
        """The sketch for what `model` computes of `documents`, some thousands of ids of text like that to come.

        Moments are taken after rotary positions, as keys are stored; the query heads of a key head are pooled. They are not
        taken around the mean: softmax does not see what all keys have in common, but the first key, at which heads look
        that look at nothing, differs from the others along it.

        Args:
            model: the network.
            documents: ids of each, at most as many as the model's context.
            size: numbers to keep of a key, at most head_dim.
            method: of `AsymmetricRandomProjection`. "truncated" has the least error on text like the documents; "hybrid"
                is unbiased.
            seed: of the projections.

        Raises:
            TonyError: the size is not from 1 to head_dim, or there are fewer ids than head_dim.
        """
        config = model.config
        if not 1 <= size <= config.head_dim:
            raise TonyError(
                f"{size} numbers a key: give 1 to {config.head_dim}, the length of this model's keys"
            )
        fits = [
            [
                AsymmetricRandomProjection(
                    size, method=method, random_state=seed + layer * config.kv_heads + head
                )
                for head in range(config.kv_heads)
            ]
            for layer in range(config.depth)
        ]
        seen = 0
        for ids in documents:
            if len(ids):
                model.states(
                    torch.tensor([list(ids)], device=model.norm.weight.device), _Moments(config, fits)
                )
                seen += len(ids)
        if seen < config.head_dim:
            raise TonyError(
                f"{seen} ids to learn keys of {config.head_dim} numbers from: give some thousands"
            )
        keys, queries = (
            torch.from_numpy(
                np.stack([[getattr(head, side).T for head in layer] for layer in fits]).astype(np.float32)
            ).to(model.norm.weight.device)
            for side in ("components_left_", "components_right_")
        )
        return cls(keys, queries * math.sqrt(size / config.head_dim))

    def save(self, path: str | Path) -> None:
        """Write both matrices as safetensors."""
        with replacing(Path(path)) as temporary:
            save_file({"keys": self.keys.contiguous(), "queries": self.queries.contiguous()}, temporary)

    @classmethod
    def load(cls, path: str | Path) -> KeySketch:
        """
        Raises:
            TonyError: the file is missing or holds something else.
        """
        try:
            tensors = load_file(path)
            return cls(tensors["keys"], tensors["queries"])
        except (OSError, SafetensorError, KeyError) as error:
            raise TonyError(f"{path}: no sketch of keys ({error}). Write it with KeySketch.save") from None

    def check(self, model: Transformer) -> None:
        """
        Raises:
            TonyError: it was fitted to a model of another shape.
        """
        config = model.config
        want, have = (config.depth, config.kv_heads, config.head_dim), tuple(self.keys.shape[:3])
        if want != have or self.queries.shape != self.keys.shape:
            raise TonyError(
                f"this sketch of keys is for {have} layers, key heads and numbers a key; the model has {want}: fit it anew"
            )

    def of_keys(self, layer: int, keys: Tensor) -> Tensor:
        """Keys (B, K, T, E) as they are kept, (B, K, T, k)."""
        return keys.to(self.keys.dtype) @ self.keys[layer]

    def of_queries(self, layer: int, queries: Tensor) -> Tensor:
        """Queries (B, K * G, T, E) as they meet kept keys, (B, K * G, T, k)."""
        matrices = self.queries[layer]
        grouped = queries.to(matrices.dtype).unflatten(1, (len(matrices), -1))
        return (grouped @ matrices[:, None]).flatten(1, 2)


class _Moments(Cache):
    """A cache of one document that shows its keys and queries to the fits (depth x K) on their way."""

    def __init__(self, config, fits: list[list[AsymmetricRandomProjection]]) -> None:
        super().__init__(config, 1)
        self._fits = fits

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        self._new = keys
        return super().write(layer, keys, values)

    def ask(self, layer: int, queries: Tensor) -> Tensor:
        grouped = queries[0].unflatten(0, (self._new.shape[1], -1)).flatten(1, 2).cpu()
        for fit, keys, own in zip(self._fits[layer], self._new[0].cpu(), grouped, strict=True):
            fit.partial_fit(keys.float().numpy(), other=own.float().numpy())
        return queries
