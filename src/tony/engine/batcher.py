"""Continuous batching: jobs come and go between steps, and every step writes one id for each sequence under way.

The walk of a job: it waits; its prompt is computed in the store's last row, at most `chunk` ids a step, from the longest
known prefix on; its samples move into rows of their own as rows become free; each leaves its row when it is done, and the
last row in use takes its place, so that rows in use are always the first ones.

Legend: B rows in use, T new ids, V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from tony.engine.keys import KeySketch
from tony.engine.prefixes import BLOCK, Prefixes
from tony.engine.sampling import DRAW, Decoding, draw, penalise
from tony.engine.slots import Slots
from tony.errors import TonyError
from tony.model import Transformer

# The rows of a matrix product of this many rows, or a multiple, are all computed by the same instructions; of other numbers
# the last rows are not, and differ in the last bit (seen with MKL on AVX-512; tests/engine/test_batcher.py watches it).
ROW_STEP = 16
ROOM = 512  # slots of a row at first; rows grow when a longer job comes


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to write.

    Attributes:
        ids: the prompt.
        most: ids to write at most.
        n: samples, all from one prefill.
        decoding: how ids are chosen.
        ends: ids that end a sample; they are not reported as written.
        seed: sample j draws from a random stream of (seed, j).
        remember: keep what is written among the known prefixes too, as the next turn of a chat begins with it.
    """

    ids: Sequence[int]
    most: int
    n: int = 1
    decoding: Decoding = DRAW
    ends: frozenset[int] = frozenset()
    seed: int = 0
    remember: bool = False


@dataclass(frozen=True)
class Event:
    """One new id of one sample, with its log-probability in nats under the network's own distribution.

    `finish` is "" while the sample goes on, "stop" where an end id came (then `id` is that one), "length" with the last id.
    """

    job: int
    sample: int
    id: int
    logprob: float
    finish: str = ""


@dataclass
class Counts:
    """What was computed.

    Attributes:
        prompt: ids of prompts that went through the network.
        reused: ids of prompts whose keys and values were known.
        written: ids chosen.
        steps: forward passes over rows in use.
    """

    prompt: int = 0
    reused: int = 0
    written: int = 0
    steps: int = 0


@dataclass
class _Prompt:
    """The job whose prompt is in the last row."""

    number: int
    job: Job
    logits: Tensor | None = None  # (V,) once all is computed
    started: int = 0


@dataclass
class _Sample:
    """A sequence in a row of its own; the newest of `written` is not in the store yet."""

    number: int
    index: int
    job: Job
    stream: np.random.Generator
    written: list[int] = field(default_factory=list)


