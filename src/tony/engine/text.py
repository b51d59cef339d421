"""Text in, text out: prompts as strings, completions with their log-probabilities."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from tokenizers import Tokenizer

from tony.engine.batcher import Batcher, Event, Job
from tony.engine.beam import beam_search
from tony.engine.exchange.folder import LanguageModel
from tony.engine.keys import KeySketch
from tony.engine.packed import Precision, packed
from tony.engine.sampling import DRAW, Decoding
from tony.engine.writing import Writing
from tony.errors import TonyError
from tony.model import Transformer


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What a model wrote after a prompt.

    Attributes:
        text: up to the stop string, which is not part of it.
        tokens: all ids written, those of the stop string included, the end id not.
        logprobs: nats, one for each of `tokens`: the network's own log-probability, before penalties, temperature and cuts.
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


@dataclass(frozen=True)
class Piece:
    """A piece of a streamed completion: whole characters, possibly none; `finish` is not "" on the last one."""

    delta: str
    token: int
    logprob: float
    finish: str = ""


class TextEngine:
    """A language model over plain text, ready to complete prompts.

    Args:
        model: the network, float32.
        tokenizer: text <-> ids.
        bos: what an empty prompt begins with, or None.
        eos: the id that ends a completion, or None.
        rows: completions written at once.
        deterministic: the same text to the last bit alone or in company, for a price in speed (see Batcher).
        room: ids of the longest prompt with its completion that a deterministic engine takes.
        precision: of the weights on a CPU: "float32", "bfloat16" or "int8", laid out for small batches (see packed); None
            takes the model as it is.
        compiled: on a CPU, steps of one completion are compiled: some seconds once, then about half the time (see packed).
        keys: how keys of the past are kept in fewer numbers (see KeySketch); None = as they are.
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        bos: int | None = None,
        eos: int | None = None,
        *,
        rows: int = 16,
        deterministic: bool = False,
        room: int = 512,
        precision: Precision | None = None,
        compiled: bool = False,
        keys: KeySketch | None = None,
    ) -> None:
        if compiled or precision:
            model = packed(model, precision or "float32", compiled)
        self.model = model
        self.tokenizer, self.bos, self.eos = tokenizer, bos, eos
        self.ends = frozenset() if eos is None else frozenset([eos])
        chunk = 64 if deterministic else 256
        self.batcher = Batcher(self.model, rows, chunk, deterministic, room, keys=keys)
        self._inbox: dict[int, deque[Event]] = {}  # what came for whom, not yet read

    @classmethod
    def of(cls, source: LanguageModel, **settings) -> TextEngine:
        """An engine of what `load_language_model` returns."""
        return cls(source.model, source.tokenizer, source.bos, source.eos, **settings)

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=False)

    def complete(
        self,
        prompts: Sequence[str | Sequence[int]],
        *,
        n: int = 1,
        max_tokens: int = 256,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        stop: Sequence[str] = (),
        seed: int | Sequence[int] = 0,
    ) -> list[list[Completion]]:
        """`n` completions of each prompt, computed from one prefill each: one list a prompt, in order.

        Sample j of prompt i has a random stream of its own, from (seed + i, j), or (seed[i], j) where `seed` lists one a
        prompt: what is drawn does not depend on the other prompts or on n.

        Args:
            prompts: what stands before, as text or as ids.
            n: samples a prompt.
            max_tokens: most new ids of a sample; fewer where the model's context ends.
            temperature, top_k, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty: see Decoding;
                temperature 0 takes the most likely id.
            stop: strings at which a completion ends.
            seed: of the random streams.

        Raises:
            TonyError: a prompt leaves no room in the model's context, or a setting is out of range.
        """
        found = dict(
            self.as_completed(
                prompts,
                n=n,
                max_tokens=max_tokens,
                stop=stop,
                seed=seed,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                min_p=min_p,
                repetition_penalty=repetition_penalty,
                presence_penalty=presence_penalty,
                frequency_penalty=frequency_penalty,
            )
        )
        return [found[i] for i in range(len(prompts))]

    def as_completed(
        self,
        prompts: Sequence[str | Sequence[int]],
        *,
        n: int = 1,
        max_tokens: int = 256,
        stop: Sequence[str] = (),
        seed: int | Sequence[int] = 0,
        **decoding: float,
    ) -> Iterator[tuple[int, list[Completion]]]:
        """What `complete` returns, a prompt at a time: its index and its completions, as soon as all of them are there.

        Closing the iterator frees what is unfinished. `decoding`: of Decoding.
        """
        jobs = self._jobs(prompts, seed, n, max_tokens, Decoding(**decoding))
        written: dict[tuple[int, int], list[Piece]] = {}
        texts: dict[tuple[int, int], str] = {}
        numbers = [self.batcher.submit(job) for job in jobs]
        index_of = {number: i for i, number in enumerate(numbers)}
        left = dict.fromkeys(numbers, n)
        try:
            for key, piece, text in self._run(numbers, n, stop):
                written.setdefault(key, []).append(piece)
                if not piece.finish:
                    continue
                texts[key], number = text, key[0]
                left[number] -= 1
                if not left[number]:
                    keys = [(number, j) for j in range(n)]
                    yield index_of[number], [self._completion(written.pop(k), texts.pop(k)) for k in keys]
        finally:
            self._forget(numbers)

    def stream(
        self,
        prompt: str,
        *,
        max_tokens: int = 256,
        decoding: Decoding = DRAW,
        stop: Sequence[str] = (),
        seed: int = 0,
    ) -> Iterator[Piece]:
        """One completion id by id; closing the iterator frees what it holds. Put together, the deltas are the text.

        The ids are remembered as a prefix, so that the next turn of a chat costs only what is new.
        """
        (job,) = self._jobs([prompt], seed, 1, max_tokens, decoding, remember=True)
        number = self.batcher.submit(job)
        try:
            for _, piece, _ in self._run([number], 1, stop):
                yield piece
        finally:
            self._forget([number])

    def beam(
        self,
        prompt: str,
        *,
        width: int = 4,
        length_penalty: float = 0.6,
        max_tokens: int = 256,
        stop: Sequence[str] = (),
    ) -> Completion:
        """The best completion by beam search; a stop string cuts the text but does not end the search.

        Raises:
            TonyError: the prompt leaves no room in the model's context, or there are fewer rows than `width`.
        """
        (job,) = self._jobs([prompt], 0, 1, max_tokens, Decoding())
        ends = self.ends | self._stop_ids(stop)
        best = beam_search(self.batcher, job.ids, job.most, width, length_penalty, ends)[0]
        writing = Writing(self.tokenizer, stop)
        for index in best.ids:
            writing.add(index)
        writing.flush()
        finish = "stop" if best.ended or writing.is_stopped else "length"
        return Completion(
            text=writing.text, tokens=list(best.ids), logprobs=list(best.logprobs), finish=finish
        )

    def ids_of(self, prompt: str | Sequence[int]) -> list[int]:
        """The ids of a prompt, which may be given as ids; an empty one is the id that begins a text.

        Raises:
            TonyError: it is empty and the model has no such id.
        """
        ids = self.encode(prompt) if isinstance(prompt, str) else list(prompt)
        if not ids and self.bos is None:
            raise TonyError("the prompt is empty, and this model has no id that begins a text")
        return ids or [self.bos]

    def _jobs(
        self,
        prompts: Sequence[str | Sequence[int]],
        seed: int | Sequence[int],
        n: int,
        max_tokens: int,
        decoding: Decoding,
        remember: bool = False,
    ) -> list[Job]:
        """All of them checked before any is submitted."""
        seeds = [seed + i for i in range(len(prompts))] if isinstance(seed, int) else list(seed)
        if len(seeds) != len(prompts):
            raise TonyError(f"{len(seeds)} seeds for {len(prompts)} prompts: give one seed, or one a prompt")
        jobs, context = [], self.model.config.context
        for prompt, own in zip(prompts, seeds, strict=True):
            ids = self.ids_of(prompt)
            if len(ids) >= context:
                raise TonyError(
                    f"the prompt has {len(ids)} ids and this model's context is {context}: shorten it"
                )
            job = Job(
                ids=ids,
                most=min(max_tokens, context - len(ids)),
                n=n,
                decoding=decoding,
                ends=self.ends,
                seed=own & (2**63 - 1),
                remember=remember,
            )
            self.batcher.check(job)
            jobs.append(job)
        return jobs

    def _run(
        self, numbers: Sequence[int], n: int, stop: Sequence[str]
    ) -> Iterator[tuple[tuple[int, int], Piece, str]]:
        """Step until the jobs `numbers` are done: (job, sample), what came, and the text so far.

        Events of jobs that others wait for, as when two streams are read in turn, are kept for them.
        """
        writings: dict[tuple[int, int], Writing] = {}
        left = dict.fromkeys(numbers, n)
        while left:
            mine = next((self._inbox[number] for number in left if self._inbox.get(number)), None)
            if mine is None:
                for event in self.batcher.step():
                    self._inbox.setdefault(event.job, deque()).append(event)
                continue
            event = mine.popleft()
            key = (event.job, event.sample)
            writing = writings.setdefault(key, Writing(self.tokenizer, stop))
            delta = "" if event.finish == "stop" else writing.add(event.id)
            finish = event.finish
            if finish:
                delta += writing.flush()
            elif writing.is_stopped:
                self.batcher.cancel(*key)
            if writing.is_stopped:
                finish = "stop"
            if finish:
                left[event.job] -= 1
                if not left[event.job]:
                    del left[event.job]
            yield key, Piece(delta, event.id, event.logprob, finish), writing.text

    def _forget(self, numbers: Sequence[int]) -> None:
        """Free what jobs hold, done or interrupted."""
        for number in numbers:
            self.batcher.cancel(number)
            self._inbox.pop(number, None)

    def _completion(self, pieces: Sequence[Piece], text: str) -> Completion:
        own = [piece for piece in pieces if piece.token not in self.ends]
        return Completion(
            text=text,
            tokens=[piece.token for piece in own],
            logprobs=[piece.logprob for piece in own],
            finish=pieces[-1].finish,
        )

    def _stop_ids(self, stop: Sequence[str]) -> frozenset[int]:
        """Stop strings that are one id each end a beam, too."""
        ids = [self.encode(s) for s in stop]
        return frozenset(own[0] for own in ids if len(own) == 1)
