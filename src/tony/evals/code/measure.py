"""Functional correctness of a model: draw samples, run them, count; a temperature for every k.

Beside PARENT/code.json, the result, lies a folder with samples.jsonl, samples.verdicts.jsonl and settings.json.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tony.atomic import write_json
from tony.evals.code.draw import SAMPLES, Drawing, draw, folder_of
from tony.evals.code.grade import judge_file
from tony.evals.code.problems import Problem
from tony.evals.code.ranking import rank
from tony.evals.code.sampler import Sampler
from tony.evals.pass_at_k import PassRate, pass_rate
from tony.runs import commit_hash
from tony.sandbox import Ending


def temperature_for(k: int) -> float:
    """0.2 for k = 1 and 0.8 for k = 100, the best that Chen et al. 2021 (figure 5) found; between them straight in log k."""
    return round(min(0.8, 0.2 + 0.3 * math.log10(k)), 2)


@dataclass(frozen=True)
class Measured:
    """Samples with their verdicts.

    Attributes:
        rows: one dict a sample: what `draw` and the sandbox say of it.
        record: the sandbox's.
        warnings: for people.
        seconds: by the clock, of drawing and of running.
        samples: the file of the samples.
    """

    rows: list[dict[str, Any]]
    record: dict[str, Any]
    warnings: list[str]
    seconds: dict[str, float]
    samples: Path

    def judged(self) -> list[dict[str, Any]]:
        """The rows whose verdict counts: a judge's error is not the model's failure."""
        return [row for row in self.rows if row["ending"] != Ending.JUDGE_ERROR]


Report = Callable[[str, int, int], None]  # what is being done, done, total


def measure(
    sampler: Sampler,
    problems: Mapping[str, Problem],
    how: Drawing,
    parent: Path,
    name: str = "code",
    *,
    allow_missing: bool = False,
    workers: int | None = None,
    report: Report | None = None,
) -> Measured:
    """Draw samples of `problems` and run them all; a killed measurement goes on where it stopped.

    Raises:
        TonyError: from the sampler, the disk, or a missing layer of isolation.
    """
    report = report or (lambda *_: None)
    path = folder_of(parent, name, sampler, problems, how) / SAMPLES
    began = time.perf_counter()
    drawn = draw(sampler, problems, how, path, lambda done, total: report("drawing samples", done, total))
    middle = time.perf_counter()
    judged = judge_file(
        path,
        problems,
        allow_missing=allow_missing,
        workers=workers,
        progress=lambda done, total: report("running programs", done, total),
    )
    seconds = {"drawing": middle - began, "running": time.perf_counter() - middle}
    verdicts = {row["line"]: row for row in judged.rows}
    rows = [one | verdicts[one["line"]] for one in drawn]
    return Measured(rows, judged.record, judged.warnings, seconds, path)


def evaluate(
    sampler: Sampler,
    problems: Mapping[str, Problem],
    ks: Sequence[int],
    how: Drawing,
    parent: Path,
    *,
    is_best_of: bool = False,
    name: str = "code",
    **options: Any,
) -> dict[str, Any]:
    """pass@k of a model, its ranking and its costs: what is written to PARENT/code.json, timings apart.

    Args:
        is_best_of: report each k at that of the temperatures which did best (on the same samples, so a little too high);
            otherwise at `temperature_for` k, which must be among them.
        options: of `measure`.
    """
    measured = measure(sampler, problems, how, parent, name, **options)
    by_temperature = {t: [r for r in measured.judged() if r["temperature"] == t] for t in how.temperatures}
    table = [
        {"temperature": t, **asdict(rate)}
        for t, rows in by_temperature.items()
        for rate in pass_rates(rows, ks)
    ]
    chosen = [_best(table, k) if is_best_of else _at(table, k, temperature_for(k)) for k in ks]
    result = {
        "settings": settings_of(sampler, how)
        | {"ks": list(ks), "temperature": "best of these samples" if is_best_of else "set beforehand, by k"},
        "results": [
            {"name": f"pass@{row['k']}", "metric": "pass@k", **{key: row[key] for key in ("value", "low", "high", "n")}}
            for row in chosen
        ],
        "pass_at_k": chosen,
        "by_temperature": table,
        "ranking": {f"{t:g}": rank(rows, sizes(how.n)) for t, rows in by_temperature.items()},
        **costs_of(measured),
    }  # fmt: skip
    write_result(parent, name, sampler, result, measured)
    return result


def pass_rates(rows: Sequence[Mapping[str, Any]], ks: Sequence[int]) -> list[PassRate]:
    """pass@k of judged samples of one temperature."""
    counts: dict[str, list[int]] = {}
    for row in rows:
        count = counts.setdefault(row["task_id"], [0, 0])
        count[0] += 1
        count[1] += row["passed"]
    return [pass_rate([(n, c) for n, c in counts.values()], k) for k in ks]


def sizes(n: int) -> list[int]:
    """Points of a curve over k: 1, 2, 5, 10, 20, ... up to n."""
    steps = [b * 10**e for e in range(6) for b in (1, 2, 5)]
    return [k for k in steps if k < n] + [n]


def settings_of(sampler: Sampler, how: Drawing) -> dict[str, Any]:
    api = getattr(sampler, "api", "engine")
    return {"sampler": sampler.name, "api": api, **asdict(how), "temperatures": list(how.temperatures)}


def costs_of(measured: Measured) -> dict[str, Any]:
    """How the samples ended and what they cost."""
    rows = measured.rows
    tokens = [row["num_tokens"] for row in rows if row["num_tokens"] is not None]
    return {
        "num_samples": len(rows),
        "num_problems": len({row["task_id"] for row in rows}),
        "endings": dict(Counter(row["ending"] for row in rows).most_common()),
        "tokens_drawn": sum(tokens) if tokens else None,
        "cut_at_max_tokens": sum(not row["is_stopped"] for row in rows),
        "cpu_s": round(sum(row["cpu_s"] for row in rows), 3),
        "sandbox": measured.record,
        "warnings": measured.warnings,
    }


def write_result(
    parent: Path, name: str, sampler: Sampler, result: dict[str, Any], measured: Measured
) -> None:
    """Write NAME.json and NAME.timings.json, and add to `result` what every evaluation carries."""
    head = {
        "suite": name,
        "model": sampler.name,
        "identity": sampler.identity,
        "commit": commit_hash(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "samples": str(measured.samples.relative_to(parent)),
    }
    body = head | result
    result.clear()
    result.update(body)
    write_json(parent / f"{name}.json", result)
    seconds = {key: round(value, 2) for key, value in measured.seconds.items()}
    write_json(parent / f"{name}.timings.json", seconds)


def _at(table: Sequence[dict[str, Any]], k: int, temperature: float) -> dict[str, Any]:
    return next(row for row in table if row["k"] == k and row["temperature"] == temperature)


def _best(table: Sequence[dict[str, Any]], k: int) -> dict[str, Any]:
    return max((row for row in table if row["k"] == k), key=lambda row: row["value"])
