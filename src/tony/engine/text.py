"""Text in, text out: prompts as strings, completions with their log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from tokenizers import Tokenizer

from tony.engine.exchange.folder import LanguageModel
from tony.engine.sampling import Decoding, draw
from tony.errors import TonyError
from tony.model import Cache, Transformer


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What a model wrote after a prompt.

    Attributes:
        text: up to the stop string, which is not part of it.
        tokens: all ids written, those of the stop string included, the end id not.
        logprobs: nats, one for each of `tokens`: the network's own log-probability, before temperature and cuts.
        finish: "stop" (a stop string or the end id came) or "length".
    """

    text: str
    tokens: list[int] = field(repr=False)
    logprobs: list[float] = field(repr=False)
    finish: str

    @property
    def mean_logprob(self) -> float:
        """Nats per token; 0 for an empty completion."""
        return float(np.mean(self.logprobs)) if self.logprobs else 0.0


class TextEngine:
    """A language model over plain text, ready to complete prompts.

    Args:
        model: the network, float32.
        tokenizer: text <-> ids.
        bos: stands before every prompt that is empty, or None.
        eos: the id that ends a completion, or None.
    """

    def __init__(
        self, model: Transformer, tokenizer: Tokenizer, bos: int | None = None, eos: int | None = None
    ) -> None:
        self.model, self.tokenizer, self.bos, self.eos = model, tokenizer, bos, eos

    @classmethod
    def of(cls, source: LanguageModel) -> TextEngine:
        """An engine of what `load_language_model` returns."""
        return cls(source.model, source.tokenizer, source.bos, source.eos)

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=False)

    @torch.inference_mode()
    def complete(
        self,
        prompts: Sequence[str],
        *,
        n: int = 1,
        max_tokens: int = 256,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        stop: Sequence[str] = (),
        seed: int | Sequence[int] = 0,
    ) -> list[list[Completion]]:
        """`n` completions of each prompt, computed from one prefill each: one list a prompt, in order.

        Sample j of prompt i has a random stream of its own, from (seed + i, j), or (seed[i], j) where `seed` lists one a
        prompt: what is drawn does not depend on the other prompts or on n.

        Args:
            prompts: what stands before.
            n: samples a prompt.
            max_tokens: most new ids of a sample; fewer where the model's context ends.
            temperature: 0 takes the most likely id.
            top_k: 0 keeps all.
            top_p: mass of the nucleus.
            stop: strings at which a completion ends.
            seed: of the random streams.

        Raises:
            TonyError: a prompt leaves no room in the model's context, or a setting is out of range.
        """
        decoding = Decoding(temperature=temperature, top_k=top_k, top_p=top_p)
        seeds = [seed + i for i in range(len(prompts))] if isinstance(seed, int) else list(seed)
        if len(seeds) != len(prompts):
            raise TonyError(f"{len(seeds)} seeds for {len(prompts)} prompts: give one seed, or one a prompt")
        return [
            self._samples(prompt, n, max_tokens, decoding, tuple(stop), own)
            for prompt, own in zip(prompts, seeds, strict=True)
        ]

    def _samples(
        self, prompt: str, n: int, max_tokens: int, decoding: Decoding, stop: tuple[str, ...], seed: int
    ) -> list[Completion]:
        ids = self.encode(prompt) or ([self.bos] if self.bos is not None else [])
        context = self.model.config.context
        if not ids:
            raise TonyError("the prompt is empty, and this model has no id that begins a text")
        if len(ids) >= context:
            raise TonyError(
                f"the prompt has {len(ids)} ids and this model's context is {context}: shorten it"
            )
        room = min(max_tokens, context - len(ids))
        cache = Cache(self.model.config, 1, slots=len(ids) + room)
        states = self.model.states(torch.tensor([ids]), cache)
        logits = self.model.readout(states[:, -1]).float().expand(n, -1)
        cache.select(torch.zeros(n, dtype=torch.int64))
        streams = [np.random.default_rng([seed, j]) for j in range(n)]
        tokens: list[list[int]] = [[] for _ in range(n)]
        logprobs: list[list[float]] = [[] for _ in range(n)]
        finish = ["length"] * n
        alive = list(range(n))
        for _ in range(room):
            drawn = draw(logits, [decoding] * len(alive), [streams[j].random() for j in alive])
            own = logits.log_softmax(-1).gather(1, drawn[:, None])[:, 0].tolist()
            keep = []
            for row, (j, index) in enumerate(zip(alive, drawn.tolist(), strict=True)):
                if index == self.eos:
                    finish[j] = "stop"
                    continue
                tokens[j].append(index)
                logprobs[j].append(own[row])
                if stop and any(s in self.decode(tokens[j]) for s in stop):
                    finish[j] = "stop"
                    continue
                keep.append(row)
            if not keep or len(tokens[alive[keep[0]]]) == room:
                break
            if len(keep) < len(alive):
                cache.select(torch.tensor(keep))
                drawn, alive = drawn[keep], [alive[row] for row in keep]
            logits = self.model.readout(self.model.states(drawn[:, None], cache)[:, -1]).float()
        return [
            Completion(text=_before(self.decode(t), stop), tokens=t, logprobs=p, finish=f)
            for t, p, f in zip(tokens, logprobs, finish, strict=True)
        ]


def _before(text: str, stop: Sequence[str]) -> str:
    """`text` up to the first of `stop`."""
    places = [place for s in stop if (place := text.find(s)) >= 0]
    return text[: min(places)] if places else text
