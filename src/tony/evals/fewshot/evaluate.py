"""Every task at every K: what is known is read, what is missing is computed, and a kill at any point loses one unit."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from tony.atomic import replacing, write_json
from tony.engine import Omni
from tony.engine.exchange.folder import LanguageModel
from tony.engine.packed import PRECISIONS, Precision, packed
from tony.errors import TonyError
from tony.evals.fewshot.cell import Asker, Cell, Row, make_cell, summarise, values_of
from tony.evals.fewshot.draw import Draw
from tony.evals.fewshot.turns import OmniAsker
from tony.evals.journal import Journal
from tony.evals.task import Task
from tony.runs.run import commit_hash


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How tasks are asked.

    Attributes:
        shots: the numbers K of worked examples.
        items: questions a task, chosen by seed; None = all.
        seed: of the questions and of the worked examples.
        draw: a new draw of worked examples for each question ("item", as in GPT-3), or one for all of a task ("task").
        deterministic: results, also of a killed run that goes on, are the same to the last byte.
        precision: of the weights: float32, bfloat16 or int8.
    """

    shots: tuple[int, ...] = (0, 1, 10)
    items: int | None = 200
    seed: int = 0
    draw: Draw = "item"
    deterministic: bool = False
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        if not self.shots or min(self.shots) < 0:
            raise TonyError(f"shots={list(self.shots)}: give one number or more, from 0 on")
        if self.items is not None and self.items < 1:
            raise TonyError(f"items={self.items}: ask at least one question a task")
        if self.precision not in PRECISIONS:
            raise TonyError(f"precision={self.precision!r}: use {', '.join(PRECISIONS)}")
        if self.draw not in ("item", "task"):
            raise TonyError(f"draw={self.draw!r}: use item (a draw a question) or task (one for all)")


def fingerprint(source: LanguageModel | Omni) -> dict[str, str]:
    """Hashes of the weights and the tokenizer."""
    weights = hashlib.blake2b(digest_size=12)
    model = source.engine.model if isinstance(source, Omni) else source.model
    for name, parameter in model.named_parameters():
        weights.update(name.encode())
        weights.update(parameter.detach().float().cpu().contiguous().numpy())
    if isinstance(source, Omni):
        return {"weights": weights.hexdigest(), "tokenizer": source.vocabulary.hash}
    tokenizer = hashlib.blake2b(source.tokenizer.to_str().encode(), digest_size=12)
    return {"weights": weights.hexdigest(), "tokenizer": tokenizer.hexdigest()}


def _asker(source: LanguageModel | Omni, settings: Settings) -> Asker | OmniAsker:
    if isinstance(source, Omni):
        return OmniAsker(source)
    return Asker(replace(source, model=packed(source.model, settings.precision)), settings.deterministic)


def evaluate_fewshot(
    source: LanguageModel | Omni,
    tasks: Sequence[Task],
    settings: Settings,
    folder: Path,
    errors: Sequence[str] = (),
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Measure `tasks`, written to `folder` as fewshot.json, with samples (.jsonl) and timings beside.

    fewshot.journal.jsonl keeps every answer under a hash of its question and prompt; a later evaluation of the same model
    computes only what is not there. A cell that cannot be asked becomes a line in `errors`, and the others still run.

    Args:
        source: the model; an Omni is asked in turns of a conversation, with pictures and sounds, in its own precision.
        tasks: from `find_tasks`, whose error lines `errors` are.
        settings: how they are asked.
        folder: where results go.
        progress: called with questions done, questions in all, and the cell's name.

    Raises:
        TonyError: the folder cannot be written.
    """
    errors = list(errors)
    cells: list[Cell] = []
    for task in tasks:
        for k in settings.shots:
            try:
                cells.append(make_cell(task, k, settings.items, settings.seed, settings.draw))
            except TonyError as error:
                errors.append(str(error))
    head = {
        **fingerprint(source),
        "deterministic": settings.deterministic,
        "precision": settings.precision,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    folder.mkdir(parents=True, exist_ok=True)
    total = sum(len(cell.questions) for cell in cells)
    done, results, extra, samples = 0, [], {}, []
    timings: dict[str, float] = {}
    with Journal(folder / "fewshot.journal.jsonl", head) as journal:
        known: dict[str, Row] = {row["key"]: row for row in journal.rows}
        asker = _asker(source, settings)
        for cell in cells:
            began = time.perf_counter()
            try:
                asker.begin(cell)
                for unit in cell.units():
                    if any(question.key not in known for question in unit):
                        for row in asker.ask(unit):
                            journal.add(row)
                            known[row["key"]] = row
                    done += len(unit)
                    if progress:
                        progress(done, total, cell.name)
                rows = [known[question.key] for question in cell.questions]
                result, more = summarise(cell, rows)
            except TonyError as error:
                errors.append(str(error))
                continue
            results.append(result.to_dict() | {"task": cell.task.name, "shots": cell.k})
            if more:
                extra[cell.name] = more
            for question, row, value in zip(cell.questions, rows, values_of(cell, rows), strict=True):
                example = question.example
                sample = {"prompt": question.prompt, "context": example.context, "target": example.target}
                if example.choices:
                    sample["choices"] = list(example.choices)
                samples.append(row | sample | {"metric": result.metric, "value": value})
            timings[cell.name] = round(time.perf_counter() - began, 2)
    summary = {
        "suite": "fewshot",
        "model": source.name,
        "fingerprint": fingerprint(source),
        "commit": commit_hash(),
        "settings": asdict(settings) | {"shots": list(settings.shots)},
        "results": results,
        "normalisations": extra,
        "errors": errors,
        "samples": "fewshot.jsonl",
    }
    with replacing(folder / "fewshot.jsonl") as temporary:
        temporary.write_text("".join(json.dumps(s, ensure_ascii=False) + "\n" for s in samples), "utf-8")
    created = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(folder / "fewshot.timings.json", {"created": created, "seconds": timings})
    write_json(folder / "fewshot.json", summary)
    return summary
