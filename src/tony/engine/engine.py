"""Batched sampling and scoring with a KV cache. Evaluations and the API are clients of this same code.

Legend: B requests, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tony.engine.grammar import Grammar, State
from tony.errors import TonyError
from tony.model import Cache, Transformer
from tony.model.machine import autocast, choose_precision
from tony.runs.recipe import Sampling

# Requests that are done stay in the batch, their output ignored, until this share of it is left: thinning copies the cache.
THIN_AT = 0.75


@dataclass(frozen=True)
class Request:
    """A prompt as ids (n,), the parts wanted, and the seed of its own random stream."""

    ids: np.ndarray
    want: tuple[str, ...]
    seed: int = 0


class Engine:
    """A model, ready to write under a grammar.

    Args:
        model: in float32; linear weights are converted once where `precision` is lower.
        grammar: what may follow what.
        precision: None takes bfloat16 where the machine computes it natively.
    """

    def __init__(self, model: Transformer, grammar: Grammar, precision: torch.dtype | None = None) -> None:
        self.grammar = grammar
        self.device = model.norm.weight.device
        self.precision = precision or choose_precision("auto", self.device)
        self.model = model
        if self.precision != torch.float32:
            self.model = copy.deepcopy(model)
            for module in self.model.modules():
                if isinstance(module, nn.Linear) and module.weight is not self.model.embedding.weight:
                    module.to(self.precision)
        self._masks = torch.from_numpy(grammar.masks).to(self.device)

    def generate(
        self, requests: Sequence[Request], sampling: Mapping[str, Sampling]
    ) -> Iterator[list[tuple[int, int]]]:
        """Each step's new ids as (request, id) pairs, begin and end marks included; ends when all are done.

        A request's ids do not depend on the others but through rounding: each has its own random stream.

        Raises:
            TonyError: a prompt with its longest reply does not fit the context.
        """
        for request in requests:
            needed = len(request.ids) + self.grammar.length(request.want)
            if needed > self.model.config.context:
                raise TonyError(
                    f"the request needs {needed} ids with its longest reply, and this model's context is "
                    f"{self.model.config.context}: shorten it or ask for less"
                )
        if not requests:
            return
        states = [self.grammar.start(request.want) for request in requests]
        streams = [np.random.default_rng([request.seed & (2**63 - 1), 21]) for request in requests]
        rows = np.arange(len(requests))
        longest = max(len(request.ids) + self.grammar.length(request.want) for request in requests)
        cache = self._cache(len(requests), longest)
        logits = self._prefill([request.ids for request in requests], cache)
        while True:
            ids = self._choose(logits, [states[r] for r in rows], [streams[r] for r in rows], sampling)
            chosen = ids.tolist()
            new = []
            for row, index in zip(rows.tolist(), chosen, strict=True):
                if not states[row].is_done:
                    states[row] = self.grammar.advance(states[row], index)
                    new.append((row, index))
            yield new
            alive = np.array([not states[row].is_done for row in rows])
            if not alive.any():
                return
            if alive.mean() < THIN_AT:
                keep = torch.from_numpy(np.flatnonzero(alive)).to(self.device)
                cache.select(keep)
                ids, rows = ids[keep], rows[alive]
            logits = self._step(ids[:, None], cache)

    def _cache(self, rows: int, slots: int) -> Cache:
        # On a CPU one query against the past is four times faster in float32 than in bfloat16 (memory is not the limit).
        dtype = self.precision if self.device.type == "cuda" else torch.float32
        return Cache(self.model.config, rows, dtype, self.device, slots)

    @torch.inference_mode()
    def _prefill(self, prompts: Sequence[np.ndarray], cache: Cache) -> Tensor:
        """Logits (B, V) after each prompt."""
        counts = torch.tensor([len(p) for p in prompts], device=self.device)
        ids = torch.zeros(len(prompts), int(counts.max()), dtype=torch.int64)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = torch.from_numpy(np.asarray(prompt, np.int64))
        with autocast(self.device, self.precision):
            states = self.model.states(ids.to(self.device), cache, counts)
            last = states[torch.arange(len(prompts), device=self.device), counts - 1]
            return self.model.readout(last).float()

    @torch.inference_mode()
    def _step(self, ids: Tensor, cache: Cache) -> Tensor:
        with autocast(self.device, self.precision):
            return self.model.readout(self.model.states(ids, cache)[:, -1]).float()

    @torch.inference_mode()
    def _choose(
        self,
        logits: Tensor,
        states: list[State],
        streams: list[np.random.Generator],
        sampling: Mapping[str, Sampling],
    ) -> Tensor:
        """One id (B,) for each request: drawn by inverting the cumulative distribution at a uniform number."""
        keys = torch.tensor([self.grammar.key(state) for state in states], device=self.device)
        # Columns are the ids that any request may have: few, as the requests of a batch mostly write the same modality.
        columns = self._masks[keys.unique()].any(0).nonzero()[:, 0]
        allowed = self._masks[keys[:, None], columns]
        logits = logits[:, columns].masked_fill_(~allowed, -torch.inf)
        settings = [sampling["text" if state.is_done else state.modality] for state in states]
        temperature = torch.tensor([s.temperature for s in settings], device=self.device)
        uniform = torch.tensor(
            [stream.random() for stream in streams], dtype=torch.float64, device=self.device
        )
        best = logits.argmax(-1)
        if bool((temperature == 0).all()):
            return columns[best]
        scaled = logits / temperature.clamp_min(1e-6)[:, None]
        if any(s.top_k for s in settings):
            most = logits.shape[1]
            kth = torch.tensor([min(s.top_k or most, most) - 1 for s in settings], device=self.device)
            threshold = scaled.sort(-1, descending=True).values.gather(1, kth[:, None])
            scaled = scaled.masked_fill(scaled < threshold, -torch.inf)
        probabilities = scaled.softmax(-1)
        if any(s.top_p < 1 for s in settings):
            top_p = torch.tensor([s.top_p for s in settings], device=self.device)[:, None]
            ordered, order = probabilities.sort(-1, descending=True)
            outside = ordered.cumsum(-1) - ordered >= top_p  # the id that crosses top_p stays in
            probabilities = probabilities.scatter(1, order, ordered.masked_fill(outside, 0.0))
        cumulative = probabilities.double().cumsum(-1)
        drawn = torch.searchsorted(cumulative, (uniform[:, None] * cumulative[:, -1:]), right=True)[:, 0]
        # The largest id with any probability: rounding must not step past it.
        last = logits.shape[1] - 1 - (probabilities > 0).flip(-1).to(torch.uint8).argmax(-1)
        return columns[torch.where(temperature == 0, best, torch.minimum(drawn, last))]

    @torch.inference_mode()
    def score(self, ids: np.ndarray) -> np.ndarray:
        """Log-probability in nats of every id (n,) given those before it; the first one's is 0."""
        tensor = torch.from_numpy(np.asarray(ids, np.int64)).to(self.device)[None]
        with autocast(self.device, self.precision):
            logits = self.model(tensor).float()[0]
        log_probabilities = logits[:-1].log_softmax(-1).gather(1, tensor[0, 1:, None])[:, 0]
        return np.concatenate([[0.0], log_probabilities.double().cpu().numpy()])
