"""`tony eval MODEL SUITE` and `tony eval --samples FILE`: measure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(help="a run folder or its name in runs/, smollm2, or a server's name of its model"),
    ] = None,
    suite: Annotated[
        str,
        typer.Argument(help="what to measure: omni, fewshot, lm-eval, contamination, bias, code or quiz"),
    ] = "omni",
    out: Annotated[
        Path | None,
        typer.Option(help="all but omni: folder of the results; default MODEL/evals"),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="fewshot, lm-eval, bias, code, quiz: of all that is drawn", min=0)
    ] = 0,
    precision: Annotated[
        str,
        typer.Option(help="fewshot, lm-eval, bias, code, quiz: of the weights: float32, bfloat16 or int8"),
    ] = "float32",
    as_json: Annotated[
        bool, typer.Option("--json", help="print the result as JSON and nothing else")
    ] = False,
    examples: Annotated[int, typer.Option(help="omni: examples a cell", min=1)] = 500,
    tasks: Annotated[
        str | None,
        typer.Option(
            help="fewshot: groups, tasks or .py files, such as arithmetic,2D+,mine.py (default arithmetic,scramble), or "
            "media (digit runs); lm-eval: names of its tasks, .yaml files or folders"
        ),
    ] = None,
    shots: Annotated[
        str | None,
        typer.Option(
            help="worked examples; fewshot: numbers of them, default 0,1,10; lm-eval: one number, default the task's"
        ),
    ] = None,
    items: Annotated[
        str | None,
        typer.Option(
            "--items",
            "--limit",
            help="questions a task, or all; fewshot: drawn, default 200; lm-eval: the first ones, default all",
        ),
    ] = None,
    download: Annotated[
        bool, typer.Option(help="lm-eval: let it fetch data sets from the Hugging Face hub")
    ] = False,
    draw: Annotated[
        str, typer.Option(help="fewshot: worked examples drawn for each item, or once for a task (faster)")
    ] = "item",
    deterministic: Annotated[
        bool, typer.Option(help="fewshot: the same bytes after any kill and resume, slower")
    ] = False,
    training: Annotated[
        list[Path] | None,
        typer.Option(help="contamination: run folders, .txt and .jsonl files to search, or folders of them"),
    ] = None,
    synthetic: Annotated[
        bool, typer.Option(help="contamination: grams of fewer than 8 words, for tasks of short examples")
    ] = False,
    only: Annotated[
        str, typer.Option(help="bias: which probes, such as gender,religion")
    ] = "gender,race,religion",
    problems: Annotated[
        Path | None, typer.Option(help="code: problems as JSONL; without it, HumanEval as installed")
    ] = None,
    first: Annotated[
        int | None,
        typer.Option(help="code, quiz: only so many problems or texts; quiz: 24 without it", min=1),
    ] = None,
    k: Annotated[str | None, typer.Option(help="code: which pass@k, such as 1,10")] = None,
    n: Annotated[int, typer.Option(help="code: samples a problem and temperature", min=1)] = 20,
    temperature: Annotated[
        str | None,
        typer.Option(
            help="code: one or more, such as 0.2,0.8; without it, 0.2 for k = 1 up to 0.8 for k = 100. quiz: one, 1.0 without it"
        ),
    ] = None,
    top_p: Annotated[float, typer.Option(help="code, quiz: mass of the nucleus")] = 0.95,
    max_tokens: Annotated[int, typer.Option(help="code: longest sample", min=1)] = 300,
    chat: Annotated[
        bool,
        typer.Option("--chat", help="code: ask in the model's chat form, its answer begun with the prompt"),
    ] = False,
    study: Annotated[
        str | None,
        typer.Option(help="code: ranking, bleu, findings, chains, binding, misalignment or docstrings"),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="code: an OpenAI-compatible server to sample from, http://HOST:PORT/v1")
    ] = None,
    samples: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|N",
            help="code: grade the programs of this JSONL file (task_id, completion) instead; bias: completions a prompt, 96",
        ),
    ] = None,
    allow_missing_isolation: Annotated[
        bool, typer.Option(help="code: run without a required layer; the results record it")
    ] = False,
    texts: Annotated[
        Path | None,
        typer.Option(
            help="quiz: real passages, a .jsonl (text, title), .txt or .md file, or a folder of them"
        ),
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(help="quiz: the model of the deliberately bad texts; without it, the same model"),
    ] = None,
    words: Annotated[int, typer.Option(help="quiz: words of a text, at most")] = 200,
    port: Annotated[int, typer.Option(help="quiz: the port to listen on")] = 8000,
    results: Annotated[bool, typer.Option("--results", help="quiz: count the answers so far")] = False,
) -> None:
    """Measure a model (written to evals/SUITE.json of its folder), or grade programs of any model."""
    from tony.cli.suites import bias, code, fewshot, harness, omni, quiz
    from tony.errors import TonyError

    if samples is not None and suite != "bias":
        code.grade_file(Path(samples), problems, k, allow_missing_isolation, as_json)
        return
    if model is None:
        raise TonyError("nothing to measure: give a run folder, such as runs/digits, or --samples FILE")
    match suite:
        case "omni":
            omni.run(model, examples, as_json)
        case "fewshot":
            asked = fewshot.Asked(
                model=model, tasks=tasks or "arithmetic,scramble", shots=shots or "0,1,10", items=items or "200",
                seed=seed, draw=draw, deterministic=deterministic, precision=precision, out=out, as_json=as_json,
            )  # fmt: skip
            fewshot.run(asked)
        case "lm-eval":
            asked = harness.Asked(
                model=model, tasks=tasks, shots=shots, items=items, seed=seed, precision=precision, download=download,
                out=out, as_json=as_json,
            )  # fmt: skip
            harness.run(asked)
        case "contamination":
            fewshot.search(model, out, training or [], synthetic, as_json)
        case "bias":
            asked = bias.Asked(
                model=model, only=only, samples=samples, seed=seed, precision=precision, out=out, as_json=as_json
            )  # fmt: skip
            bias.run(asked)
        case "code":
            asked = code.Asked(
                model=model, problems=problems, first=first, k=k, n=n, temperature=temperature, top_p=top_p,
                max_tokens=max_tokens, seed=seed, precision=precision, chat=chat, study=study, base_url=base_url, out=out,
                allow_missing=allow_missing_isolation, as_json=as_json,
            )  # fmt: skip
            code.run(asked)
        case "quiz":
            asked = quiz.Asked(
                model=model, texts=texts, control=control, first=first, words=words, temperature=temperature,
                top_p=top_p, seed=seed, precision=precision, port=port, results=results, out=out, as_json=as_json,
            )  # fmt: skip
            quiz.run(asked)
        case _:
            raise TonyError(
                f"no suite {suite!r}: use omni, fewshot, lm-eval, contamination, bias, code or quiz"
            )
