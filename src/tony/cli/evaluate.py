"""`tony eval MODEL SUITE` and `tony eval --samples FILE`: measure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(help="a run folder such as runs/digits, smollm2, or a server's name of its model"),
    ] = None,
    suite: Annotated[
        str, typer.Argument(help="what to measure: omni, fewshot, contamination or code")
    ] = "omni",
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
    study: Annotated[
        str | None,
        typer.Option(help="code: ranking, bleu, findings, chains, binding, misalignment or docstrings"),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="code: an OpenAI-compatible server to sample from, http://HOST:PORT/v1")
    ] = None,
    tasks: Annotated[
        str,
        typer.Option(
            help="fewshot: groups, tasks or .py files, such as arithmetic,2D+,mine.py; or media (digit runs)"
        ),
    ] = "arithmetic,scramble",
    shots: Annotated[
        str, typer.Option(help="fewshot: numbers of worked examples, such as 0,1,10")
    ] = "0,1,10",
    items: Annotated[str, typer.Option(help="fewshot: questions a task, or all")] = "200",
    seed: Annotated[int, typer.Option(min=0, help="fewshot, code: of all random draws")] = 0,
    draw: Annotated[
        str, typer.Option(help="fewshot: worked examples drawn for each item, or once for a task (faster)")
    ] = "item",
    deterministic: Annotated[
        bool, typer.Option(help="fewshot: the same bytes after any kill and resume, slower")
    ] = False,
    precision: Annotated[
        str, typer.Option(help="fewshot, code: of the weights: float32, bfloat16 or int8")
    ] = "float32",
    training: Annotated[
        list[Path] | None,
        typer.Option(help="contamination: run folders, .txt and .jsonl files to search, or folders of them"),
    ] = None,
    synthetic: Annotated[
        bool, typer.Option(help="contamination: grams of fewer than 8 words, for tasks of short examples")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="fewshot, code: where results go; default MODEL/evals")
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
                study=study, precision=precision,
            )
        )  # fmt: skip
    elif suite == "fewshot":
        settings = {
            "shots": _numbers(shots, "shots"),
            "items": None if items == "all" else _numbers(items, "items")[0],
            "seed": seed,
            "draw": draw,
            "deterministic": deterministic,
            "precision": precision,
        }
        _fewshot(model, tasks.split(","), settings, out, as_json)
    elif suite == "contamination":
        from tony.cli.exchange import find_model

        _contamination(out or find_model(model) / "evals", training or [], synthetic, as_json)
    elif suite == "omni":
        _omni(Path(model), examples, as_json)
    else:
        raise TonyError(f"no suite {suite!r}: use omni, fewshot, contamination or code")


def _contamination(folder: Path, training: list[Path], synthetic: bool, as_json: bool) -> None:
    import os

    from tony.cli.show import print_json
    from tony.cli.show_fewshot import print_contamination
    from tony.errors import TonyError
    from tony.evals.contamination import contamination

    if not training:
        raise TonyError("nothing to search: give --training FOLDER, a run or text files")
    rows = contamination(folder / "fewshot.jsonl", training, synthetic, os.cpu_count() or 1)
    if as_json:
        print_json({"rows": [row.to_dict() for row in rows]})
    else:
        print_contamination(rows)


def _numbers(text: str, name: str) -> tuple[int, ...]:
    from tony.errors import TonyError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise TonyError(f"--{name} {text}: give numbers, such as 0,1,10") from None


def _fewshot(model: str, tasks: list[str], settings: dict[str, Any], out: Path | None, as_json: bool) -> None:
    import sys

    from tony.cli.exchange import find_model
    from tony.cli.show import print_json
    from tony.cli.show_fewshot import print_fewshot
    from tony.engine import Omni
    from tony.engine.exchange.folder import load_language_model
    from tony.errors import TonyError
    from tony.evals.fewshot import Settings, evaluate_fewshot, find_tasks
    from tony.evals.fewshot.tasks.media import media_tasks
    from tony.model.machine import prepare_threads
    from tony.train.progress import Terminal

    chosen = Settings(**settings)
    path = find_model(model)
    prepare_threads()
    if "media" in tasks:
        if len(tasks) > 1:
            raise TonyError(
                "--tasks media asks with pictures and sounds: give the other tasks a command of their own"
            )
        source = Omni.load(path)
        found, errors = media_tasks(source), []
    else:
        found, errors = find_tasks(tasks)
        if not found:
            raise TonyError("; ".join(errors))
        source = load_language_model(path)
    folder = out or (path / "evals" if path.is_dir() else path.with_suffix(".evals"))
    begun = False

    def show(done: int, total: int, name: str) -> None:
        nonlocal begun
        if not begun:
            reporter.begin("asking", total)
            begun = True
        reporter.advance(done)

    with Terminal() as reporter:
        result = evaluate_fewshot(source, found, chosen, folder, errors, show)
    if as_json:
        print_json(result)
    else:
        print_fewshot(result)
    for line in result["errors"]:
        print(f"tony: {line}", file=sys.stderr)
    if result["errors"]:
        raise typer.Exit(2)


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
