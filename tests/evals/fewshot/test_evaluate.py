"""Protects: scores are those of plain forward passes; a killed evaluation goes on; bad input costs its own cell only."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from tony.engine.exchange.folder import LanguageModel
from tony.engine.exchange.tokenizers import omni_tokenizer
from tony.errors import TonyError
from tony.evals.fewshot import Settings, evaluate_fewshot, find_tasks
from tony.evals.fewshot import evaluate as module
from tony.evals.task import Example, Task

FILES = ("fewshot.json", "fewshot.jsonl")
WORDS = "zero one two three four five six seven eight nine".split()


@pytest.fixture(scope="module")
def source(random_model, vocabulary):
    model = random_model(vocabulary.size, kv_heads=2)
    return LanguageModel(model, omni_tokenizer(vocabulary), 0, 1, "tiny")


def examples(n, start, choices):
    rng = np.random.default_rng(start)
    out = []
    for i in range(n):
        words = rng.permutation(WORDS)[:5]
        options = tuple(f" {w}" for w in words[2:]) if choices else ()
        out.append(
            Example(context=f"\n{i + start} {words[0]} {words[1]} =", target=f" {words[2]}", choices=options)
        )
    return out


def task(name, scoring="choice", n=60, **settings):
    return Task(
        name=name,
        test=lambda: examples(n, 0, scoring == "choice"),
        train=lambda: examples(30, 500, scoring == "choice"),
        scoring=scoring,
        max_tokens=5,
        **settings,
    )


CHOICE, WRITE = task("choice"), task("write", "generate", head="Go on:")


def settings_of(**changes):
    return Settings(**({"shots": (0, 2), "items": 30, "seed": 1} | changes))


@pytest.mark.parametrize("draw", ["item", "task"])
@pytest.mark.parametrize("deterministic", [False, True])
def test_choices_are_those_of_plain_forward_passes(source, tmp_path, draw, deterministic):
    settings = settings_of(draw=draw, deterministic=deterministic, items=None)
    result = evaluate_fewshot(source, [CHOICE], settings, tmp_path)
    samples = [json.loads(line) for line in (tmp_path / "fewshot.jsonl").read_text().splitlines()]
    assert len(samples) == 120 and not result["errors"]
    right = {0: 0, 2: 0}
    for sample in samples:
        means = []
        for choice, nats in zip(sample["choices"], sample["nats"], strict=True):
            ids, before = source.encode(sample["prompt"] + choice), source.encode(sample["prompt"])
            logits = source.model(torch.tensor([ids]))[0, len(before) - 1 : -1].double()
            own = logits.log_softmax(-1).gather(1, torch.tensor(ids[len(before) :])[:, None])[:, 0]
            assert nats == pytest.approx(float(own.sum()), abs=1e-3)
            means.append(float(own.mean()))
        right[sample["shots"]] += sample["choices"][int(np.argmax(means))] == sample["target"]
    assert {row["shots"]: round(row["value"] * row["n"]) for row in result["results"]} == right
    assert set(result["normalisations"]["choice, 2-shot"]["normalisations"]) == {
        "sum", "token", "character", "byte", "answer"
    }  # fmt: skip


@pytest.mark.parametrize("deterministic", [False, True])
def test_written_answers_are_greedy(source, tmp_path, deterministic):
    evaluate_fewshot(source, [WRITE], settings_of(deterministic=deterministic, items=6), tmp_path)
    samples = [json.loads(line) for line in (tmp_path / "fewshot.jsonl").read_text().splitlines()]
    assert all(sample["prompt"].startswith("Go on:\n") for sample in samples)
    for sample in samples:
        ids = source.encode(sample["prompt"])
        for _ in range(5):
            ids.append(int(source.model(torch.tensor([ids]))[0, -1].argmax()))
        text = source.tokenizer.decode(ids[-5:], skip_special_tokens=False)
        assert sample["answer"] == text.split("\n")[0]


def test_a_model_that_knows_scores_all_and_a_broken_one_none(source, tmp_path, monkeypatch):
    """With an engine that gives known answers, the numbers are known."""

    class Knows:
        def __init__(self, *_):
            self.right = 0

        def begin(self, cell):
            self.cell = cell

        def ask(self, questions):
            return [
                {
                    "key": q.key,
                    "answer": q.example.target if self.cell.k else "x",
                    "score": float(self.cell.k > 0),
                }
                for q in questions
            ]

    monkeypatch.setattr(module, "Asker", Knows)
    result = evaluate_fewshot(source, [WRITE], settings_of(), tmp_path)
    assert [row["value"] for row in result["results"]] == [0.0, 1.0]
    assert result["results"][1]["low"] == pytest.approx(0.886, abs=1e-3), "Wilson's interval of 30 of 30"


def test_a_run_that_was_cut_short_goes_on_to_the_same_bytes(source, tmp_path):
    settings = settings_of(deterministic=True, draw="task", items=60)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    evaluate_fewshot(source, [CHOICE, WRITE], settings, whole)
    journal = (whole / "fewshot.journal.jsonl").read_bytes()
    for share in (0.02, 0.3, 0.555, 0.9):
        cut.mkdir(exist_ok=True)
        (cut / "fewshot.journal.jsonl").write_bytes(journal[: int(share * len(journal))])
        evaluate_fewshot(source, [CHOICE, WRITE], settings, cut)
        for name in FILES:
            assert (cut / name).read_bytes() == (whole / name).read_bytes()


def test_what_is_known_is_not_computed_again(source, tmp_path, monkeypatch):
    first = evaluate_fewshot(source, [CHOICE], settings_of(), tmp_path)
    monkeypatch.setattr(module.Asker, "ask", lambda *_: pytest.fail("all of it is known"))
    assert evaluate_fewshot(source, [CHOICE], settings_of(), tmp_path) == first


def test_a_killed_command_goes_on(source, tmp_path):
    """SIGKILL at three moments, then the same command to the end."""
    source.save(tmp_path / "model", "made here")
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from tony.evals.task import Example, Task\n"
        f"WORDS = {WORDS}\n"
        "ALL = [Example(context=f'{a} {b} =', target=f' {b}', choices=(f' {a}', f' {b}'))\n"
        "       for a in WORDS for b in WORDS if a != b]\n"
        "TASKS = [Task(name='second', test=lambda: ALL[20:], train=lambda: ALL[:20], scoring='choice')]\n"
    )
    command = [
        sys.executable, "-c", "from tony.cli import main; main()", "eval", str(tmp_path / "model"), "fewshot",
        "--tasks", str(mine), "--shots", "0,1,3,5", "--items", "all", "--deterministic", "--json",
    ]  # fmt: skip
    journal = tmp_path / "model" / "evals" / "fewshot.journal.jsonl"
    for lines in (1, 60, 200):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < lines):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["n"] for row in found["results"]] == [70] * 4
    evals = tmp_path / "model" / "evals"
    kept = {name: (evals / name).read_bytes() for name in FILES}
    for name in os.listdir(evals):
        (evals / name).unlink()
    subprocess.run(command, capture_output=True, check=True)
    assert {name: (evals / name).read_bytes() for name in FILES} == kept


def test_bad_input_is_one_line_and_the_other_tasks_still_run(source, tmp_path):
    def broken():
        raise KeyError("column")

    def one(**changes):
        return Example(**({"context": "zero =", "target": " one", "choices": (" one", " two")} | changes))

    def bad(name, examples, scoring="choice"):
        return Task(name=name, test=examples, train=lambda: [one()] * 3, scoring=scoring)

    long = "one two " * 200
    tasks = [
        bad("long", lambda: [one(context=long)]),
        bad("long to write", lambda: [one(context=long)], "generate"),
        bad("empty", lambda: [one(context=" ")]),
        bad("silent choice", lambda: [one(choices=(" one", ""))]),
        bad("no choice", lambda: [one(choices=())]),
        bad("broken", broken),
        bad("nothing", lambda: []),
        CHOICE,
    ]
    result = evaluate_fewshot(
        source, tasks, Settings(shots=(2,), items=5), tmp_path, ["x.py: fails to import"]
    )
    assert [row["task"] for row in result["results"]] == ["choice"]
    errors = result["errors"]
    assert len(errors) == 8 and all("\n" not in line for line in errors)
    for line, words in zip(
        sorted(errors),
        [
            "broken: its examples fail (KeyError: 'column')",
            "empty: an example has an empty context",
            "long to write, 2-shot: the longest prompt needs",
            "long, 2-shot: the longest prompt needs",
            "no choice: the example 'zero =' needs two choices",
            "nothing: its test split is empty",
            "silent choice, 2-shot: the continuation ''",
            "x.py: fails to import",
        ],
        strict=True,
    ):
        assert line.startswith(words)
    few = evaluate_fewshot(source, [CHOICE], Settings(shots=(31, 1), items=5), tmp_path / "k")
    assert few["errors"] == ["choice: 31 examples are asked for and its train split has 30: lower --shots"]
    assert [row["shots"] for row in few["results"]] == [1]


@pytest.mark.parametrize("wrong", [{"shots": ()}, {"shots": (-1,)}, {"items": 0}, {"draw": "often"}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(TonyError):
        Settings(**wrong)


def test_a_task_that_is_not_there_is_named():
    assert find_tasks(["nosuch"]) == ([], find_tasks(["nosuch"])[1])
