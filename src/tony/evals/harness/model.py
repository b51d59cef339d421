"""A language model of ours as lm-evaluation-harness asks it: log-likelihoods from `Scorer`, texts from `TextEngine`.

Which ids a text has, where a context ends and its continuation begins, and what is cut when both do not fit, are the rules
of the harness and its Hugging Face backend, so that numbers stand beside published ones. Only how they are computed is ours:
requests are taken as a whole, in the order in which they share most.

This module imports lm_eval, so it is imported only by what has seen that the package is there.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from tony.engine.exchange.folder import LanguageModel
from tony.engine.score import Scorer
from tony.engine.text import TextEngine
from tony.errors import TonyError
from tony.evals.journal import Journal

UNIT = 256  # requests scored between two lines of progress: what a kill loses at most
WRITTEN = 64  # the same, of texts to write
MOST_NEW = 256  # ids written where a task does not say: the Hugging Face backend's default
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")  # what tasks may set
Ids = list[int]


class HarnessModel(TemplateLM):
    """A model that `lm_eval.simple_evaluate(model=...)` takes.

    Args:
        source: the model.
        journal: where answers are kept, and known ones found; None keeps nothing.
        seed: of texts that are drawn.
        progress: called with requests done and requests in all, of one kind at a time.
    """

    def __init__(
        self,
        source: LanguageModel,
        journal: Journal | None = None,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        super().__init__()
        self.source, self.seed = source, seed
        self.max_length = source.model.config.context
        self.scorer = Scorer(source.model)
        self._journal, self._progress = journal, progress
        self._known = {row["key"]: row["answer"] for row in journal.rows} if journal else {}

    @property
    def eot_token_id(self) -> int | None:
        return self.source.eos

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text that has nothing before it.

        Raises:
            TonyError: the model has no id that begins or ends a text.
        """
        for index in (self.source.bos, self.source.eos):
            if index is not None:
                return index
        raise TonyError("a context is empty, and this model has no id that begins or ends a text")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> Ids:
        """The ids of a text, with those that its tokenizer puts around every text unless they are there already."""
        if add_special_tokens is None:
            bos = self.source.eos if self.source.bos is None else self.source.bos
            begin = "" if bos is None else self._decode([bos], special=True)
            add_special_tokens = not (begin and string.startswith(begin))
        return self.source.tokenizer.encode(string, add_special_tokens=add_special_tokens).ids

    def _decode(self, ids: Ids, special: bool) -> str:
        return self.source.tokenizer.decode(ids, skip_special_tokens=not special)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Nats of continuations and whether greedy decoding writes them, the texts made ids by the harness's own rule."""
        return super().loglikelihood(requests, disable_tqdm=True)  # progress is shown by whoever asks

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[tuple[str, str], Ids, Ids]], **_: Any
    ) -> list[tuple[float, bool]]:
        """Nats of each continuation after its context, and whether it is what greedy decoding writes."""
        pairs = [self._cut(context, continuation) for _, context, continuation in requests]

        def score(numbers: list[int]) -> Iterator[tuple[int, list[Any]]]:
            # Neighbours in this order share the most, so a part of it costs no more ids than it does within the whole.
            numbers.sort(key=lambda i: pairs[i][0] + pairs[i][1])
            for part in _parts(numbers, UNIT):
                scores = self.scorer.score([pairs[i] for i in part])
                yield from ((i, [own.total, own.greedy]) for i, own in zip(part, scores, strict=True))

        answers = self._answers("loglikelihood", [list(text) for text, _, _ in requests], score)
        return [(nats, greedy) for nats, greedy in answers]

    def _cut(self, context: Ids, continuation: Ids) -> tuple[Ids, Ids]:
        """Context and continuation, the context cut from the left until both fit.

        Raises:
            TonyError: the continuation is empty, or does not fit with a single id before it.
        """
        room = self.max_length + 1 - len(continuation)  # the last id is only looked up
        if not continuation or room < 1:
            raise TonyError(
                f"a continuation has {len(continuation)} ids: from 1 to this model's context of {self.max_length} "
                "can be scored. Correct the task"
            )
        return (context or [self.prefix_token_id])[-room:], continuation

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Nats of whole texts; of a long one every id is scored once, in windows as long as the model's context."""
        texts = [request.args[0] for request in requests]

        def score(numbers: list[int]) -> Iterator[tuple[int, float]]:
            for part in _parts(numbers, UNIT):
                windows = [self._windows(texts[i]) for i in part]
                scores = iter(self.scorer.score([window for own in windows for window in own]))
                for i, own in zip(part, windows, strict=True):
                    yield i, math.fsum(next(scores).total for _ in own)

        return self._answers("loglikelihood_rolling", texts, score)

    def _windows(self, text: str) -> list[tuple[Ids, Ids]]:
        ids = self.tok_encode(text)
        windows = get_rolling_token_windows(ids, self.prefix_token_id, self.max_length, context_len=1)
        return [make_disjoint_window(window) for window in windows]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """What the model writes after each context, up to a stop string or the end of a text."""
        asked = [list(request.args) for request in requests]

        def write(numbers: list[int]) -> Iterator[tuple[int, str]]:
            engine = TextEngine.of(self.source)
            groups: dict[str, list[int]] = {}  # of equal settings
            for i in numbers:
                groups.setdefault(json.dumps(asked[i][1], sort_keys=True), []).append(i)
            for group in groups.values():
                for part in _parts(group, WRITTEN):
                    contexts, settings = [asked[i][0] for i in part], asked[part[0]][1]
                    yield from zip(part, self._write(engine, contexts, settings, part), strict=True)

        return self._answers("generate_until", asked, write)

    def _write(
        self, engine: TextEngine, contexts: list[str], settings: dict[str, Any], numbers: list[int]
    ) -> list[str]:
        """The texts after `contexts`, whose places among all requests are `numbers`.

        Raises:
            TonyError: a setting is not known here, or leaves no room for a context.
        """
        settings = dict(normalize_gen_kwargs(settings, MOST_NEW))
        end = None if self.source.eos is None else self._decode([self.source.eos], special=True)
        stop = handle_stop_sequences(settings.pop("until"), eos=end)
        most = settings.pop("max_gen_toks")
        room = self.max_length - most
        if room < 1:
            raise TonyError(
                f"max_gen_toks is {most} and this model's context {self.max_length}: set a smaller one in the task's "
                "generation_kwargs"
            )
        prompts = [(self.tok_encode(context) or [self.prefix_token_id])[-room:] for context in contexts]
        found = engine.complete(
            prompts,
            max_tokens=most,
            stop=stop,
            seed=[self.seed + i for i in numbers],
            **_decoding(settings),
        )
        texts = [self._decode(completion.tokens, special=False) for (completion,) in found]
        return [postprocess_generated_text(text, stop, None) for text in texts]

    def _answers(
        self, kind: str, asked: Sequence[Any], compute: Callable[[list[int]], Iterator[tuple[int, Any]]]
    ) -> list[Any]:
        """The answer to each of `asked`; those that the journal does not know are computed and kept."""
        seen: Counter[str] = Counter()
        keys = []
        for args in asked:
            text = json.dumps([kind, args])
            keys.append(_hash(f"{text}{seen[text]}"))  # a repeat of a request has an answer of its own
            seen[text] += 1
        missing = [i for i, key in enumerate(keys) if key not in self._known]
        total = len(missing)
        for done, (i, answer) in enumerate(compute(missing), 1):
            self._known[keys[i]] = answer
            if self._journal:
                self._journal.add({"key": keys[i], "answer": answer})
            if self._progress:
                self._progress(done, total)
        return [self._known[key] for key in keys]


def _parts(numbers: list[int], size: int) -> Iterator[list[int]]:
    return (numbers[first : first + size] for first in range(0, len(numbers), size))


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _decoding(settings: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `TextEngine.complete` that a task's settings mean; greedy where it does not ask for drawing.

    Raises:
        TonyError: a setting that is not known here.
    """
    settings = dict(settings)
    if not settings.pop("do_sample", False):
        settings["temperature"] = 0.0
    if settings.get("num_beams") == 1:
        del settings["num_beams"]
    unknown = [name for name in settings if name not in SAMPLING]
    if unknown:
        raise TonyError(
            f"generation_kwargs of a task has {unknown[0]!r}: of settings that change what is written, only "
            f"do_sample, {', '.join(SAMPLING)} are known here"
        )
    return settings
