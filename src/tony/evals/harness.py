"""Any task of EleutherAI's lm-evaluation-harness on our engine.

    from tony.evals.harness import run_harness
    run_harness(load_language_model("runs/smollm2"), ["mmlu_anatomy", "my_task.yaml"], shots=5)

The harness makes the prompts and the metrics; likelihoods come from `Scorer`, which computes what prompts share once, and
texts from `TextEngine`. Needs the extra: pip install 'tony-omni[harness]'.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tony.engine.exchange.folder import LanguageModel
from tony.engine.packed import Precision, packed
from tony.engine.score import Scorer, split_ids
from tony.engine.text import TextEngine
from tony.errors import TonyError

WRITTEN = 256  # ids, where a task names no limit: the harness's own default
WINDOW = 2048  # ids of a whole document that are scored at once


def harness_model(source: LanguageModel, precision: Precision = "float32") -> Any:
    """`source` as a model of the harness (lm_eval.api.model.LM).

    Raises:
        TonyError: lm_eval is not installed.
    """
    try:
        from lm_eval.api.model import LM
    except ImportError:
        raise TonyError("this needs lm-evaluation-harness: pip install 'tony-omni[harness]'") from None

    class TonyLM(LM):
        """Requests in the order given; what they share is computed once all the same."""

        def __init__(self) -> None:
            super().__init__()
            self._model = packed(source.model, precision)
            self._scorer = Scorer(self._model)
            self._engine = TextEngine(self._model, source.tokenizer, source.bos, source.eos)

        @property
        def tokenizer_name(self) -> str:
            return source.name

        def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
            """(nats of the continuation, whether it is greedy); contexts too long lose their beginning."""
            context = self._model.config.context
            pairs = []
            for request in requests:
                before, after = split_ids(source.encode, *request.args, source.bos)
                if len(after) >= context:
                    raise TonyError(
                        f"a continuation has {len(after)} ids and this model's context is {context}"
                    )
                pairs.append((before[-(context + 1 - len(after)) :], after))
            return [(score.total, score.greedy) for score in self._scorer.score(pairs)]

        def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
            """Nats of whole documents, in windows that follow each other; each begins with the last id of the one before."""
            size = min(WINDOW, self._model.config.context) - 1
            pairs, owners = [], []
            for number, request in enumerate(requests):
                ids = source.encode(request.args[0])
                first = [source.bos] if source.bos is not None else ids[:1]
                stream = [*first, *(ids if source.bos is not None else ids[1:])]
                for start in range(0, len(stream) - 1, size):
                    window = stream[start : start + size + 1]
                    pairs.append((window[:1], window[1:]))
                    owners.append(number)
            totals = [0.0] * len(requests)
            for number, score in zip(owners, self._scorer.score(pairs), strict=True):
                totals[number] += score.total
            return totals

        def generate_until(self, requests: Sequence[Any]) -> list[str]:
            """What is written up to a stop string, as each request's settings say."""
            texts = [""] * len(requests)
            groups: dict[str, list[int]] = {}
            for number, request in enumerate(requests):
                groups.setdefault(repr(sorted(request.args[1].items())), []).append(number)
            for numbers in groups.values():
                settings = requests[numbers[0]].args[1]
                until = settings.get("until") or []
                sampled = settings.get("do_sample", False)
                found = self._engine.complete(
                    [requests[n].args[0] for n in numbers],
                    max_tokens=settings.get("max_gen_toks", WRITTEN),
                    temperature=settings.get("temperature", 1.0) if sampled else 0.0,
                    top_p=settings.get("top_p", 1.0),
                    stop=[until] if isinstance(until, str) else until,
                )
                for number, (completion,) in zip(numbers, found, strict=True):
                    texts[number] = completion.text
            return texts

    return TonyLM()


def run_harness(
    source: LanguageModel,
    tasks: Sequence[str | dict[str, Any]],
    shots: int | None = None,
    items: int | None = None,
    precision: Precision = "float32",
) -> dict[str, Any]:
    """What lm_eval.simple_evaluate returns for `tasks`: names it knows, dictionaries, or paths of task files (.yaml).

    Raises:
        TonyError: lm_eval is not installed, or a task file is not there.
    """
    model = harness_model(source, precision)
    import lm_eval
    from lm_eval.tasks import TaskManager

    folders = []
    names: list[str | dict[str, Any]] = []
    for task in tasks:
        if isinstance(task, str) and task.endswith((".yaml", ".yml")):
            path = Path(task)
            if not path.is_file():
                raise TonyError(f"{task}: no such task file")
            folders.append(str(path.parent))
            names.append(_name_of(path))
        else:
            names.append(task)
    manager = TaskManager(include_path=folders or None)
    return lm_eval.simple_evaluate(
        model=model, tasks=names, num_fewshot=shots, limit=items, task_manager=manager, bootstrap_iters=0
    )


def _name_of(path: Path) -> str:
    """The name that a task file gives its task."""
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "task" and value.strip():
            return value.strip().strip("\"'")
    raise TonyError(f"{path}: names no task (a line such as task: mine)")
