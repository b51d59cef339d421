"""Any task of lm-evaluation-harness on a model of ours: found, asked, and written in the form of our own suites."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tony.atomic import replacing, write_json
from tony.engine.exchange.folder import LanguageModel
from tony.engine.packed import PRECISIONS, Precision, packed
from tony.errors import TonyError
from tony.evals.fewshot.evaluate import fingerprint
from tony.evals.intervals import Z, wilson
from tony.evals.journal import Journal
from tony.runs.run import commit_hash

REDRAWS = 1000  # of the harness's bootstrap, where a metric's error has no closed form


@dataclass(frozen=True, kw_only=True)
class HarnessSettings:
    """How tasks are asked.

    Attributes:
        shots: worked examples a question; None = what each task says. A task that says 0 itself keeps 0.
        items: the first so many questions of a task; None = all.
        seed: of the worked examples and of texts that are drawn.
        precision: of the weights: float32, bfloat16 or int8.
    """

    shots: int | None = None
    items: int | None = None
    seed: int = 0
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        if self.shots is not None and self.shots < 0:
            raise TonyError(f"shots={self.shots}: give a number from 0 on")
        if self.items is not None and self.items < 1:
            raise TonyError(f"items={self.items}: ask at least one question a task")
        if self.precision not in PRECISIONS:
            raise TonyError(f"precision={self.precision!r}: use {', '.join(PRECISIONS)}")


def check_harness() -> None:
    """
    Raises:
        TonyError: lm-evaluation-harness is not installed.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise TonyError(
            "lm-evaluation-harness is missing: pip install 'tony-omni[lm-eval]' (from a clone: pip install '.[lm-eval]')"
        )


