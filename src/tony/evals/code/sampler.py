"""The contract of whatever draws programs from a model, and the stop rule of Chen et al. 2021 (section 2.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

# The paper's, and the end of a code block (as in bigcode-evaluation-harness), after which models that were tuned to answer explain.
FUNCTION_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint", "\n```")
ASK = (  # of a model that chats
    "Complete this Python program. Answer with the complete program in one code block and nothing else.\n\n"
    "```python\n{prompt}\n```"
)
SCRIPT_STOPS = ("\n# Problem",)  # a script has functions and prints of its own: only the next problem ends it


@dataclass(frozen=True)
class Drawn:
    """One sample.

    Attributes:
        text: what follows the prompt, up to where a stop string would begin.
        mean_log_prob: mean log-probability of its tokens in nats under the model itself (temperature 1, no top-p); None
            where the model's server does not say.
        num_tokens: tokens drawn, those of the stop string included; None where not known.
        is_stopped: it ended by itself; otherwise it was cut at the longest length.
    """

    text: str
    mean_log_prob: float | None = None
    num_tokens: int | None = None
    is_stopped: bool = True


class Sampler(Protocol):
    """A model that continues text.

    Attributes:
        name: what results call the model.
        identity: changes whenever the model does; samples of one identity are kept together.
        parallel: how many calls at once make it fastest.
        together: how many prompts in a call make it fastest.
    """

    name: str
    identity: str
    parallel: int
    together: int

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
        """`n` samples of each prompt, with its index, in the order in which they are done.

        A prompt's random stream begins with its own `seed`: as far as the model allows it, what is drawn for it depends on
        nothing else.
        """
        ...


@runtime_checkable
class Scorer(Protocol):
    """A sampler that can also say how likely a given text is."""

    def log_probs(self, pairs: Sequence[tuple[str, str]]) -> list[float | None]:
        """For each (context, continuation) the sum of the continuation's log-probabilities in nats; None where they are too
        long for the model's context.
        """
        ...


def cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """`text` up to the first stop string, and whether one was found."""
    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    return (text[: min(ends)], True) if ends else (text, False)
