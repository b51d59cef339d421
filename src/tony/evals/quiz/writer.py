"""A language model as a writer of quiz texts."""

from __future__ import annotations

from dataclasses import dataclass

from tony.engine.text import TextEngine
from tony.errors import TonyError
from tony.evals.quiz.items import LONGER
from tony.evals.quiz.passages import Passage

SPARE = 16  # ids beyond the length that is kept, so that a sentence can end


@dataclass(frozen=True)
class EngineWriter:
    """Goes on from the opening of a passage, or, as the control does, from nothing.

    Attributes:
        engine: the model.
        temperature, top_p: how ids are drawn (see Decoding).
        reads_opening: whether it knows how the passage begins.
    """

    engine: TextEngine
    temperature: float
    top_p: float = 1.0
    reads_opening: bool = True

    def write(self, passage: Passage, n: int, seed: int) -> list[str]:
        """`n` texts about as long as the passage's own.

        Raises:
            TonyError: the model's context has no room for the opening and a text of that length.
        """
        engine = self.engine
        # A model that has no id to begin a text with begins after an empty line.
        prompt = passage.prompt if self.reads_opening else "" if engine.bos is not None else "\n"
        room = engine.model.config.context - len(engine.ids_of(prompt))
        length = len(engine.encode(passage.text))
        if room < length:
            raise TonyError(
                f"{passage.opening[:40]!r}: the text takes {length} ids and this model's context leaves {max(room, 0)}: "
                f"give a smaller --words"
            )
        (samples,) = engine.complete(
            [prompt], n=n, max_tokens=int(LONGER * length) + SPARE, temperature=self.temperature, top_p=self.top_p, seed=seed
        )  # fmt: skip
        return [sample.text for sample in samples]
