"""Samples to be graded: JSONL with `task_id` and `completion`, or `solution` where a sample is a whole program."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tony.errors import TonyError
from tony.evals.code.lines import read_lines, text_of
from tony.evals.code.problems import Problem

_ID_FIELDS = ("sample_id", "completion_id")


@dataclass(frozen=True)
class Completion:
    """One sample: its line in the file, its problem, its text."""

    line: int
    task_id: str
    text: str
    is_whole: bool = False


@dataclass
class Survey:
    """What one pass over a sample file finds: samples of each problem, the content's hash, and what deserves a warning."""

    counts: Counter[str] = field(default_factory=Counter)
    sha256: str = ""
    warnings: list[str] = field(default_factory=list)


def read_completions(path: Path, problems: Mapping[str, Problem]) -> Iterator[Completion]:
    """The samples of a file, in order; one is in memory at a time.

    Raises:
        TonyError: a line is damaged, or names a task that `problems` does not have.
    """
    for number, row in read_lines(path):
        where = f"{path}, line {number}"
        task_id = text_of(row, "task_id", where)
        if task_id not in problems:
            example = next(iter(problems))
            raise TonyError(
                f"{where}: no task {task_id[:80]!r} among the {len(problems)} problems (the first is {example!r}). "
                "Give the problems that the samples answer with --problems FILE"
            )
        name = "solution" if "completion" not in row and "solution" in row else "completion"
        yield Completion(number, task_id, text_of(row, name, where), name == "solution")


def survey(path: Path, problems: Mapping[str, Problem], longest: int) -> Survey:
    """Look at every sample before the first is run, so that bad input is refused at once.

    Args:
        longest: characters of the longest program that will be run.

    Raises:
        TonyError: as `read_completions`; a sample id is there twice; the file holds no sample.
    """
    found = Survey()
    total, seen, copies, too_long = hashlib.sha256(), set(), 0, []
    _refuse_repeated_ids(path)
    for one in read_completions(path, problems):
        digest = hashlib.sha256(f"{one.task_id}\0{one.is_whole}\0{one.text}".encode("utf-8", "surrogatepass"))
        total.update(digest.digest())
        copies += digest.digest() in seen
        seen.add(digest.digest())
        found.counts[one.task_id] += 1
        if len(one.text) > longest:
            too_long.append(one.line)
    if not found.counts:
        raise TonyError(
            f"{path}: holds no sample. One JSON object a line is expected: task_id and completion"
        )
    found.sha256 = total.hexdigest()
    missing = [name for name in problems if name not in found.counts]
    if missing:
        found.warnings.append(
            f"missing problems: {len(missing)} of {len(problems)} have no sample ({_few(missing)}); they are not in pass@k"
        )
    if too_long:
        found.warnings.append(f"too long: not run, counted as failed: {_lines(too_long)}")
    if copies:
        found.warnings.append(
            f"identical samples: {copies} repeat an earlier one of their problem; each counts as a draw"
        )
    if len(set(found.counts.values())) > 1:
        low, high = min(found.counts.values()), max(found.counts.values())
        found.warnings.append(
            f"uneven samples: {low} to {high} a problem; pass@k leaves out those with under k"
        )
    return found


def _refuse_repeated_ids(path: Path) -> None:
    """`task_id` repeats as often as a problem has samples; an id of the sample itself may not."""
    seen: dict[object, int] = {}
    for number, row in read_lines(path):
        name = next((n for n in _ID_FIELDS if isinstance(row.get(n), str | int)), None)
        if name is None:
            continue
        key = (name, row.get("task_id") if isinstance(row.get("task_id"), str) else "", row[name])
        if key in seen:
            raise TonyError(
                f"{path}, line {number}: {name} {row[name]!r} is on line {seen[key]} too. Remove one of them"
            )
        seen[key] = number


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _lines(numbers: list[int]) -> str:
    return f"line{'s' * (len(numbers) > 1)} {_few(list(map(str, numbers)))}"
