"""How likely the docstring is given a sample: the ranking rule of Chen et al. 2021, section 5, by the model itself.

The paper asks a model trained for it (Codex-D); here the model that wrote the sample scores it, in the form of the docstring
study.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tony.evals.code.docstrings import docstring_parts, docstring_prompt
from tony.evals.code.problems import Problem
from tony.evals.code.sampler import Scorer
from tony.evals.journal import Journal

TOGETHER = 16  # texts scored between two writes
NEVER = -1e9  # the score of a sample that, with the docstring, is too long for the model


def with_back_translation(
    rows: Sequence[Mapping[str, Any]],
    problems: Mapping[str, Problem],
    scorer: Scorer,
    path: Path,
    progress: Callable[[int, int], None],
) -> list[dict[str, Any]]:
    """`rows` with `back_translation`: the docstring's log-probability in nats after signature and sample.

    Rows of problems without a docstring get none. Scores are kept in `path`, one of each different sample, and a killed
    scoring goes on.
    """
    wanted: dict[str, tuple[str, str]] = {}
    for row in rows:
        parts = docstring_parts(problems[row["task_id"]])
        if parts is not None:
            before, docstring = parts
            wanted[_key(row)] = docstring_prompt(before, row["completion"]), docstring
    with Journal(path, {"format": 1}) as journal:
        known = {row["sample"]: row["log_prob"] for row in journal.rows}
        todo = [key for key in wanted if key not in known]
        progress(len(wanted) - len(todo), len(wanted))
        for first in range(0, len(todo), TOGETHER):
            group = todo[first : first + TOGETHER]
            for key, value in zip(group, scorer.log_probs([wanted[key] for key in group]), strict=True):
                known[key] = NEVER if value is None else value
                journal.add({"sample": key, "log_prob": known[key]})
            progress(len(wanted) - len(todo) + first + len(group), len(wanted))
    return [row | ({"back_translation": known[_key(row)]} if _key(row) in wanted else {}) for row in rows]


def _key(row: Mapping[str, Any]) -> str:
    text = f"{row['task_id']}\0{row['completion']}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]