class Batcher:
    """A model and the store of what it is writing.

    Args:
        model: the network, whose weights may be of lower precision than the store.
        rows: sequences written at once.
        chunk: ids of prompts computed between two steps: a long prompt holds the others up for no longer than that.
        deterministic: every forward pass has one of two shapes, whoever is in it, so that a job's ids and log-probabilities
            are the same to the last bit alone or in company; costs the padding. Jobs then fit `room` slots, and `rows` is
            rounded up to a multiple of ROW_STEP.
        room: slots of a row at first.
        prefix_bytes: memory for known prefixes; 0 = none are kept.
        keys: how keys of the past are kept in fewer numbers; None = as they are.
    """

    def __init__(
        self,
        model: Transformer,
        rows: int = 16,
        chunk: int = 256,
        deterministic: bool = False,
        room: int = ROOM,
        prefix_bytes: int = 1 << 30,
        keys: KeySketch | None = None,
    ) -> None:
        if keys is not None:
            keys.check(model)
        if deterministic and chunk % BLOCK:
            raise TonyError(f"chunk={chunk}: deterministic batches take a multiple of {BLOCK}")
        rows = -(-rows // ROW_STEP) * ROW_STEP if deterministic else rows
        self.model, self.rows, self.chunk, self.deterministic = model, rows, chunk, deterministic
        self.prefixes = Prefixes(prefix_bytes)
        self.counts = Counts()
        weight = model.norm.weight
        room = min(room, model.config.context)
        self.room = -(-room // chunk) * chunk
        self._slots = Slots(model.config, rows + 1, self.room, torch.float32, weight.device, keys)
        self._waiting: deque[tuple[int, Job]] = deque()
        self._prompt: _Prompt | None = None
        self._samples: list[_Sample] = []
        self._submitted = 0

    @property
    def is_idle(self) -> bool:
        return not (self._waiting or self._prompt or self._samples)

    def check(self, job: Job) -> None:
        """
        Raises:
            TonyError: the prompt is empty, or does not fit with what may be written.
        """
        needed, context = len(job.ids) + job.most, self.model.config.context
        if not job.ids:
            raise TonyError("the prompt is empty: give at least one id")
        if needed > context:
            raise TonyError(
                f"the prompt has {len(job.ids)} ids and may be followed by {job.most}, and this model's context is "
                f"{context}: shorten it or ask for less"
            )
        if self.deterministic and needed > self.room:
            raise TonyError(
                f"the job needs {needed} slots and a deterministic batcher was made for {self.room}"
            )
        if job.most < 1 or job.n < 1:
            raise TonyError(f"most={job.most}, n={job.n}: ask for at least one id and one sample")

    def submit(self, job: Job) -> int:
        """Add a job; the number by which events call it comes back.

        Raises:
            TonyError: as `check`.
        """
        self.check(job)
        number = self._submitted
        self._submitted += 1
        self._waiting.append((number, job))
        return number

    @torch.inference_mode()
    def cancel(self, number: int, sample: int | None = None) -> None:
        """Free what a job, or one sample of it that has started, holds; nothing more is reported of it."""
        for row in reversed(range(len(self._samples))):
            own = self._samples[row]
            if own.number == number and sample in (None, own.index):
                self._leave(row)
        if sample is None:
            self._waiting = deque(pair for pair in self._waiting if pair[0] != number)
            if self._prompt is not None and self._prompt.number == number:
                self._prompt = None

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Compute one chunk of prompts and one id of every sample under way; a sample that starts reports its first id."""
        running = len(self._samples)
        events = self._decode(running) if running else []
        budget = self.chunk
        while budget > 0 and (self._prompt or self._waiting):
            if self._prompt is None:
                self._begin(*self._waiting.popleft())
            prompt = self._prompt
            if prompt.logits is None:
                budget -= self._prefill(prompt, budget)
            if prompt.logits is not None:
                events += self._start(prompt)
                if self._prompt is not None:
                    break  # no row is free for the rest of its samples
        return events

    @torch.inference_mode()
    def prefill(self, job: Job, rows: int) -> tuple[Slots, Tensor]:
        """The store with the prompt of `job` in its first `rows` rows, and logits (V,) after it, for a search that moves
        rows itself; only while the batcher is idle."""
        assert self.is_idle and rows <= self.rows
        self._begin(-1, job)
        prompt, self._prompt = self._prompt, None
        while prompt.logits is None:
            self._prefill(prompt, self.chunk)
        for row in range(rows):
            self._slots.copy(self.rows, row)
        return self._slots, prompt.logits

    def _begin(self, number: int, job: Job) -> None:
        """Put the known beginning of a prompt into the last row."""
        self._prompt = _Prompt(number, job)
        if not self.deterministic:
            self._slots.grow(-(-(len(job.ids) + job.most) // self.chunk) * self.chunk)
        self._slots.lengths[self.rows] = 0
        for block in self.prefixes.find(job.ids, self.chunk if self.deterministic else 1):
            self._slots.append(self.rows, block.keys, block.values)
        self.counts.reused += self._slots.lengths[self.rows]

    def _prefill(self, prompt: _Prompt, budget: int) -> int:
        """Compute the next ids of a prompt; how many comes back."""
        ids, done = prompt.job.ids, self._slots.lengths[self.rows]
        # All chunks but the last end at a block, so that the next prompt's chunks fall on the same places.
        size = self.chunk if self.deterministic else max(budget // BLOCK * BLOCK - done % BLOCK, 1)
        new = list(ids[done : done + size])
        count = torch.tensor([len(new)])
        if self.deterministic:
            new += [0] * (size - len(new))
        view = self._slots.view(self.rows, 1, self._slots.size if self.deterministic else None)
        states = self.model.states(self._tensor([new]), view, count)
        self.counts.prompt += int(count)
        done += int(count)
        self._remember(self.rows, ids[: done if done == len(ids) else done // BLOCK * BLOCK])
        if done == len(ids):
            prompt.logits = self.model.readout(states[:, int(count) - 1]).float()[0]
        return size if self.deterministic else int(count)

    def _remember(self, row: int, ids: Sequence[int]) -> None:
        """Keep the blocks of `ids`, whose keys and values `row` holds."""
        if self.prefixes.most_bytes:
            for block in self.prefixes.missing(ids):
                part = self._slots.read(row, block * BLOCK, min((block + 1) * BLOCK, len(ids)))
                self.prefixes.keep(ids, block, *part)

    def _start(self, prompt: _Prompt) -> list[Event]:
        """Move samples of a finished prompt into free rows, with their first ids."""
        events = []
        while prompt.started < prompt.job.n and len(self._samples) < self.rows:
            row = len(self._samples)
            sample = _Sample(
                prompt.number,
                prompt.started,
                prompt.job,
                np.random.default_rng([prompt.job.seed, prompt.started]),
            )
            prompt.started += 1
            self._samples.append(sample)
            self._slots.copy(self.rows, row)
            events += self._choose(prompt.logits[None], [row])
        if prompt.started == prompt.job.n:
            self._prompt = None
        return events

    def _decode(self, running: int) -> list[Event]:
        ids = [[sample.written[-1]] for sample in self._samples]
        if self.deterministic:
            ids += [[0]] * (self.rows - running)
            self._slots.lengths[running : self.rows] = [0] * (self.rows - running)
        view = self._slots.view(0, len(ids), self._slots.size if self.deterministic else None)
        logits = self.model.readout(self.model.states(self._tensor(ids), view)[:, -1]).float()
        self.counts.steps += 1
        return self._choose(logits[:running], list(range(running)))

    def _choose(self, logits: Tensor, rows: list[int]) -> list[Event]:
        """The next id of each row, from logits (B, V); rows that are done are left."""
        samples = [self._samples[row] for row in rows]
        adjusted = logits
        for i, sample in enumerate(samples):
            if sample.job.decoding.penalises:
                adjusted = adjusted.clone() if adjusted is logits else adjusted
                adjusted[i] = penalise(logits[i], sample.job.decoding, sample.job.ids, sample.written)
        chosen = draw(adjusted, [s.job.decoding for s in samples], [s.stream.random() for s in samples])
        logprobs = logits.gather(1, chosen[:, None])[:, 0] - logits.logsumexp(-1)
        events = []
        for sample, index, logprob in zip(samples, chosen.tolist(), logprobs.tolist(), strict=True):
            finish = "stop" if index in sample.job.ends else ""
            if not finish:
                sample.written.append(index)
                finish = "length" if len(sample.written) == sample.job.most else ""
            events.append(Event(sample.number, sample.index, index, logprob, finish))
        self.counts.written += len(rows)
        for row, event in reversed(list(zip(rows, events, strict=True))):
            if event.finish:
                sample = self._samples[row]
                if sample.job.remember:
                    self._remember(row, [*sample.job.ids, *sample.written][: self._slots.lengths[row]])
                self._leave(row)
        return events

    def _leave(self, row: int) -> None:
        """Free a row: the last row in use moves there."""
        last = len(self._samples) - 1
        if row != last:
            self._samples[row] = self._samples[last]
            self._slots.copy(last, row)
        self._samples.pop()

    def _tensor(self, ids: list[list[int]]) -> Tensor:
        return torch.tensor(ids, dtype=torch.int64, device=self._slots.device)
