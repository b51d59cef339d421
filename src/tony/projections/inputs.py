"""What may be given as rows: arrays, sparse matrices, memory-mapped arrays, torch tensors."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from tony.errors import TonyError

LARGEST, SMALLEST = (
    1e70,
    1e-70,
)  # moments are products of four such numbers, and must neither overflow nor vanish


def as_rows(rows):
    """A torch tensor as an array (bfloat16 and float16 as float32); all else as it is. Does not import torch."""
    if hasattr(rows, "detach") and hasattr(rows, "cpu"):
        if "strided" not in str(rows.layout):
            raise TonyError(f"a torch tensor of layout {rows.layout}: give x.to_dense() or a scipy matrix")
        rows = rows.detach().cpu()
        if rows.is_floating_point() and rows.element_size() < 4:
            rows = rows.float()
        return rows.numpy()
    # Half precision overflows at 65504, which the squares of quite ordinary features pass.
    if isinstance(rows, np.ndarray) and rows.dtype == np.float16:
        return rows.astype(np.float32)
    if sparse.issparse(rows) and rows.format != "csr":
        return rows.tocsr()
    return rows


def checked_range(rows, name: str):
    """`rows`, of finite numbers.

    Raises:
        TonyError: they are so large or small that their moments cannot be computed.
    """
    values = rows.data if sparse.issparse(rows) else rows
    largest = max(float(values.max()), -float(values.min())) if values.size else 0.0
    if largest and not SMALLEST <= largest <= LARGEST:
        raise TonyError(
            f"{name} holds values up to {largest:.1e}: scale it, moments are computed from {SMALLEST:g} to {LARGEST:g}"
        )
    return rows
