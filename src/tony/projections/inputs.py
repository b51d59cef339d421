"""What may be given as rows: arrays, sparse matrices, memory-mapped arrays, torch tensors."""

from __future__ import annotations

import numpy as np
from scipy import sparse


def as_rows(rows):
    """A torch tensor as an array (bfloat16 and float16 as float32); all else as it is. Does not import torch."""
    if hasattr(rows, "detach") and hasattr(rows, "cpu"):
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
