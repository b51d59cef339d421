"""A language model, ready to be probed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from tony.engine.exchange.folder import LanguageModel
from tony.engine.packed import Precision, packed
from tony.engine.score import Scorer, split_ids
from tony.engine.text import TextEngine
from tony.evals.fewshot.evaluate import fingerprint

LENGTH, TEMPERATURE, TOP_P = 50, 1.0, 0.9  # the paper's completions: about 50 tokens
ROOM = 128  # ids of a prompt and its completion at most


class EngineSubject:
    """A Subject by our own engine. The same seed gives the same text to the last byte, so a killed run ends as a whole one."""

    def __init__(self, source: LanguageModel, precision: Precision = "float32") -> None:
        self.name = source.name
        self.identity = {
            **fingerprint(source),
            "precision": precision,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        self._source = replace(source, model=packed(source.model, precision))
        self._scorer = Scorer(self._source.model)
        self._engine = TextEngine.of(self._source, deterministic=True, room=ROOM)

    def nats(self, contexts: Sequence[str], continuations: Sequence[str]) -> list[list[float]]:
        pairs = [
            split_ids(self._source.encode, context, continuation, self._source.bos)
            for context in contexts
            for continuation in continuations
        ]
        self._scorer.forget()
        totals = [score.total for score in self._scorer.score(pairs)]
        return [
            totals[first : first + len(continuations)] for first in range(0, len(totals), len(continuations))
        ]

    def write(self, prompt: str, n: int, seed: int) -> list[str]:
        (found,) = self._engine.complete(
            [prompt], n=n, max_tokens=LENGTH, temperature=TEMPERATURE, top_p=TOP_P, seed=[seed]
        )
        return [completion.text for completion in found]
