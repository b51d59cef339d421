"""Grade a file of samples: every sample through the sandbox on all cores, pass@k with intervals over problems.

Beside FILE.jsonl stand FILE.verdicts.jsonl (one line a sample) and FILE.results.json.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tony.atomic import write_json
from tony.errors import TonyError
from tony.evals.code.completions import Survey, read_completions, survey
from tony.evals.code.problems import Problem
from tony.evals.journal import Journal
from tony.evals.pass_at_k import pass_rate
from tony.sandbox import Ending, Limits, Sandbox, Verdict

KS = (1, 10, 100)
FORMAT = 1


@dataclass(frozen=True)
class Judged:
    """The verdicts of a file.

    Attributes:
        rows: one dict a sample, in the order of the file's lines.
        record: what the sandbox ran under.
        warnings: what people should know.
        survey: what the file holds.
        journal: the file of the verdicts.
    """

    rows: list[dict[str, Any]]
    record: dict[str, Any]
    warnings: list[str]
    survey: Survey
    journal: Path


@dataclass(frozen=True)
class Graded:
    """What a grading found.

    Attributes:
        rows: the verdict of each sample, in the order of the file's lines.
        summary: what is written to FILE.results.json.
    """

    rows: list[dict[str, Any]]
    summary: dict[str, Any]


def grade(
    path: Path,
    problems: Mapping[str, Problem],
    ks: Sequence[int] | None = None,
    *,
    limits: Limits | None = None,
    allow_missing: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Graded:
    """Grade the samples of `path`; a grading that was killed goes on where it stopped.

    Args:
        ks: of pass@k; without them, those of 1, 10 and 100 that some problem has samples for.
        limits, allow_missing, workers, progress: as for `judge_file`.

    Raises:
        TonyError: as `judge_file`; no problem has k samples.
    """
    limits = limits or Limits()
    found = survey(path, problems, limits.source_bytes)
    ks = _chosen(ks, max(found.counts.values()))
    judged = judge_file(
        path, problems, found, limits=limits, allow_missing=allow_missing, workers=workers, progress=progress
    )
    summary = summarise(judged.rows, ks, judged.warnings) | {
        "suite": "code",
        "samples": path.name,
        "samples_sha256": found.sha256,
        "verdicts": judged.journal.name,
        "missing_problems": [name for name in problems if name not in found.counts],
        "sandbox": judged.record,
    }
    write_json(beside(path, "results.json"), summary)
    return Graded(judged.rows, summary)


def judge_file(
    path: Path,
    problems: Mapping[str, Problem],
    found: Survey | None = None,
    *,
    limits: Limits | None = None,
    allow_missing: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Judged:
    """Run every sample of `path` that has no verdict yet.

    Args:
        found: the file's survey, where it has been made.
        limits: of one program.
        allow_missing: go on where a required layer of isolation is missing; the results say so.
        workers: programs at once (default: one a core).
        progress: called with (samples judged, samples), first when nothing can be refused any more.

    Raises:
        TonyError: the samples are damaged or name unknown tasks, or isolation is missing.
    """
    limits = limits or Limits()
    found = found or survey(path, problems, limits.source_bytes)
    total = found.counts.total()
    warnings = list(found.warnings)
    with Sandbox(limits, workers=workers, allow_missing=allow_missing) as sandbox:
        record = sandbox.record()
        if not record["isolation"]["complete"]:
            warnings.append("missing isolation: " + ", ".join(record["isolation"]["missing"]))
        head = {
            "format": FORMAT,
            "samples_sha256": found.sha256,
            "limits": record["limits"],
            "isolation": record["isolation"],
            "python": record["python"],
            "problems_sha256": _hash(problems, found.counts),
        }
        with Journal(beside(path, "verdicts.jsonl"), head) as journal:
            if journal.replaced:
                warnings.append(f"replaced: {journal.path.name} was of other samples, problems or limits")
            rows = {row["line"]: row for row in journal.rows if row["ending"] != Ending.JUDGE_ERROR}
            if progress:
                progress(len(rows), total)
            todo = (
                ((one.line, one.task_id), problems[one.task_id].program(one.text, one.is_whole))
                for one in read_completions(path, problems)
                if one.line not in rows
            )
            for (line, task_id), verdict in sandbox.run_all(todo):
                rows[line] = _row(line, task_id, verdict)
                journal.add(rows[line])
                if progress:
                    progress(len(rows), total)
    return Judged([rows[line] for line in sorted(rows)], record, warnings, found, journal.path)


def beside(path: Path, ending: str) -> Path:
    """FILE.`ending` for FILE.jsonl or FILE.jsonl.gz."""
    return path.with_name(f"{path.name.removesuffix('.gz').removesuffix('.jsonl')}.{ending}")


def summarise(rows: Sequence[Mapping[str, Any]], ks: Sequence[int], warnings: list[str]) -> dict[str, Any]:
    """pass@k, endings and costs. Samples that could not be judged are not the model's failures and are left out of n."""
    counts: dict[str, list[int]] = {}
    for row in rows:
        if row["ending"] != Ending.JUDGE_ERROR:
            count = counts.setdefault(row["task_id"], [0, 0])
            count[0] += 1
            count[1] += row["passed"]
    errors = sum(row["ending"] == Ending.JUDGE_ERROR for row in rows)
    if errors:
        warnings = [*warnings, f"judge errors: {errors} samples could not be judged and are left out"]
    most = max((n for n, _ in counts.values()), default=0)
    rates = [asdict(pass_rate([*map(tuple, counts.values())], k)) for k in ks if k <= most]
    return {
        "pass_at_k": rates,
        "num_samples": len(rows),
        "num_problems": len(counts),
        "endings": dict(Counter(row["ending"] for row in rows).most_common()),
        "cpu_s": round(sum(row["cpu_s"] for row in rows), 3),
        "warnings": warnings,
    }


def _chosen(ks: Sequence[int] | None, most: int) -> list[int]:
    if ks is None:
        return [k for k in KS if k <= most]
    for k in ks:
        if not 1 <= k <= most:
            raise TonyError(
                f"pass@{k}: the samples have at most {most} a problem. Ask for k from 1 to {most}"
            )
    return sorted(set(ks))


def _row(line: int, task_id: str, verdict: Verdict) -> dict[str, Any]:
    return {
        "line": line,
        "task_id": task_id,
        "passed": verdict.passed,
        "ending": str(verdict.ending),
        "detail": verdict.detail,
        "cpu_s": round(verdict.cpu_s, 4),
        "wall_s": round(verdict.wall_s, 4),
        "memory_bytes": verdict.memory_bytes,
    }


def _hash(problems: Mapping[str, Problem], used: Counter[str]) -> str:
    import hashlib

    content = repr(sorted((name, repr(problems[name])) for name in used))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
