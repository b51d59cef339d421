"""What the studies share: counting right samples by problem, and rows of results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tony.evals.pass_at_k import mean_over_problems, pass_rate

Row = Mapping[str, Any]


def by_problem(
    rows: Iterable[Row], key: Callable[[Row], str] = lambda row: row["task_id"]
) -> dict[str, tuple[int, int]]:
    """(samples, right ones) of each problem."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        counts[key(row)][0] += 1
        counts[key(row)][1] += bool(row["passed"])
    return {name: (n, c) for name, (n, c) in counts.items()}


def share(name: str, counts: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """pass@1 of some problems as a row of results, its interval over problems."""
    rate = asdict(pass_rate(counts, 1))
    return {"name": name, "metric": "pass@1", **{key: rate[key] for key in ("value", "low", "high", "n")}}


def rates(counts: Mapping[str, tuple[int, int]]) -> dict[str, float]:
    """pass@1 of each problem."""
    return {name: c / n for name, (n, c) in counts.items()}


def difference(name: str, left: Mapping[str, float], right: Mapping[str, float]) -> dict[str, Any]:
    """The mean of `left` minus that of `right` over the problems that both have, paired by problem."""
    common = [key for key in left if key in right]
    values = [left[key] - right[key] for key in common]
    value, low, high = mean_over_problems(values)
    return {
        "name": name,
        "metric": "difference of pass@1",
        "value": value,
        "low": low,
        "high": high,
        "n": len(common),
    }
