"""Samples from a model of Tony's: a run folder, an imported model, or one that ships in a package (smollm2)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tony.engine.exchange.folder import load_language_model
from tony.engine.exchange.tokenizers import token_name
from tony.engine.packed import Precision, packed
from tony.engine.score import Scorer
from tony.engine.text import Completion, TextEngine
from tony.errors import TonyError
from tony.evals.code.sampler import ASK, Drawn
from tony.runs import Run
from tony.tokens.vocabulary import Vocabulary

LINE = "    return 0\n"  # how the line after a prompt may begin
ROWS = 32  # samples written at once: a third more a second than with 16, on two cores


class EngineSampler:
    """The text engine as a sampler.

    Args:
        path: what `load_language_model` reads.
        precision: of the weights, see `packed`; a lower one is faster, and another model.
        chat: ask in the model's chat form: to complete the program, with an answer that begins with the prompt in a code block,
            so that what the model writes is still what follows the prompt.

    Raises:
        TonyError: no model is there, or it has no chat form.
    """

    parallel = 1  # the engine uses all cores for one call
    together = (
        1000  # places of samples that have ended go to the next prompt: the batch is full until the last ones
    )

    def __init__(self, path: Path, precision: Precision = "float32", chat: bool = False) -> None:
        source = load_language_model(path)
        source = replace(source, model=packed(source.model, precision))
        if chat and source.chat is None:
            raise TonyError(
                f"{path}: has no chat template. Leave --chat out: it then goes on with the prompt"
            )
        self._chat = source.chat if chat else None
        self.name, self.api = source.name, "engine, chat" if self._chat else "engine"
        self.identity = _hash(path) + ("" if precision == "float32" else f" {precision}")
        self.identity += " chat" if self._chat else ""
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
    ) -> Iterator[tuple[int, list[Drawn]]]:
        opened = [self._without_open_space(prompt) for prompt in prompts]
        found = self._engine.as_completed(
            [self._asked(prompt) for prompt in opened],
            n=n,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            stop=[*stop, *self._ends, *(["\n```"] if self._chat else [])],
            seed=seed,
        )
        for index, group in found:
            space = prompts[index][len(opened[index]) :]
            yield index, [_drawn(one, space) for one in group]

    def _without_open_space(self, prompt: str) -> str:
        """`prompt` without the white space at its end that the tokenizer joins to the line that follows.

        A line's end and the next line's indent are one token for many tokenizers: the model has hardly ever seen them apart,
        and does not go on after half of such a token.
        """
        ids, whole = (self._engine.encode(text) for text in (prompt, prompt + LINE))
        shared = next((i for i, (a, b) in enumerate(zip(ids, whole, strict=False)) if a != b), len(ids))
        kept = self._engine.decode(ids[:shared])
        return kept if prompt.startswith(kept) and prompt[len(kept) :].isspace() else prompt

    def _asked(self, prompt: str) -> str:
        if self._chat is None:
            return self._before + prompt
        messages = [{"role": "user", "content": ASK.format(prompt=prompt.rstrip())}]
        return self._chat.render(messages, answer=f"```python\n{prompt}")

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


def _drawn(one: Completion, space: str) -> Drawn:
    """A completion; the white space of the prompt that it had to write itself is not part of it."""
    return Drawn(
        one.text.removeprefix(space),
        one.mean_logprob if one.tokens else None,
        len(one.tokens),
        one.finish == "stop",
    )
