"""The studies of `tony eval MODEL code --study NAME`: what each asks of a model, and where its result goes.

A study that only looks at samples (ranking, bleu, findings) takes those of the plain evaluation, drawn if they are not there yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tony.errors import TonyError
from tony.evals.code import binding, bleu, chains, docstrings, findings, misalignment
from tony.evals.code.back_translation import with_back_translation
from tony.evals.code.draw import SAMPLES, Drawing, draw, folder_of
from tony.evals.code.measure import Measured, Report, costs_of, measure, settings_of, sizes, write_result
from tony.evals.code.problems import Problem
from tony.evals.code.ranking import rank
from tony.evals.code.sampler import Sampler, Scorer
from tony.sandbox import Sandbox

BACK_SAMPLES = 4  # functions written from each docstring


@dataclass(frozen=True)
class Asking:
    """What a study is given: the model, the problems, how to draw, where results go."""

    sampler: Sampler
    problems: Mapping[str, Problem]
    how: Drawing
    parent: Path
    allow_missing: bool = False
    workers: int | None = None
    report: Report | None = None

    def measure(self, problems: Mapping[str, Problem], name: str, how: Drawing | None = None) -> Measured:
        return measure(
            self.sampler, problems, how or self.how, self.parent, name,
            allow_missing=self.allow_missing, workers=self.workers, report=self.report,
        )  # fmt: skip


Found = tuple[dict[str, Any], Measured]


def _chains(asking: Asking) -> Found:
    measured = asking.measure(chains.chain_problems(seed=asking.how.seed), "code-chains")
    return chains.report(measured.judged()), measured


def _binding(asking: Asking) -> Found:
    measured = asking.measure(binding.binding_problems(seed=asking.how.seed), "code-binding")
    return binding.report(measured.judged()), measured


def _misalignment(asking: Asking) -> Found:
    with Sandbox(allow_missing=asking.allow_missing, workers=asking.workers) as sandbox:
        problems = misalignment.misaligned_problems(asking.problems, sandbox, asking.how.seed)
    measured = asking.measure(problems, "code-misalignment")
    return misalignment.report(measured.judged()), measured


def _docstrings(asking: Asking) -> Found:
    asked = docstrings.docstring_problems(asking.problems)
    if not asked:
        raise TonyError(
            "the docstring study needs problems with a docstring and a right solution (canonical_solution)"
        )
    path = folder_of(asking.parent, "code-docstrings", asking.sampler, asked, asking.how) / SAMPLES
    report = asking.report or (lambda *_: None)
    rows = draw(
        asking.sampler, asked, asking.how, path, lambda done, total: report("writing docstrings", done, total)
    )
    posed, refused = docstrings.back_problems(asking.problems, rows)
    if not posed:
        raise TonyError(
            f"every docstring of {asking.sampler.name} is empty or copies the code: nothing to go back from"
        )
    back = replace(asking.how, n=min(BACK_SAMPLES, asking.how.n))
    measured = asking.measure(posed, "code-docstrings-back", back)
    return docstrings.report(measured.judged(), refused) | {
        "docstrings": str(path.relative_to(asking.parent))
    }, measured


def _ranking(asking: Asking) -> Found:
    """Every rule, back-translation among them where the model can score text; `results` are those of the largest k."""
    measured = asking.measure(asking.problems, "code")
    rows: list[dict[str, Any]] = measured.judged()
    if isinstance(asking.sampler, Scorer):
        report = asking.report or (lambda *_: None)
        path = measured.samples.with_name("back_translation.jsonl")
        rows = with_back_translation(
            rows,
            asking.problems,
            asking.sampler,
            path,
            lambda done, total: report("scoring docstrings", done, total),
        )
    ranked = rank(rows, sizes(asking.how.n))
    most = max(row["k"] for row in ranked)
    results = [
        {"name": f"one of {most} by {row['rule']}", "metric": "share right"}
        | {key: row[key] for key in ("value", "low", "high", "n")}
        for row in ranked
        if row["k"] == most
    ]
    return {"results": results, "ranking": {f"{asking.how.temperatures[0]:g}": ranked}}, measured


def _bleu(asking: Asking) -> Found:
    measured = asking.measure(asking.problems, "code")
    return bleu.report(measured.judged(), asking.problems), measured


def _findings(asking: Asking) -> Found:
    measured = asking.measure(asking.problems, "code")
    return findings.report(measured.rows, asking.problems), measured


STUDIES: dict[str, Callable[[Asking], Found]] = {
    "ranking": _ranking,
    "bleu": _bleu,
    "findings": _findings,
    "chains": _chains,
    "binding": _binding,
    "misalignment": _misalignment,
    "docstrings": _docstrings,
}


def run_study(name: str, asking: Asking) -> dict[str, Any]:
    """The result of study `name`, written to PARENT/code-NAME.json, timings apart.

    Raises:
        TonyError: there is no such study, or from what it does.
    """
    if name not in STUDIES:
        raise TonyError(f"no study {name!r}: use one of {', '.join(STUDIES)}")
    if len(asking.how.temperatures) > 1:
        raise TonyError("a study draws at one temperature: give one with --temperature")
    found, measured = STUDIES[name](asking)
    result = {"settings": settings_of(asking.sampler, asking.how)} | found | costs_of(measured)
    write_result(asking.parent, f"code-{name}", asking.sampler, result, measured)
    return result
