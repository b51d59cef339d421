"""Protects grading: verdicts by construction, resume after a kill, and a line for each kind of bad input."""

import json
import os

import pytest

from tony.errors import TonyError
from tony.evals.code import grade, read_problems

PROBLEMS = [
    {"task_id": f"T/{i}", "prompt": f"def f{i}(x):\n", "entry_point": f"f{i}",
     "test": f"def check(f):\n    assert f(1) == {i + 1}\n"}
    for i in range(3)
]  # fmt: skip
RIGHT = [f"    return x + {i}\n" for i in range(3)]
WRONG = "    return None\n"


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def problems(tmp_path):
    return read_problems(write(tmp_path / "problems.jsonl", PROBLEMS))


@pytest.fixture
def samples(tmp_path):
    """Right: 2 of 2, 1 of 2 and 0 of 2."""
    chosen = [(0, RIGHT[0]), (0, RIGHT[0] + "#\n"), (1, RIGHT[1]), (1, WRONG), (2, WRONG), (2, WRONG + "#\n")]
    rows = [{"task_id": f"T/{i}", "completion": text} for i, text in chosen]
    return write(tmp_path / "samples.jsonl", rows)


def test_pass_at_k_of_known_counts(samples, problems):
    summary = grade(samples, problems, [1, 2], workers=1).summary
    assert [rate["value"] for rate in summary["pass_at_k"]] == pytest.approx([0.5, 2 / 3])
    assert summary["endings"] == {"passed": 3, "wrong": 3}
    saved = json.loads(samples.with_name("samples.results.json").read_text())
    assert saved["pass_at_k"] == summary["pass_at_k"] and not saved["sandbox"]["isolation"]["override"]


def test_a_killed_grading_goes_on(samples, problems):
    """Half of the verdicts and a line cut short: what is there is kept, the rest is found, the answer is the same."""
    whole = grade(samples, problems, workers=1)
    journal = samples.with_name("samples.verdicts.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    kept = json.loads(lines[2])
    lines[2] = json.dumps(kept | {"detail": "kept"}).encode() + b"\n"
    journal.write_bytes(b"".join(lines[:4]) + lines[4][:17])
    again = grade(samples, problems, workers=1)
    assert [row["passed"] for row in again.rows] == [row["passed"] for row in whole.rows]
    assert [row["detail"] for row in again.rows].count("kept") == 1
    assert len(journal.read_bytes().splitlines()) == 7


def test_verdicts_of_other_samples_are_not_taken_over(samples, problems):
    grade(samples, problems, workers=1)
    rows = [{"task_id": f"T/{i}", "completion": RIGHT[i]} for i in range(3)]
    summary = grade(write(samples, rows), problems, workers=1).summary
    assert summary["endings"] == {"passed": 3}
    assert any(warning.startswith("replaced") for warning in summary["warnings"])


def test_apps_problems_run_scripts_and_functions(tmp_path):
    rows = [
        {"id": 7, "input_output": json.dumps({"inputs": ["1 2\n", "4 5\n"], "outputs": ["3\n", "9\n"]})},
        {"id": 8, "input_output": {"fn_name": "add", "inputs": [[1, 2]], "outputs": [[3]]}},
    ]
    problems = read_problems(write(tmp_path / "problems.jsonl", rows))
    answers = [
        ("7", "print(sum(map(int, input().split())))"), ("7", "print(3)"),
        ("8", "class Solution:\n    def add(self, a, b): return a + b"), ("8", "def add(a, b): return a"),
    ]  # fmt: skip
    path = write(tmp_path / "s.jsonl", [{"task_id": name, "completion": text} for name, text in answers])
    assert [row["passed"] for row in grade(path, problems, workers=1).rows] == [True, False, True, False]


def test_a_hundred_megabytes_missing_problems_and_copies_are_named(tmp_path, problems):
    rows = [{"task_id": "T/0", "completion": text} for text in ("#" * 100_000_000, RIGHT[0], RIGHT[0])]
    found = grade(write(tmp_path / "s.jsonl", rows), problems, workers=1)
    kinds = [warning.split(":")[0] for warning in found.summary["warnings"]]
    assert kinds[:3] == ["missing problems", "too long", "identical samples"]
    assert [row["ending"] for row in found.rows] == ["memory", "passed", "passed"]
    assert found.summary["missing_problems"] == ["T/1", "T/2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"task_id": "U/0", "completion": ""}\n', "line 1: no task 'U/0'"),
        (b'{"task_id": "T/0", "completion": ""}\n{"task_id": "T/0", "completion": "\xff"}\n', "line 2: .*not UTF-8"),
        (b'{"task_id": "T/0"\n', "line 1: not JSON"),
        (b"[" * 100_000 + b"\n", "line 1: not JSON"),
        (b"[1]\n", "line 1: a JSON list"),
        (b'{"task_id": "T/0"}\n', "line 1: field 'completion' is missing"),
        (b'{"task_id": "T/0", "completion": 3}\n', "line 1: field 'completion' is of type int"),
        (b'{"task_id": "T/0", "completion": "", "sample_id": 1}\n' * 2, "line 2: sample_id 1 is on line 1 too"),
        (b"\n", "holds no sample"),
    ],
)  # fmt: skip
def test_bad_samples_are_refused_before_anything_runs(tmp_path, problems, content, message):
    path = tmp_path / "s.jsonl"
    path.write_bytes(content)
    with pytest.raises(TonyError, match=message):
        grade(path, problems, workers=1)
    assert sorted(os.listdir(tmp_path)) == ["problems.jsonl", "s.jsonl"]


def test_bad_problems_are_refused(tmp_path):
    with pytest.raises(TonyError, match="there twice"):
        read_problems(write(tmp_path / "p.jsonl", [PROBLEMS[0], PROBLEMS[0]]))
    with pytest.raises(TonyError, match="cannot be read"):
        read_problems(tmp_path / "absent.jsonl")
    with pytest.raises(TonyError, match="same length"):
        read_problems(
            write(tmp_path / "p.jsonl", [{"id": 1, "input_output": {"inputs": [1], "outputs": []}}])
        )


def test_a_k_without_samples_is_refused(samples, problems):
    with pytest.raises(TonyError, match="at most 2"):
        grade(samples, problems, [3], workers=1)
