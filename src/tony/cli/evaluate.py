"""`tony eval MODEL SUITE`: measure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[Path, typer.Argument(help="a run folder, such as runs/digits")],
    suite: Annotated[str, typer.Argument(help="what to measure: omni")] = "omni",
    examples: Annotated[int, typer.Option(help="examples a cell", min=1)] = 500,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the result as JSON and nothing else")
    ] = False,
) -> None:
    """Measure a trained model; the result is written to evals/SUITE.json of its run."""
    from tony.cli.show import print_json, print_omni
    from tony.engine import Omni
    from tony.errors import TonyError
    from tony.evals.omni import evaluate_omni
    from tony.train.progress import Terminal

    if suite != "omni":
        raise TonyError(f"no suite {suite!r}: use omni")
    omni = Omni.load(model)
    with Terminal() as reporter:
        reporter.begin("measuring", 0)
        result = evaluate_omni(omni, examples, progress=lambda done, total: reporter.advance(done))
    if as_json:
        saved = omni.run.evaluation(suite) if omni.run else result
        print_json(saved)
    else:
        print_omni(result)
