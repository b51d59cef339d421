"""Samples from a model of Tony's: a run folder, an imported model, or one that ships in a package (smollm2)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tony.engine.exchange.folder import load_language_model
from tony.engine.exchange.tokenizers import token_name
from tony.engine.packed import Precision, packed
from tony.engine.score import Scorer
from tony.engine.text import Completion, TextEngine
from tony.evals.code.sampler import Drawn
from tony.runs import Run
from tony.tokens.vocabulary import Vocabulary

ROWS = 32  # samples written at once: a third more a second than with 16, on two cores


class EngineSampler:
    """The text engine as a sampler.

    Args:
        path: what `load_language_model` reads.
        precision: of the weights, see `packed`; a lower one is faster, and another model.

    Raises:
        TonyError: no model is there.
    """

    parallel = 1  # the engine uses all cores for one call
    together = 24  # places of samples that have ended go to the next prompt: with 4, a step had 9 rows, and took two thirds more a sample

    def __init__(self, path: Path, precision: Precision = "float32") -> None:
        source = load_language_model(path)
        source = replace(source, model=packed(source.model, precision))
        self.name = source.name
        self.identity = _hash(path) + ("" if precision == "float32" else f" {precision}")
        self._before, self._ends = _marks_of(path)
        self._engine = TextEngine.of(source, rows=ROWS)
        self._scorer = Scorer(source.model)

    def complete(
        self,
        prompts: Sequence[str],
        n: int,
        max_tokens: int,
        temperature: float,
        top_p: float,
        stop: Sequence[str],
        seed: Sequence[int],
    ) -> list[list[Drawn]]:
        found = self._engine.complete(
            [self._before + prompt for prompt in prompts],
            n=n,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            stop=[*stop, *self._ends],
            seed=seed,
        )
        return [[_drawn(one) for one in group] for group in found]

    def log_probs(self, pairs: Sequence[tuple[str, str]]) -> list[float | None]:
        ids = [
            (self._engine.encode(self._before + context), self._engine.encode(text))
            for context, text in pairs
        ]
        room = self._scorer.model.config.context
        fits = [
            i
            for i, (context, text) in enumerate(ids)
            if context and text and len(context) + len(text) <= room
        ]
        found: list[float | None] = [None] * len(pairs)
        for i, score in zip(fits, self._scorer.score([ids[i] for i in fits]), strict=True):
            found[i] = score.total
        return found


def _marks_of(path: Path) -> tuple[str, tuple[str, ...]]:
    """What stands before a text in the training data of a run, and what ends it; an imported model has no such marks."""
    if not (path / "recipe.toml").is_file():
        return "", ()
    vocabulary = Vocabulary.load(Run(path).vocabulary)
    marks = vocabulary.control("start"), vocabulary.begin("text"), vocabulary.end("text")
    start, begin, end = (token_name(vocabulary, index) for index in marks)
    return start + begin, (end,)


def _hash(path: Path) -> str:
    """SHA-256 of the weights below `path`, or of the file that it is."""
    files = [path] if path.is_file() else sorted((path / "model").glob("*.safetensors"))
    digest = hashlib.sha256()
    for file in files or sorted(path.glob("*.safetensors")):
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def _drawn(one: Completion) -> Drawn:
    return Drawn(one.text, one.mean_logprob if one.tokens else None, len(one.tokens), one.finish == "stop")
