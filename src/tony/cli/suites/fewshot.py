"""What `tony eval MODEL fewshot` and `tony eval MODEL contamination` do: ask, and search the training text for what was asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tony.errors import TonyError

if TYPE_CHECKING:
    from tony.engine import Omni
    from tony.engine.exchange.folder import LanguageModel
    from tony.evals.fewshot import Settings
    from tony.evals.task import Task


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of the command line, as they were written."""

    model: str
    tasks: str
    shots: str
    items: str
    seed: int
    draw: str
    deterministic: bool
    precision: str
    out: Path | None
    as_json: bool


def run(asked: Asked) -> None:
    """Ask every task at every K; a task that cannot be asked is a line on standard error and makes the exit status 2."""
    from tony.cli.models import evals_of, find_model
    from tony.cli.progress import reporting
    from tony.cli.show import print_asked
    from tony.cli.show_fewshot import print_fewshot
    from tony.evals.fewshot import evaluate_fewshot
    from tony.evals.fewshot.figures import lines_of, write_curves
    from tony.model.machine import prepare_threads

    settings = settings_of(asked)
    prepare_threads()
    source, tasks, errors = chosen(asked)
    folder = asked.out or evals_of(find_model(asked.model))
    with reporting() as (report, _):
        result = evaluate_fewshot(
            source, tasks, settings, folder, errors,
            lambda done, total, _: report("asking", done, total),
        )  # fmt: skip
    if result["results"] and len(settings.shots) > 1:
        write_curves(lines_of(result), folder / "fewshot.png")
    print_asked(result, asked.as_json, print_fewshot)


def chosen(asked: Asked) -> tuple[LanguageModel | Omni, list[Task], list[str]]:
    """The model, the tasks that it is asked, and a line for each name that brings none."""
    from tony.cli.models import find_model
    from tony.engine import Omni
    from tony.engine.exchange.folder import load_language_model
    from tony.evals.fewshot import find_tasks
    from tony.evals.fewshot.tasks.media import media_tasks

    names = asked.tasks.split(",")
    if names == ["media"]:
        omni = Omni.load(find_model(asked.model))
        return omni, media_tasks(omni), []
    if "media" in names:
        raise TonyError(
            "--tasks media asks with pictures and sounds: give the other tasks a command of their own"
        )
    tasks, errors = find_tasks(names)
    if not tasks:
        raise TonyError("; ".join(errors))
    return load_language_model(find_model(asked.model)), tasks, errors


def settings_of(asked: Asked) -> Settings:
    from tony.cli.numbers import read_numbers
    from tony.evals.fewshot import Settings

    items = None if asked.items == "all" else read_numbers("items", asked.items, int, 1, "200, or all")
    if items is not None and len(items) > 1:
        raise TonyError(f"--items {asked.items}: one number is expected, or all")
    return Settings(
        shots=tuple(read_numbers("shots", asked.shots, int, 0, "0,1,10")),
        items=items[0] if items else None,
        seed=asked.seed,
        draw=asked.draw,
        deterministic=asked.deterministic,
        precision=asked.precision,
    )


def search(model: str, out: Path | None, training: list[Path], synthetic: bool, as_json: bool) -> None:
    """Which questions of the last fewshot evaluation occur in the training text."""
    import os

    from tony.cli.models import evals_of, find_model
    from tony.cli.show import print_json
    from tony.cli.show_fewshot import print_contamination
    from tony.evals.contamination import contamination

    if not training:
        raise TonyError("nothing to search: give --training FOLDER, a run or text files")
    folder = out or evals_of(find_model(model))
    rows = contamination(folder / "fewshot.jsonl", training, synthetic, os.cpu_count() or 1)
    if as_json:
        print_json({"rows": [row.to_dict() for row in rows]})
    else:
        print_contamination(rows)
