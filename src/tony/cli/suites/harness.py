"""What `tony eval MODEL lm-eval` does: tasks of lm-evaluation-harness on our engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tony.errors import TonyError

if TYPE_CHECKING:
    from tony.evals.harness import HarnessSettings

# Read when the harness and what it stands on are imported. Bars and worker processes of its own would write between ours.
QUIET = {
    "TQDM_DISABLE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DISABLE_MULTIPROC": "1",
}
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of the command line, as they were written; None where they were not."""

    model: str
    tasks: str | None
    shots: str | None
    items: str | None
    seed: int
    precision: str
    download: bool
    out: Path | None
    as_json: bool


def run(asked: Asked) -> None:
    """Ask every task; one that cannot be read is a line on standard error and makes the exit status 2."""
    import logging
    import os

    os.environ.update(QUIET if asked.download else QUIET | OFFLINE)

    from tony.cli.models import evals_of, find_model
    from tony.cli.progress import reporting
    from tony.cli.show import print_asked
    from tony.cli.show_harness import print_harness
    from tony.engine.exchange.folder import load_language_model
    from tony.evals.harness import evaluate_harness
    from tony.evals.harness.evaluate import check_harness
    from tony.model.machine import prepare_threads

    check_harness()
    if not asked.tasks:
        raise TonyError(
            "lm-eval has nothing to ask: give --tasks, names of the harness's tasks, .yaml files or folders"
        )
    settings = settings_of(asked)
    path = find_model(asked.model)
    source = load_language_model(path)
    prepare_threads()
    for name in ("lm_eval", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with reporting() as (report, _):
        result = evaluate_harness(
            source, asked.tasks.split(","), settings, asked.out or evals_of(path),
            lambda done, total: report(f"asking {total}", done, total),
        )  # fmt: skip
    print_asked(result, asked.as_json, print_harness)


def settings_of(asked: Asked) -> HarnessSettings:
    from tony.cli.numbers import read_numbers
    from tony.evals.harness import HarnessSettings

    def one(option: str, text: str | None, least: int) -> int | None:
        if text is None:
            return None
        numbers = read_numbers(option, text, int, least, "5")
        if len(numbers) > 1:
            raise TonyError(f"--{option} {text}: lm-eval takes one number")
        return numbers[0]

    return HarnessSettings(
        shots=one("shots", asked.shots, 0),
        items=None if asked.items == "all" else one("items", asked.items, 1),
        seed=asked.seed,
        precision=asked.precision,
    )
