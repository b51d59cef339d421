"""Pictures of side 64 and up as 64 to 256 ids: an FSQ autoencoder over patches.

    pixels -> patches of f x f -> blocks that mix neighbouring patches -> FSQ -> one id a patch, row by row
    ids -> blocks that mix neighbouring patches -> patches -> pixels

All of the network runs at the resolution of the patches (8 x 8 to 16 x 16 places), so it is quick on a CPU; the cost is
that details smaller than a patch depend on the width of the last linear layer.

Shape letters: B batch, S side, f patch side, G = S / f places a side, D width, C = len(levels).
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tony.errors import TonyError
from tony.media import Image, Part, to_size
from tony.tokens.codec import config_hash, load_network, neighbours, network_fingerprint, save_network
from tony.tokens.fsq import FSQ

MOST_IDS = 256  # a picture


@dataclass(frozen=True, kw_only=True)
class PatchConfig:
    """The shape of a patch codec. `patch` 0 stands for the smallest power of two from 8 that needs at most 256 ids."""

    side: int = 64
    patch: int = 0
    levels: tuple[int, ...] = (8, 5, 5, 5)
    width: int = 256
    blocks: int = 4  # in the encoder, and again in the decoder
    expansion: int = 2

    def __post_init__(self) -> None:
        if not self.patch:
            patch = 8
            while (self.side // patch) ** 2 > MOST_IDS:
                patch *= 2
            object.__setattr__(self, "patch", patch)
        if self.side < 64 or self.side % self.patch:
            raise TonyError(
                f"PatchConfig.side is {self.side}: give 64 or more pixels, a multiple of the patch ({self.patch}); "
                "for smaller pictures use the palette codec"
            )

    @property
    def places(self) -> int:
        """Patches a side, G."""
        return self.side // self.patch

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that differ between any two configs."""
        return config_hash(self)


class PatchBlock(nn.Module):
    """A residual block: depthwise 3 x 3 convolution over patches, layer norm, two linear layers, a small gain."""

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)
        self.gain = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, G, G, D) to the same."""
        y = self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.gain * self.down(F.silu(self.up(self.norm(y))))


class PatchNetwork(nn.Module):
    """The encoder, the quantiser and the decoder, as one differentiable module. Pixels are in [-1, 1]."""

    def __init__(self, config: PatchConfig) -> None:
        super().__init__()
        self.config = config
        self.fsq = FSQ(config.levels)
        width, pixels, codes = config.width, 3 * config.patch**2, len(config.levels)
        self.read_in = nn.Linear(pixels, width)
        self.encoder = nn.ModuleList(PatchBlock(width, config.expansion) for _ in range(config.blocks))
        self.encoder_norm = nn.LayerNorm(width)
        self.to_code = nn.Linear(width, codes)
        self.from_code = nn.Linear(codes, width)
        self.place = nn.Parameter(torch.zeros(config.places, config.places, width))
        self.decoder = nn.ModuleList(PatchBlock(width, config.expansion) for _ in range(config.blocks))
        self.decoder_norm = nn.LayerNorm(width)
        self.to_pixels = nn.Linear(width, pixels)

    def latents(self, pixels: Tensor) -> Tensor:
        """The unbounded vectors (B, G, G, C) of pixels (B, 3, S, S)."""
        x = F.pixel_unshuffle(pixels, self.config.patch).permute(0, 2, 3, 1)  # (B, G, G, 3 f f)
        x = self.read_in(x)
        for block in self.encoder:
            x = block(x)
        return self.to_code(self.encoder_norm(x))

    def draw(self, codes: Tensor) -> Tensor:
        """The pixels (B, 3, S, S) of codes (B, G, G, C)."""
        x = self.from_code(codes) + self.place
        for block in self.decoder:
            x = block(x)
        x = self.to_pixels(self.decoder_norm(x))
        return F.pixel_shuffle(x.permute(0, 3, 1, 2), self.config.patch)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The copy (B, 3, S, S) of pixels (B, 3, S, S), and the vectors (B, G, G, C) that were rounded for it."""
        latents = self.latents(pixels).to(pixels.dtype)
        return self.draw(self.fsq(latents)).to(pixels.dtype), latents


