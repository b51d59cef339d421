"""What generated code does that it should not: insecure constructs (bandit) and use of resources (the sandbox's verdicts).

bandit only reads programs; nothing is run. The known solutions are read as well, as a control.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tony.errors import TonyError
from tony.evals.code.problems import Problem
from tony.evals.pass_at_k import rate_over_problems
from tony.sandbox import Ending

SEVERITIES = ("LOW", "MEDIUM", "HIGH")
IGNORED = {"B101"}  # assert statements: they are right in such programs
TOGETHER, PATIENCE_S = 200, 300
CONTROL = "the known solutions"


def scan(programs: Sequence[str]) -> list[list[dict[str, str]] | None]:
    """bandit's findings in each program: `test` (such as B307), `severity`, `text`. None where it cannot be read as Python.

    Raises:
        TonyError: the package bandit is not installed, or it fails.
    """
    if find_spec("bandit") is None:
        raise TonyError("the study of findings needs the package bandit: pip install 'tony-omni[eval]'")
    found: list[list[dict[str, str]] | None] = []
    for first in range(0, len(programs), TOGETHER):
        found += _scan_group(programs[first : first + TOGETHER])
    return found


def _scan_group(programs: Sequence[str]) -> list[list[dict[str, str]] | None]:
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(programs):
            (Path(folder) / f"p{number}.py").write_bytes(text.encode("utf-8", "surrogatepass"))
        command = [sys.executable, "-m", "bandit", "--quiet", "--recursive", "--format", "json", folder]
        try:
            done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False)
            answer = json.loads(done.stdout)
        except (subprocess.TimeoutExpired, ValueError) as error:
            raise TonyError(
                f"bandit gave no answer ({type(error).__name__}): try `python -m bandit` by hand"
            ) from None
    found: list[list[dict[str, str]] | None] = [[] for _ in programs]
    for one in answer["errors"]:
        found[_number(one["filename"])] = None
    for one in answer["results"]:
        of = found[_number(one["filename"])]
        if of is not None and one["test_id"] not in IGNORED:
            of.append(
                {"test": one["test_id"], "severity": one["issue_severity"], "text": one["issue_text"][:120]}
            )
    return found


def _number(name: str) -> int:
    return int(Path(name).stem[1:])


def report(rows: Sequence[Mapping[str, Any]], problems: Mapping[str, Problem]) -> dict[str, Any]:
    """The share of programs with a finding of each severity or above, the findings by test, and what programs used up."""
    sources = [problems[row["task_id"]].program(row["completion"]).source for row in rows]
    scanned = scan(sources)
    solved = [name for name, problem in problems.items() if problem.solution is not None]
    control = scan([problems[name].program(problems[name].solution or "").source for name in solved])
    results = []
    for label, names, findings in (
        ("samples", [row["task_id"] for row in rows], scanned),
        (CONTROL, solved, control),
    ):
        for rank, severity in enumerate(SEVERITIES):
            results.append(
                _share(f"{label}: {severity.lower()} or above", names, findings, SEVERITIES[rank:])
            )
    tests = Counter((one["test"], one["text"]) for of in scanned for one in of or [])
    cpu_s = [row["cpu_s"] for row in rows]
    return {
        "results": [row for row in results if row["n"]],
        "unreadable": sum(of is None for of in scanned),
        "tests": [{"test": test, "text": text, "count": count} for (test, text), count in tests.most_common(20)],
        "resources": {
            "endings": {str(e): sum(row["ending"] == e for row in rows) for e in (Ending.TIME, Ending.MEMORY, Ending.DENIED_CALL)},
            "cpu_s": dict(zip(("p50", "p95", "most"), map(float, np.quantile(cpu_s, (0.5, 0.95, 1))), strict=True)),
            "memory_bytes_most": max(row["memory_bytes"] for row in rows),
        },
    }  # fmt: skip


def _share(
    name: str, tasks: Sequence[str], findings: Sequence[list | None], severities: Sequence[str]
) -> dict[str, Any]:
    """The share of readable programs with such a finding, averaged over problems."""
    by_task: dict[str, list[bool]] = defaultdict(list)
    for task, of in zip(tasks, findings, strict=True):
        if of is not None:
            by_task[task].append(any(one["severity"] in severities for one in of))
    row = {
        "name": name,
        "metric": "share with a finding",
        "value": None,
        "low": None,
        "high": None,
        "n": len(by_task),
    }
    if by_task:
        rates = [sum(hits) / len(hits) for hits in by_task.values()]
        row |= dict(zip(("value", "low", "high"), rate_over_problems(rates), strict=True))
    return row
