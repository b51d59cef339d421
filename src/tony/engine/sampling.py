"""How an id is chosen from logits: penalties, temperature, top-k, top-p, min-p, and one uniform number of a request's own.

Order and definitions are those of `transformers`' logits processors: penalties, temperature, top-k, top-p, min-p.

Legend: B requests, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tony.errors import TonyError

# Sorting a vocabulary costs more than a decode step of a small model; the nucleus is nearly always among this many ids.
HEAD = 256


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How the ids of one request are chosen.

    Attributes:
        temperature: logits are divided by it; 0 takes the most likely id (the lowest of equals).
        top_k: keep the k most likely ids; 0 keeps all.
        top_p: keep the smallest set of most likely ids whose probability reaches this (nucleus sampling, Holtzman et al. 2020).
        min_p: drop ids less likely than this times the most likely one (Nguyen et al. 2024).
        repetition_penalty: logits of ids seen in prompt or completion are divided by it where positive and multiplied
            where negative (Keskar et al. 2019); 1 does nothing.
        presence_penalty, frequency_penalty: subtracted once, and once per occurrence, from logits of ids already written
            (as in the OpenAI API); 0 does nothing.

    Raises:
        TonyError: a value is out of its range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0

    def __post_init__(self) -> None:
        ranges = {
            "temperature": (self.temperature >= 0, "0 or more"),
            "top_k": (self.top_k >= 0, "0 (no cut) or more"),
            "top_p": (0 < self.top_p <= 1, "above 0, at most 1"),
            "min_p": (0 <= self.min_p <= 1, "0 to 1"),
            "repetition_penalty": (self.repetition_penalty > 0, "above 0 (1 = none)"),
        }
        for name, (fits, allowed) in ranges.items():
            if not fits:
                raise TonyError(f"{name}={getattr(self, name)}: must be {allowed}")

    @property
    def penalises(self) -> bool:
        return self.repetition_penalty != 1.0 or self.presence_penalty != 0.0 or self.frequency_penalty != 0.0


DRAW = Decoding()
GREEDY = Decoding(temperature=0.0)


def penalise(logits: Tensor, decoding: Decoding, prompt: Sequence[int], written: Sequence[int]) -> Tensor:
    """Logits (V,) with the penalties of `decoding` for what `prompt` and `written` hold."""
    logits = logits.clone()
    if decoding.repetition_penalty != 1.0:
        seen = torch.tensor(sorted({*prompt, *written}), dtype=torch.int64, device=logits.device)
        values = logits[seen]
        rate = decoding.repetition_penalty
        logits[seen] = torch.where(values > 0, values / rate, values * rate)
    if written and (decoding.presence_penalty or decoding.frequency_penalty):
        ids, counts = np.unique(np.asarray(written), return_counts=True)
        off = decoding.presence_penalty + decoding.frequency_penalty * counts
        logits[torch.from_numpy(ids).to(logits.device)] -= torch.from_numpy(off).to(logits)
    return logits


def probabilities(
    logits: Tensor, temperature: Tensor, top_k: Sequence[int], top_p: Sequence[float], min_p: Sequence[float]
) -> Tensor:
    """Probabilities (B, V) after the cuts, not renormalised; all settings are per row, temperature (B,) above 0."""
    scaled = logits / temperature[:, None]
    vocabulary = logits.shape[1]
    if any(top_k):
        most = max(k or 1 for k in top_k)
        ordered = scaled.topk(min(most, vocabulary), -1).values
        kth = torch.tensor([min(k, vocabulary) - 1 if k else 0 for k in top_k], device=logits.device)
        threshold = ordered.gather(1, kth[:, None])
        cut = torch.tensor([bool(k) for k in top_k], device=logits.device)[:, None]
        scaled = scaled.masked_fill(cut & (scaled < threshold), -torch.inf)
    found = scaled.softmax(-1)
    if any(p < 1 for p in top_p):
        limit = torch.tensor(list(top_p), device=logits.device, dtype=found.dtype)[:, None]
        ordered, order = found.topk(min(HEAD, vocabulary), -1)
        if ordered.shape[1] < vocabulary and bool(
            ((ordered.sum(-1) < limit[:, 0]) & (limit[:, 0] < 1)).any()
        ):
            ordered, order = found.sort(dim=-1, descending=True, stable=True)
        outside = (ordered.cumsum(-1) - ordered >= limit) & (limit < 1)  # the id that crosses top_p stays in
        nucleus = torch.zeros_like(found).scatter(1, order, ordered.masked_fill(outside, 0.0))
        found = torch.where(limit < 1, nucleus, found)
    if any(min_p):
        floor = torch.tensor(list(min_p), device=logits.device, dtype=found.dtype)[:, None]
        found = found.masked_fill(found < floor * found.amax(-1, keepdim=True), 0.0)
    return found


def invert(found: Tensor, uniform: Tensor) -> Tensor:
    """Ids (B,) at which the cumulative sum of `found` (B, V) passes `uniform` (B,) of its total."""
    cumulative = found.double().cumsum(-1)
    drawn = torch.searchsorted(cumulative, (uniform[:, None] * cumulative[:, -1:]), right=True)[:, 0]
    # The largest id with any probability: rounding must not step past it.
    last = found.shape[1] - 1 - (found > 0).flip(-1).to(torch.uint8).argmax(-1)
    return torch.minimum(drawn, last)


def draw(logits: Tensor, decodings: Sequence[Decoding], uniforms: Sequence[float]) -> Tensor:
    """One id (B,) a row of `logits` (B, V), float32, penalties already applied."""
    best = logits.argmax(-1)
    warm = [i for i, decoding in enumerate(decodings) if decoding.temperature > 0]
    if not warm:
        return best
    device = logits.device
    chosen = [decodings[i] for i in warm]
    found = probabilities(
        logits[warm],
        torch.tensor([d.temperature for d in chosen], device=device).clamp_min(1e-6),
        [d.top_k for d in chosen],
        [d.top_p for d in chosen],
        [d.min_p for d in chosen],
    )
    uniform = torch.tensor([uniforms[i] for i in warm], dtype=torch.float64, device=device)
    best[warm] = invert(found, uniform)
    return best
