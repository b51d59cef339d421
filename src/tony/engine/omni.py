"""A finished model that people talk to: vocabulary, network and engine in one object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from tony.engine.embedding import Head, pooled_states, unit, weights_hash
from tony.engine.engine import Engine, Request
from tony.engine.grammar import Grammar
from tony.errors import TonyError
from tony.media import Audio, Document, Image, Part, Text
from tony.model import Transformer
from tony.model.machine import choose_device, prepare_threads
from tony.model.weights import load_model
from tony.runs import Run
from tony.runs.recipe import Recipe, Sampling
from tony.tokens.vocabulary import Vocabulary, payload_key

BATCH = 256  # requests that are answered together


@dataclass(frozen=True)
class Chunk:
    """A piece of a streamed reply.

    Attributes:
        index: which part of the reply it belongs to.
        delta: what is new: whole characters, final samples at 16 kHz, or the picture as far as it is drawn.
        part: the whole part, on the last chunk of that part only.
    """

    index: int
    delta: Part | None
    part: Part | None = None


class Omni:
    """Any combination of text, pictures, sound and video in; any combination of text, pictures and sound out."""

    def __init__(
        self, model: Transformer, vocabulary: Vocabulary, recipe: Recipe, run: Run | None = None
    ) -> None:
        if model.config.vocabulary != vocabulary.size:
            raise TonyError(
                f"the model has {model.config.vocabulary} ids and the vocabulary {vocabulary.size}: "
                "they are of different runs"
            )
        self.vocabulary, self.recipe, self.run = vocabulary, recipe, run
        self.name = run.name if run is not None else recipe.name
        self.created = int((run.model / "model.safetensors").stat().st_mtime) if run is not None else 0
        self.sampling: dict[str, Sampling] = {
            name: getattr(recipe.sampling, name) for name in ("text", "image", "audio")
        }
        self.engine = Engine(model, Grammar(vocabulary, recipe.sampling))

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Omni:
        """The finished model in run folder `path`.

        Raises:
            TonyError: there is no run, it is not finished, or a file of it is damaged.
        """
        run = Run(path)
        prepare_threads()
        model = load_model(run.model).to(choose_device(device))
        return cls(model, Vocabulary.load(run.vocabulary), run.recipe, run)

    @property
    def num_parameters(self) -> int:
        return self.engine.model.num_parameters

    def prompt(self, document: Document, memo: dict[int, np.ndarray] | None = None) -> np.ndarray:
        """The ids that ask for a reply to `document`; parts without a role are the user's. `memo`: see Vocabulary."""
        parts = [part if part.role else replace(part, role="user") for part in document]
        if not parts:
            raise TonyError("the request is empty: give at least one part")
        ids = self.vocabulary.encode(Document(parts), memo).ids
        ids[-1] = self.vocabulary.control("assistant")  # in the place of stop
        return ids

    def reply(
        self, document: Document, want: Sequence[str] = ("text",), *, seed: int = 0,
        sampling: Mapping[str, Sampling] | None = None,
    ) -> Document:  # fmt: skip
        """The reply to `document`: the parts that `want` lists, in that order.

        Args:
            document: the conversation so far.
            want: an ordered list of "text", "image", "audio".
            seed: of the random stream.
            sampling: by modality; what is missing is as the run's recipe says.

        Raises:
            TonyError: the request is empty, too long, or of a modality that the model does not know.
        """
        return self.replies([document], [want], seed=seed, sampling=sampling)[0]

    def replies(
        self, documents: Sequence[Document], wants: Sequence[Sequence[str]], *, seed: int = 0,
        sampling: Mapping[str, Sampling] | None = None,
    ) -> list[Document]:  # fmt: skip
        """The replies to many documents, computed together; the i-th has random stream `seed + i`."""
        memo = {payload_key(part): ids for part, ids in self.vocabulary.encode_media(documents, {})}
        requests = [
            Request(self.prompt(document, memo), tuple(want), seed + i)
            for i, (document, want) in enumerate(zip(documents, wants, strict=True))
        ]
        written: list[list[int]] = [[] for _ in requests]
        # Prompts of like length share a batch, so that little of it is padding.
        order = sorted(
            range(len(requests)), key=lambda i: (self.grammar.length(requests[i].want), len(requests[i].ids))
        )
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            for step in self.engine.generate(
                [requests[i] for i in batch], self.sampling | dict(sampling or {})
            ):
                for row, index in step:
                    written[batch[row]].append(index)
        prefix = [self.vocabulary.control("start"), self.vocabulary.control("assistant")]
        return self.vocabulary.decode_many([*prefix, *ids] for ids in written)

    @property
    def grammar(self) -> Grammar:
        return self.engine.grammar

    def stream(
        self, document: Document, want: Sequence[str] = ("text",), *, seed: int = 0,
        sampling: Mapping[str, Sampling] | None = None,
    ) -> Iterator[Chunk]:  # fmt: skip
        """The reply piece by piece; closing the iterator stops the work.

        Put together, the pieces are what `reply` returns.
        """
        request = Request(self.prompt(document), tuple(want), seed)
        steps = self.engine.generate([request], self.sampling | dict(sampling or {}))
        v = self.vocabulary
        body: list[int] = []
        index, modality, decoder = -1, "", None
        for step in steps:
            ((_, new),) = step
            if new < len(v.controls):
                if modality and new == v.end(modality):
                    yield Chunk(index, self._last_delta(modality, decoder), self._part(modality, body))
                    modality = ""
                else:
                    index, body = index + 1, []
                    modality = next(m for m in want if new == v.begin(m))
                    decoder = {"text": v.text, "audio": v.sound}.get(modality)
                    decoder = decoder.stream() if decoder is not None else None
                continue
            body.append(new)
            delta = self._delta(modality, decoder, body)
            if delta is not None:
                yield Chunk(index, delta)

    def _part(self, modality: str, body: list[int]) -> Part:
        return replace(self.vocabulary.decode_part(modality, body), role="assistant")

    def _delta(self, modality: str, decoder, body: list[int]) -> Part | None:
        """What the newest id of `body` adds, or None where it completes nothing."""
        start = self.vocabulary.ranges[modality].start
        new = np.array([body[-1] - start])
        if modality == "text":
            text = decoder.step(new)
            return Text(text) if text else None
        if modality == "audio":
            samples = decoder.step(new)
            return Audio(np.asarray(samples, np.float32), 16_000) if len(samples) else None
        return self._rows(body)

    def _last_delta(self, modality: str, decoder) -> Part | None:
        if modality == "text":
            text = decoder.flush()
            return Text(text) if text else None
        if modality == "audio":
            samples = decoder.flush()
            return Audio(np.asarray(samples, np.float32), 16_000) if len(samples) else None
        return None

    def _rows(self, body: list[int]) -> Image | None:
        """The picture so far, each time one more row of ids is complete."""
        codec = self.vocabulary.image
        per_row = round(codec.length**0.5)
        if len(body) % per_row or len(body) == codec.length:
            return None
        start = self.vocabulary.ranges["image"].start
        if hasattr(codec, "palette"):
            return codec.decode(np.array(body) - start)
        padded = np.zeros(codec.length, np.int64)
        padded[: len(body)] = np.array(body) - start
        pixels = codec.decode(padded).pixels.copy()
        pixels[pixels.shape[0] * len(body) // codec.length :] = 0
        return Image(pixels)

    def score(self, document: Document) -> dict[str, tuple[float, int]]:
        """Negative log-likelihood in nats of the counted ids and their number, by modality.

        The probabilities are the network's own, before any grammar.
        """
        tokens = self.vocabulary.encode(document)
        nats = -self.engine.score(tokens.ids)
        kinds = self.vocabulary.modality_of[tokens.ids]
        out = {}
        for kind, name in enumerate(("text", "image", "audio", "video")):
            chosen = tokens.counted & (kinds == kind)
            if chosen.any():
                out[name] = (float(nats[chosen].sum()), int(chosen.sum()))
        return out

    @cached_property
    def head(self) -> Head:
        """The linear head of `embed`, from this run's folder.

        Raises:
            TonyError: the run has none yet, or one of other weights.
        """
        if self.run is None:
            raise TonyError(
                "this model is of no run folder, so it has no search head: open it with tony.load"
            )
        head = Head.load(head_path(self.run))
        if head.model != weights_hash(self.run.model):
            raise TonyError(
                f"{head_path(self.run)}: made for other weights than this run's. Remove it; the next tony search makes it again"
            )
        return head

    def embed(self, document: Document) -> np.ndarray:
        """A unit vector float32 (E,), near to those of documents that show, say or write the same in another modality.

        Raises:
            TonyError: the document is empty, or the run has no search head (`tony search` makes it).
        """
        return self.embed_many([document])[0]

    def embed_many(self, documents: Sequence[Document]) -> np.ndarray:
        """Unit vectors float32 (n, E); a document of several parts gets the direction of its parts' sum."""
        if not all(len(document) for document in documents):
            raise TonyError("there is nothing to embed: give at least one part")
        head = self.head
        memo = {payload_key(part): ids for part, ids in self.vocabulary.encode_media(documents, {})}
        rows = [i for i, document in enumerate(documents) for _ in document]
        parts = [
            (part.modality, self.vocabulary.encode_part(part, memo))
            for document in documents
            for part in document
        ]
        features = pooled_states(self.engine, self.vocabulary, parts)
        total = np.zeros((len(documents), head.width), np.float32)
        for row, (modality, _), feature in zip(rows, parts, features, strict=True):
            total[row] += head.apply(modality, feature[None])[0]
        return unit(total)


def head_path(run: Run) -> Path:
    """Where a run keeps the head of `Omni.embed`."""
    return run.path / "search" / "head.safetensors"