class PatchCodec:
    """Square RGB pictures to `length` ids and back, row by row; float64 at run time, so that ids are stable."""

    modality = "image"
    channels = 3

    def __init__(self, network: PatchNetwork) -> None:
        self.config = network.config
        self.network = network.float().double().eval().requires_grad_(False)
        self.size = network.fsq.size
        self.side = self.config.side
        self.length = self.config.places**2

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that differ where the config or any weight differs."""
        return network_fingerprint(self.network)

    def coordinates(self) -> np.ndarray:
        """A point (size, D) for every id, as `Codec` says."""
        return self.network.fsq.coordinates()

    def neighbours(self, ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """For each id (n,) one of a patch that differs a little."""
        return neighbours(ids, self.config.levels, rng)

    def encode(self, part: Part) -> np.ndarray:
        """The ids, int64 (length,), of a picture; other sizes are stretched to `side` and grey ones are made RGB."""
        if not isinstance(part, Image):
            raise TonyError(f"the patch codec takes Image, not {type(part).__name__}")
        return self.encode_many([part])[0]

    def encode_many(self, images: Sequence[Image], together: int = 64, exact: bool = True) -> np.ndarray:
        """The ids, int64 (images, length), as `encode` gives them one by one; in batches for speed.

        Unless `exact`, in float32, which is many times as fast: a latent on the border of two codes may then fall to the other.
        """
        network, dtype = (self.network, torch.float64) if exact else (self._single, torch.float32)
        found = [np.zeros((0, self.length), np.int64)]
        with torch.inference_mode():
            for first in range(0, len(images), together):
                pixels = to_pixels(images[first : first + together], self.side).to(dtype)
                ids = network.fsq.to_indices(network.fsq(network.latents(pixels)))
                found.append(ids.reshape(len(ids), -1).numpy())
        return np.concatenate(found)

    @cached_property
    def _single(self) -> PatchNetwork:
        """The network in float32."""
        return copy.deepcopy(self.network).float()

    def decode(self, ids: np.ndarray) -> Image:
        """The picture, uint8 (side, side, 3), of exactly `length` ids."""
        ids = np.asarray(ids)
        if ids.shape != (self.length,) or not np.issubdtype(ids.dtype, np.integer):
            raise TonyError(
                f"picture ids are {ids.dtype} of shape {ids.shape}: give {self.length} whole numbers"
            )
        if ids.min() < 0 or ids.max() >= self.size:
            raise TonyError(
                f"picture id {ids.min() if ids.min() < 0 else ids.max()} is outside [0, {self.size})"
            )
        places = self.config.places
        with torch.inference_mode():
            codes = self.network.fsq.to_codes(torch.from_numpy(ids.astype(np.int64)), torch.float64)
            pixels = self.network.draw(codes.reshape(1, places, places, -1))[0]
        pixels = ((pixels.clamp(-1, 1) + 1) * 127.5).round().permute(1, 2, 0)
        return Image(pixels.to(torch.uint8).numpy())

    def save(self, folder: str | os.PathLike) -> Path:
        """The folder, now holding codec.json and weights.safetensors; an older codec there is replaced."""
        return save_network(self.network, "patch", folder)

    @classmethod
    def load(cls, folder: str | os.PathLike) -> Self:
        """The codec saved there. Raises TonyError where there is none, or one that does not fit its description."""
        return cls(load_network("patch", PatchConfig, PatchNetwork, folder))


def to_pixels(images: Sequence[Image], side: int) -> Tensor:
    """The pictures as float32 (B, 3, side, side) in [-1, 1]."""
    pixels = np.stack([to_size(image, side, side, channels=3).pixels for image in images])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
