"""Protects measuring a model: pass@k by temperature, resume after a kill, more samples added, and the command itself."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tony.errors import TonyError
from tony.evals.code import Drawing, evaluate, temperature_for
from tony.evals.code.draw import draw

TONY = [sys.executable, "-c", "from tony.cli import main; main()"]
PROBLEM = {
    "prompt": "def f{i}(x):\n",
    "entry_point": "f{i}",
    "test": "def check(f):\n    assert f(1) == {i} + 1\n",
}


def write_problems(path, count):
    rows = [
        {"task_id": f"T/{i}"} | {k: v.replace("{i}", str(i)) for k, v in PROBLEM.items()}
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_pass_at_k_is_taken_at_the_temperature_of_each_k(problems, scripted, tmp_path):
    how = Drawing(n=4, temperatures=(0.2, 0.5), max_tokens=50)
    found = evaluate(scripted, problems, [1, 4], how, tmp_path, is_best_of=True, workers=1)
    assert [(row["k"], row["temperature"], row["value"]) for row in found["pass_at_k"]] == [
        (1, 0.2, 0.5),
        (4, 0.2, 1),
    ]
    assert len(found["by_temperature"]) == 4 and found["endings"] == {"wrong": 18, "passed": 6}
    assert json.loads((tmp_path / "code.json").read_text()) == json.loads(json.dumps(found))
    rows = [json.loads(line) for line in (tmp_path / found["samples"]).read_text().splitlines()]
    assert len(rows) == 24 and {"completion", "mean_log_prob", "seconds"} <= rows[0].keys()


def test_a_temperature_is_set_beforehand_for_each_k():
    assert [temperature_for(k) for k in (1, 10, 100, 1000)] == [0.2, 0.5, 0.8, 0.8]


def test_right_samples_that_are_likelier_are_chosen(problems, scripted, tmp_path):
    how = Drawing(n=4, temperatures=(0.2,), max_tokens=50)
    rows = evaluate(scripted, problems, [1], how, tmp_path, workers=1)["ranking"]["0.2"]
    at_4 = {row["rule"]: row["value"] for row in rows if row["k"] == 4}
    assert at_4 == {"random": 0.5, "oracle": 1, "mean log-probability": 1, "sum of log-probabilities": 1}


def test_what_is_drawn_is_not_drawn_again_and_more_is_added(problems, scripted, tmp_path):
    path = tmp_path / "samples.jsonl"
    draw(scripted, problems, Drawing(n=2), path)
    before = path.read_bytes()
    assert len(scripted.calls) == 3
    rows = draw(scripted, problems, Drawing(n=3, temperatures=(0.2, 0.8)), path)
    assert path.read_bytes().startswith(before) and len(rows) == 18
    assert [call[1:3] for call in scripted.calls[3:]] == [(1, 0.2)] * 3 + [(3, 0.8)] * 3
    assert [row["line"] for row in sorted(rows, key=lambda r: r["line"])] == list(range(1, 19))
    assert len({call[3] for call in scripted.calls}) == 9  # every unit has a random stream of its own


def test_calls_of_several_prompts_draw_the_same(problems, scripted, tmp_path):
    alone = draw(scripted, problems, Drawing(n=3, temperatures=(0.2, 0.8)), tmp_path / "a.jsonl")
    scripted.together = 2
    together = draw(scripted, problems, Drawing(n=3, temperatures=(0.2, 0.8)), tmp_path / "b.jsonl")
    own = {"seconds": 0, "line": 0}
    assert [row | own for row in together] == [row | own for row in alone]


def test_a_call_that_breaks_off_keeps_the_prompts_that_are_done(problems, scripted, tmp_path):
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    expected = draw(scripted, problems, Drawing(n=3), whole)
    scripted.together, complete = 3, scripted.complete

    def break_off(*arguments):
        yield from itertools.islice(complete(*arguments), 2)
        raise KeyboardInterrupt

    scripted.complete = break_off
    with pytest.raises(KeyboardInterrupt):
        draw(scripted, problems, Drawing(n=3), broken)
    assert len(broken.read_text().splitlines()) == 6
    scripted.complete, before = complete, len(scripted.calls)
    again, own = draw(scripted, problems, Drawing(n=3), broken), {"seconds": 0, "line": 0}
    assert len(scripted.calls) == before + 1 and [r | own for r in again] == [r | own for r in expected]


def test_a_line_cut_short_is_drawn_again(problems, scripted, tmp_path):
    path = tmp_path / "samples.jsonl"
    draw(scripted, problems, Drawing(n=2), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    rows = draw(scripted, problems, Drawing(n=2), path)
    assert len(rows) == 6 and all(json.loads(line) for line in path.read_bytes().splitlines())


def test_settings_out_of_range_are_refused():
    with pytest.raises(TonyError, match="--n"):
        Drawing(n=0)
    with pytest.raises(TonyError, match="temperatures"):
        Drawing(temperatures=(-1.0,))


def run(*arguments, cwd):
    return subprocess.run([*TONY, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def test_a_killed_command_goes_on_and_ends_the_same(server, tmp_path):
    """Killed with signal 9 while it draws; the second run draws only the rest."""
    write_problems(tmp_path / "p.jsonl", 12)
    command = ["eval", "tiny", "code", "--base-url", server.url, "--problems", "p.jsonl", "--n", "4", "--k", "1,4", "--json"]  # fmt: skip
    server.delay_s = 0.15
    process = subprocess.Popen(
        [*TONY, *command], cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 50
    while not (found := list(tmp_path.rglob("samples.jsonl"))) or not found[0].stat().st_size:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.5)  # what was under way when it died has then reached the server
    drawn = len(found[0].read_bytes().splitlines())
    assert 0 < drawn < 96
    server.delay_s = 0.0
    server.bodies.clear()
    done = run(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(server.bodies) == (96 - drawn) // 4
    result = json.loads(done.stdout)
    assert [(row["name"], row["value"]) for row in result["results"]] == [("pass@1", 0.5), ("pass@4", 1.0)]
    first = {
        row.pop("sample_id") + row["task_id"]: row["completion"] for row in map(json.loads, found[0].open())
    }
    assert (found[0].parents[1] / "code.png").read_bytes().startswith(b"\x89PNG")
    alone = run(*command, "--out", "other", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    (other,) = Path(tmp_path / "other").rglob("samples.jsonl")
    assert first == {r["sample_id"] + r["task_id"]: r["completion"] for r in map(json.loads, other.open())}


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["absent", "code"], "absent"),
        (["tiny", "code", "--base-url", "nowhere"], "--base-url nowhere"),
        (["tiny", "code", "--base-url", "http://127.0.0.1:9", "--n", "2", "--k", "3"], "--n 3"),
        (["tiny", "code", "--base-url", "http://127.0.0.1:9", "--temperature", "warm"], "--temperature warm"),
    ],
)
def test_bad_options_are_one_line(tmp_path, arguments, names):
    os.environ["COLUMNS"] = "200"
    done = run("eval", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and names in done.stderr and len(done.stderr.strip().splitlines()) == 1
