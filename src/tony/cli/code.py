"""What `tony eval MODEL code` does: find the model, draw, run, count, show."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    problems: Path | None
    first: int | None
    base_url: str | None
    out: Path | None
    allow_missing: bool
    as_json: bool
    study: str | None
    precision: str


def run(asked: Asked) -> None:
    """pass@k of the model and all that comes with it, or one study."""
    from tony.cli.show import print_json
    from tony.cli.show_code import print_measured, print_study, read_ks
    from tony.evals.code import STUDIES, Asking, evaluate, run_study
    from tony.evals.code.plots import plot_result

    if asked.study is not None and asked.study not in STUDIES:
        raise TonyError(f"--study {asked.study}: use one of {', '.join(STUDIES)}")
    ks = read_ks(asked.k) or [k for k in (1, 10, 100) if k <= (1 if asked.study else asked.n)]
    if ks[-1:] and max(ks) > asked.n:
        raise TonyError(f"pass@{max(ks)} needs {max(ks)} samples a problem: --n {max(ks)} or a smaller --k")
    how = drawing(asked, ks)
    problems = chosen_problems(asked)
    sampler, parent = sampler_of(asked)
    with reporting() as (report, say):
        if asked.study is not None:
            asking = Asking(sampler, problems, how, parent, allow_missing=asked.allow_missing, report=report)
            result = run_study(asked.study, asking)
        else:
            result = evaluate(
                sampler, problems, sorted(set(ks)), how, parent,
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
    from tony.cli.show_code import read_temperatures
    from tony.evals.code import Drawing, temperature_for

    temperatures = read_temperatures(asked.temperature) or sorted({temperature_for(k) for k in ks})
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
    from tony.cli.exchange import find_model
    from tony.evals.code.own import EngineSampler
    from tony.model.machine import prepare_threads

    path = find_model(asked.model)
    prepare_threads()
    folder = path if path.is_dir() else path.parent
    return EngineSampler(path, asked.precision), asked.out or folder / "evals"


@contextmanager
def reporting() -> Iterator[tuple[Callable[[str, int, int], None], Callable[[str], None]]]:
    """A progress line that begins anew with every kind of work."""
    from tony.train.progress import Terminal

    with Terminal() as terminal:
        begun = ""

        def report(what: str, done: int, total: int) -> None:
            nonlocal begun
            if what != begun:
                begun = what
                terminal.begin(what, total, done)
            terminal.advance(done)

        yield report, terminal.say
