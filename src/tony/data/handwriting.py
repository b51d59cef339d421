"""Handwritten digits as pictures, and as somebody else might have drawn them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SIDE = 8


def to_pixels(values: np.ndarray) -> np.ndarray:
    """Values 0 to 16 as uint8 0 to 255, so that 17 grey levels give the values back."""
    return np.round(values * (255 / 16)).astype(np.uint8)


def vary(values: np.ndarray, times: int, rng: np.random.Generator) -> np.ndarray:
    """Pictures (n, 8, 8) turned, stretched, slanted and moved a little, `times` over: (times * n, 8, 8)."""
    n = len(values) * times
    angle, slant = rng.normal(0, 0.08, n), rng.normal(0, 0.08, n)
    scale = rng.normal(1, 0.06, (n, 2))
    move = rng.normal(0, 0.35, (n, 2))
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.empty((n, 2, 2))
    matrix[:, 0, 0], matrix[:, 0, 1] = cos / scale[:, 0], -sin
    matrix[:, 1, 0], matrix[:, 1, 1] = sin + slant, cos / scale[:, 1]
    grid = (
        np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij"), -1).reshape(-1, 2)
        - (SIDE - 1) / 2
    )
    places = np.einsum("nij,pj->npi", matrix, grid) + (SIDE - 1) / 2 + move[:, None]
    # One resampling for all: pictures are stacked far enough apart that none bleeds into the next.
    gap = SIDE + 4
    stack = np.zeros((len(values) * gap, SIDE + 4))
    for i, picture in enumerate(values):
        stack[i * gap + 2 : i * gap + 2 + SIDE, 2 : 2 + SIDE] = picture
    rows = np.clip(places[..., 0], -2, SIDE + 1) + 2 + np.tile(np.arange(len(values)), times)[:, None] * gap
    columns = np.clip(places[..., 1], -2, SIDE + 1) + 2
    out = ndimage.map_coordinates(stack, [rows.ravel(), columns.ravel()], order=1)
    strength = rng.normal(1, 0.1, n)[:, None]
    return np.round(np.clip(out.reshape(n, -1) * strength, 0, 16)).reshape(n, SIDE, SIDE)
