"""Beam search: the likeliest whole completions, not the likeliest next id at each place.

As `transformers` does it (GenerationMixin._beam_search with early_stopping=False): at every step the 2 * width best
continuations of all beams are looked at; those that end are kept as finished hypotheses, the best others go on. A finished
hypothesis is worth (sum of log-probabilities) / length ** length_penalty, with the end id counted in the length.

Legend: W beams, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tony.engine.batcher import Batcher, Job
from tony.errors import TonyError


@dataclass(frozen=True)
class Hypothesis:
    """A finished completion.

    Attributes:
        ids: without the end id.
        logprobs: nats, one for each of `ids`.
        score: what hypotheses are ordered by; the end id counts in it.
        ended: whether an end id came, and not the limit.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    score: float
    ended: bool


@torch.inference_mode()
def beam_search(
    batcher: Batcher,
    ids: Sequence[int],
    most: int,
    width: int = 4,
    length_penalty: float = 0.6,
    ends: frozenset[int] = frozenset(),
) -> list[Hypothesis]:
    """The best `width` hypotheses after the prompt `ids`, best first; GPT-3 used width 4 and length penalty 0.6.

    Raises:
        TonyError: the batcher has fewer rows than `width`, or the prompt does not fit the context.
    """
    if not 1 <= width <= batcher.rows:
        raise TonyError(f"beam width {width}: this engine has {batcher.rows} rows")
    job = Job(ids=ids, most=most, ends=ends)
    batcher.check(job)
    store, logits = batcher.prefill(job, width)
    running = [_Beam((), (), 0.0)]
    logprobs = logits.log_softmax(-1)[None]  # (W, V)
    finished: list[Hypothesis] = []
    for length in range(1, most + 1):
        totals = torch.tensor([beam.total for beam in running], dtype=torch.float64, device=logits.device)
        sums = totals[:, None] + logprobs.double()
        best, places = sums.flatten().topk(min(2 * width, sums.numel()))
        parents, kept = [], []
        for rank, (total, place) in enumerate(zip(best.tolist(), places.tolist(), strict=True)):
            parent, index = divmod(place, sums.shape[1])
            beam = running[parent]
            if index in ends:
                if rank < width:
                    finished.append(beam.finish(total, length, length_penalty, True))
            elif len(kept) < width:
                kept.append(_Beam((*beam.ids, index), (*beam.logprobs, total - beam.total), total))
                parents.append(parent)
        finished = sorted(finished, key=lambda h: -h.score)[:width]
        running = kept
        if length == most:
            finished += [beam.finish(beam.total, length, length_penalty, False) for beam in running]
        elif len(finished) < width or running[0].total / length**length_penalty > finished[-1].score:
            parents += [0] * (width - len(parents))  # a small vocabulary can leave fewer candidates than rows
            store.reorder(0, parents, len(ids))
            tokens = torch.tensor([[beam.ids[-1]] for beam in running], device=store.device)
            states = batcher.model.states(tokens, store.view(0, len(running)))
            logprobs = batcher.model.readout(states[:, -1]).float().log_softmax(-1)
            continue
        break
    return sorted(finished, key=lambda h: -h.score)[:width]


@dataclass(frozen=True)
class _Beam:
    """A completion that goes on; `total` is the sum of `logprobs`."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    total: float

    def finish(self, total: float, length: int, length_penalty: float, ended: bool) -> Hypothesis:
        return Hypothesis(self.ids, self.logprobs, total / length**length_penalty, ended)
