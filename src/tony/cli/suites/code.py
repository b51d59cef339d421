"""What `tony eval MODEL code` does: draw, run, count, show; and `tony eval --samples FILE`: what was drawn elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tony.errors import TonyError

if TYPE_CHECKING:
    from tony.evals.code import Drawing, Sampler


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of the command line, as they were written."""

    model: str
    k: str | None
    n: int
    temperature: str | None
    top_p: float
    max_tokens: int
    seed: int
    precision: str
    chat: bool
    problems: Path | None
    first: int | None
    base_url: str | None
    out: Path | None
    allow_missing: bool
    as_json: bool
    study: str | None


def run(asked: Asked) -> None:
    """pass@k of the model and all that comes with it, or one study."""
    from tony.cli.numbers import read_numbers
    from tony.cli.progress import reporting
    from tony.cli.show import print_json
    from tony.cli.show_code import print_measured, print_study
    from tony.evals.code import STUDIES, Asking, evaluate, run_study
    from tony.evals.code.plots import plot_result

    if asked.study is not None and asked.study not in STUDIES:
        raise TonyError(f"--study {asked.study}: use one of {', '.join(STUDIES)}")
    if asked.k is None:
        ks = [k for k in (1, 10, 100) if k <= (1 if asked.study else asked.n)]
    else:
        ks = sorted(read_numbers("k", asked.k, int, 1, "1,10"))
    if ks[-1] > asked.n:
        raise TonyError(f"pass@{ks[-1]} needs {ks[-1]} samples a problem: --n {ks[-1]} or a smaller --k")
    how = drawing(asked, ks)
    problems = chosen_problems(asked)
    sampler, parent = sampler_of(asked)
    with reporting() as (report, say):
        if asked.study is not None:
            asking = Asking(sampler, problems, how, parent, allow_missing=asked.allow_missing, report=report)
            result = run_study(asked.study, asking)
        else:
            result = evaluate(
                sampler, problems, ks, how, parent,
                is_best_of=asked.temperature is not None, allow_missing=asked.allow_missing, report=report,
            )  # fmt: skip
        if "ranking" in result:
            plot_result(result, parent / f"{result['suite']}.png")
        for warning in result["warnings"]:
            say(f"warning: {warning}")
    if asked.as_json:
        print_json(result)
    elif asked.study is not None:
        print_study(result)
    else:
        print_measured(result)


def drawing(asked: Asked, ks: list[int]) -> Drawing:
    from tony.cli.numbers import read_numbers
    from tony.evals.code import Drawing, temperature_for

    if asked.temperature is None:
        temperatures = sorted({temperature_for(k) for k in ks})
    else:
        temperatures = read_numbers("temperature", asked.temperature, float, 0.0, "0.2,0.8")
    return Drawing(
        n=asked.n, temperatures=tuple(temperatures), top_p=asked.top_p, max_tokens=asked.max_tokens, seed=asked.seed
    )  # fmt: skip


def chosen_problems(asked: Asked) -> dict[str, Any]:
    """The problems of the file, or of HumanEval; with --first only so many."""
    from tony.evals.code import read_problems

    problems = read_problems(asked.problems)
    silent = [name for name, problem in problems.items() if not problem.prompt]
    if silent:
        raise TonyError(
            f"problem {silent[0]!r} has no prompt or question, so a model cannot be asked: add the field `question`"
        )
    return dict(islice(problems.items(), asked.first))


def sampler_of(asked: Asked) -> tuple[Sampler, Path]:
    """What draws the samples, and the folder that results go to."""
    if asked.base_url is not None:
        from tony.evals.code.server import ServerSampler

        name = re.sub(r"[^A-Za-z0-9._-]+", "-", asked.model).strip("-.") or "model"
        return ServerSampler(asked.base_url, asked.model), asked.out or Path("runs") / name / "evals"
    from tony.cli.models import evals_of, find_model
    from tony.evals.code.own import EngineSampler
    from tony.model.machine import prepare_threads

    path = find_model(asked.model)
    prepare_threads()
    return EngineSampler(path, asked.precision, asked.chat), asked.out or evals_of(path)


def grade_file(
    samples: Path, problems: Path | None, k: str | None, allow_missing: bool, as_json: bool
) -> None:
    """Grade the programs of a file, whoever wrote them."""
    from tony.cli.numbers import read_numbers
    from tony.cli.progress import reporting
    from tony.cli.show import print_json
    from tony.cli.show_code import print_code
    from tony.evals.code import grade, read_problems

    ks = None if k is None else read_numbers("k", k, int, 1, "1,10")
    known = read_problems(problems)
    with reporting() as (report, say):
        graded = grade(
            samples, known, ks,
            allow_missing=allow_missing, progress=lambda done, total: report("running programs", done, total),
        )  # fmt: skip
        for warning in graded.summary["warnings"]:
            say(f"warning: {warning}")
    if as_json:
        print_json(graded.summary)
    else:
        print_code(graded.summary)
