"""`tony eval MODEL SUITE` and `tony eval --samples FILE`: measure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(help="a run folder such as runs/digits, smollm2, or a server's name of its model"),
    ] = None,
    suite: Annotated[str, typer.Argument(help="what to measure: omni or code")] = "omni",
    examples: Annotated[int, typer.Option(help="omni: examples a cell", min=1)] = 500,
    samples: Annotated[
        Path | None, typer.Option(help="grade the programs of this JSONL file (task_id, completion)")
    ] = None,
    problems: Annotated[
        Path | None, typer.Option(help="code: problems as JSONL; without it, HumanEval as installed")
    ] = None,
    first: Annotated[int | None, typer.Option(help="code: only so many problems", min=1)] = None,
    k: Annotated[str | None, typer.Option(help="code: which pass@k, such as 1,10")] = None,
    n: Annotated[int, typer.Option(help="code: samples a problem and temperature", min=1)] = 20,
    temperature: Annotated[
        str | None,
        typer.Option(
            help="code: one or more, such as 0.2,0.8; without it, 0.2 for k = 1 up to 0.8 for k = 100"
        ),
    ] = None,
    top_p: Annotated[float, typer.Option(help="code: mass of the nucleus")] = 0.95,
    max_tokens: Annotated[int, typer.Option(help="code: longest sample", min=1)] = 300,
    seed: Annotated[int, typer.Option(help="code: of the random streams", min=0)] = 0,
    study: Annotated[
        str | None,
        typer.Option(help="code: ranking, bleu, findings, chains, binding, misalignment or docstrings"),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="code: an OpenAI-compatible server to sample from, http://HOST:PORT/v1")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="code: folder of the results; default runs/MODEL/evals")
    ] = None,
    allow_missing_isolation: Annotated[
        bool, typer.Option(help="code: run without a required layer; the results record it")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the result as JSON and nothing else")
    ] = False,
) -> None:
    """Measure a model (written to evals/SUITE.json of its run), or grade programs of any model."""
    from tony.errors import TonyError

    if samples is not None:
        _grade(samples, problems, k, allow_missing_isolation, as_json)
        return
    if model is None:
        raise TonyError("nothing to measure: give a run folder, such as runs/digits, or --samples FILE")
    if suite == "code":
        from tony.cli.code import Asked, run

        run(
            Asked(
                model=model, k=k, n=n, temperature=temperature, top_p=top_p, max_tokens=max_tokens, seed=seed,
                problems=problems, first=first, base_url=base_url, out=out,
                allow_missing=allow_missing_isolation, as_json=as_json,
                study=study,
            )
        )  # fmt: skip
        return
    if suite != "omni":
        raise TonyError(f"no suite {suite!r}: use omni or code")
    _omni(Path(model), examples, as_json)


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