def evaluate_harness(
    source: LanguageModel,
    names: Sequence[str],
    settings: HarnessSettings,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure tasks, written to `folder` as lm-eval.json, with samples (.jsonl) and timings beside.

    lm-eval.journal.jsonl keeps every answer; a later evaluation of the same model computes only what is not there. A task
    that cannot be read becomes a line in `errors`, and the others still run. Tasks may hold Python code, which is run: a
    file is trusted as any module that is imported.

    Args:
        source: the model.
        names: names of the harness's tasks, groups and tags, .yaml files, and folders of those.
        settings: how they are asked.
        folder: where results go.
        progress: called with requests done and requests in all, of one kind (likelihoods, texts) at a time.

    Raises:
        TonyError: the harness is not installed, no task can be read, one fails while it is asked, or the folder cannot be
            written.
    """
    check_harness()
    began = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):  # the harness prints; standard output is for results
        random.seed(settings.seed)  # what tasks' own code draws from
        np.random.seed(settings.seed)
        tasks, errors = _find(names)
        folder.mkdir(parents=True, exist_ok=True)
        head = {**fingerprint(source), "precision": settings.precision, "seed": settings.seed}
        model = replace(source, model=packed(source.model, settings.precision))
        with Journal(folder / "lm-eval.journal.jsonl", head) as journal:
            found = _ask(model, tasks, settings, journal, progress)
    summary = {
        "suite": "lm-eval",
        "model": source.name,
        "fingerprint": fingerprint(source),
        "commit": commit_hash(),
        "settings": asdict(settings),
        "harness": version("lm_eval"),
        "versions": found["versions"],
        "results": list(_rows(found)),
        "errors": errors,
        "samples": "lm-eval.jsonl",
    }
    with replacing(folder / "lm-eval.jsonl") as temporary:
        temporary.write_text("".join(_samples(found)), "utf-8")
    created = datetime.now(UTC).isoformat(timespec="seconds")
    seconds = round(time.perf_counter() - began, 2)
    write_json(folder / "lm-eval.timings.json", {"created": created, "seconds": seconds})
    write_json(folder / "lm-eval.json", summary)
    return summary


def _find(names: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The harness's tasks and groups that `names` ask for, as `TaskManager.load` has them, and a line for each name that
    cannot be read.

    Raises:
        TonyError: none can be read, or a task is asked for twice.
    """
    from lm_eval.tasks import TaskManager

    folders = [name for name in names if Path(name).is_dir()]
    files = [name for name in names if Path(name).suffix in (".yaml", ".yml")]
    known = len(folders) + len(files) == len(names)
    manager = TaskManager(
        include_path=folders or None, include_defaults=not known
    )  # its own take seconds to list
    wanted, errors = [], []
    for name in names:
        if name in folders:
            own = TaskManager(include_path=name, include_defaults=False)
            wanted += own.all_groups + own.all_subtasks
            if not own.all_subtasks:
                errors.append(f"{name}: no task in this folder. A task is a .yaml file with the key task")
        elif name in files and not Path(name).is_file():
            errors.append(f"{name}: no such task file")
        elif name not in files and name not in manager.all_tasks:
            errors.append(
                f"no task {name!r}: give a name that `lm-eval ls tasks` lists, a .yaml file or a folder"
            )
        else:
            wanted.append(name)
    tasks: list[Any] = []
    grouped: set[str] = set()  # tasks that a group brings
    for name in dict.fromkeys(wanted):
        if name in grouped:
            continue
        try:
            loaded = manager.load([name])
        except Exception as error:  # somebody's file, or data that are not there
            errors.append(
                f"{name}: the task or its data cannot be read ({_line(error)}). Correct the file; data of the Hugging Face "
                "hub need --download"
            )
            continue
        tasks += loaded["groups"].values() or loaded["tasks"].values()
        if loaded["groups"]:
            grouped |= loaded["tasks"].keys()
    if not tasks:
        raise TonyError("; ".join(errors))
    try:
        return manager.load(tasks), errors
    except ValueError as error:
        raise TonyError(f"--tasks {','.join(names)}: {_line(error)}") from None


def _ask(
    source: LanguageModel,
    tasks: dict[str, Any],
    settings: HarnessSettings,
    journal: Journal,
    progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    """What `lm_eval.evaluate` returns. `simple_evaluate` does no more for us but look at the machine, for many seconds."""
    from lm_eval import evaluate

    from tony.evals.harness.model import HarnessModel

    for task in tasks["tasks"].values():
        own = task.get_config("num_fewshot")
        if own is None or (own != 0 and settings.shots is not None):
            task.set_config("num_fewshot", settings.shots or 0)
        task.set_fewshot_seed(settings.seed)
    model = HarnessModel(source, journal, settings.seed, progress)
    try:
        return evaluate(model, tasks, limit=settings.items, bootstrap_iters=REDRAWS)
    except (TonyError, OSError):
        raise
    except Exception as error:  # tasks are other people's code
        raise TonyError(f"lm-evaluation-harness cannot ask these tasks ({_line(error)})") from error


def _rows(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each metric of a task or group."""
    for task, values in found["results"].items():
        shots = found["n-shot"].get(task)
        count = found["n-samples"].get(task, {}).get("effective", values.get("sample_len"))
        for key, value in values.items():
            metric, _, way = key.partition(",")
            if not way or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            scores = [s.get(metric) for s in found["samples"].get(task, ()) if s["filter"] == way]
            low, high = _interval(float(value), scores, values.get(f"{metric}_stderr,{way}"))
            yield {
                "name": task if shots is None else f"{task}, {shots}-shot",
                "metric": metric if way == "none" else f"{metric} ({way})",
                "value": float(value),
                "low": low,
                "high": high,
                "n": count,
                "task": task,
                "shots": shots,
            }


def _interval(value: float, scores: list[Any], error: Any) -> tuple[float | None, float | None]:
    """95% of a value: Wilson's where it is a share of questions, else 1.96 of the harness's standard errors to both sides;
    None where it has none."""
    if scores and all(score in (0, 1) for score in scores) and math.isclose(value, sum(scores) / len(scores)):
        return wilson(value, len(scores))
    if isinstance(error, int | float):
        return value - Z * error, value + Z * error
    return None, None


def _samples(found: dict[str, Any]) -> Iterator[str]:
    """A line of JSON for each question: what was asked, what came, and how it was scored."""
    for task, samples in found["samples"].items():
        for sample in samples:
            yield json.dumps({"task": task} | sample, ensure_ascii=False, default=str) + "\n"


def _line(error: Exception) -> str:
    """An error as one line: its kind and the first line of what it says."""
    text = str(error.args[0] if error.args else "").strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
