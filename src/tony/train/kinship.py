"""Embeddings that begin as codes lie to each other.

A picture or sound id is a point: a grey level at a pixel, a corner of FSQ's grid. A network whose embeddings begin at random
must learn from data that 7 lies between 6 and 8, for every pixel and every code apart. Here an embedding begins as a random
linear map of its code's coordinates, plus a small part of its own. A linear map of many coordinates keeps distances
(Johnson and Lindenstrauss 1984), and a head that attends evenly to a picture sees a linear map of all its pixels from
the first step. Measured in NOTEBOOK.md.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tony.tokens.vocabulary import Vocabulary


@torch.no_grad()
def relate(weight: Tensor, vocabulary: Vocabulary, share: float, generator: torch.Generator) -> None:
    """Make `share` of the variance of picture and sound embeddings, rows of `weight` (V, D), follow their coordinates.

    Their root mean square stays as it was; `share=0` changes nothing.
    """
    if not share:
        return
    for name, codec in (("image", vocabulary.image), ("audio", vocabulary.sound)):
        if codec is None:
            continue
        coordinates = torch.from_numpy(codec.coordinates())
        rows = weight[vocabulary.ranges[name].start : vocabulary.ranges[name].end]
        size = rows.square().mean().sqrt()
        directions = torch.randn(coordinates.shape[1], weight.shape[1], generator=generator)
        common = (coordinates @ directions).to(rows)
        common *= size / common.square().mean().sqrt()
        rows.mul_((1 - share) ** 0.5).add_(common, alpha=share**0.5)
