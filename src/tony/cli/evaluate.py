"""`tony eval MODEL SUITE` and `tony eval --samples FILE`: measure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[Path | None, typer.Argument(help="a run folder, such as runs/digits")] = None,
    suite: Annotated[str, typer.Argument(help="what to measure: omni")] = "omni",
    examples: Annotated[int, typer.Option(help="omni: examples a cell", min=1)] = 500,
    samples: Annotated[
        Path | None, typer.Option(help="grade the programs of this JSONL file (task_id, completion)")
    ] = None,
    problems: Annotated[
        Path | None, typer.Option(help="code: problems as JSONL; without it, HumanEval as installed")
    ] = None,
    k: Annotated[str | None, typer.Option(help="code: which pass@k, such as 1,10")] = None,
    allow_missing_isolation: Annotated[
        bool, typer.Option(help="code: run without a required layer; the results record it")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the result as JSON and nothing else")
    ] = False,
) -> None:
    """Measure a trained model (written to evals/SUITE.json of its run), or grade programs of any model."""
    from tony.errors import TonyError

    if samples is not None:
        _grade(samples, problems, k, allow_missing_isolation, as_json)
        return
    if model is None:
        raise TonyError("nothing to measure: give a run folder, such as runs/digits, or --samples FILE")
    if suite != "omni":
        raise TonyError(f"no suite {suite!r}: use omni")
    _omni(model, examples, as_json)


def _omni(model: Path, examples: int, as_json: bool) -> None:
    from tony.cli.show import print_json, print_omni
    from tony.engine import Omni
    from tony.evals.omni import evaluate_omni
    from tony.train.progress import Terminal

    omni = Omni.load(model)
    with Terminal() as reporter:
        reporter.begin("measuring", 0)
        result = evaluate_omni(omni, examples, progress=lambda done, total: reporter.advance(done))
    if as_json:
        saved = omni.run.evaluation("omni") if omni.run else result
        print_json(saved)
    else:
        print_omni(result)


def _grade(samples: Path, problems: Path | None, k: str | None, allow_missing: bool, as_json: bool) -> None:
    from tony.cli.show import print_json
    from tony.cli.show_code import print_code, read_ks
    from tony.evals.code import grade, read_problems
    from tony.train.progress import Terminal

    ks = read_ks(k)
    known = read_problems(problems)
    begun = False

    def show(done: int, total: int) -> None:
        nonlocal begun  # bad input is refused before anything is shown
        if not begun:
            reporter.begin("running programs", total, done)
            begun = True
        reporter.advance(done)

    with Terminal() as reporter:
        graded = grade(samples, known, ks, allow_missing=allow_missing, progress=show)
        for warning in graded.summary["warnings"]:
            reporter.say(f"warning: {warning}")
    if as_json:
        print_json(graded.summary)
    else:
        print_code(graded.summary)
