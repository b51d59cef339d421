"""The command line: help, bad input in one line with exit status 2, and JSON on standard output alone."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

TONY = str(Path(sys.executable).with_name("tony"))


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TONY, *arguments], capture_output=True, text=True, cwd=cwd, timeout=60, check=False
    )


def test_help_names_every_verb():
    out = run("--help").stdout
    assert all(verb in out for verb in ("up", "train", "tune", "eval", "serve", "chat", "doctor"))


def test_the_version_is_that_of_the_package():
    assert run("--version").stdout == f"tony {version('tony-omni')}\n"


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["train", "absent.toml"], "absent.toml"),
        (["train", "recipes/digits.toml", "model.widht=3"], "model.widht"),
        (["train", "recipes/digits.toml", "model.width=many"], "model.width"),
        (["train", "recipes/digits.toml", "model.width"], "key=value"),
        (["tune", "absent.toml"], "absent.toml"),
        (["tune", "recipes/digits.toml", "--width", "100"], "head_dim"),
        (["tune", "recipes/digits.toml", "--space", "rate=1..2"], "rate=1..2"),
        (["eval", "absent-run", "omni"], "absent-run"),
        (["eval"], "--samples"),
        (["eval", "absent-run", "fewshot"], "absent-run"),
        (["eval", "absent-run", "fewshot", "--tasks", "nosuch"], "no task 'nosuch'"),
        (["eval", "absent-run", "fewshot", "--shots", "few"], "--shots few"),
        (["eval", "absent-run", "fewshot", "--precision", "int4"], "int4"),
        (["eval", "absent-run", "lm-eval"], "lm-eval"),  # its package may be missing, and no task is named
        (["eval", "absent-run", "contamination"], "--training"),
        (["eval", "absent-run", "quiz"], "absent-run"),
        (["eval", "absent-run", "quiz", "--results"], "absent-run"),
        (["eval", "src", "quiz", "--out", "absent", "--port", "0"], "--texts"),
        (["eval", "src", "quiz", "--texts", "absent.txt", "--port", "0"], "absent.txt"),
        (["eval", "src", "quiz", "--texts", "docs", "--words", "3", "--port", "0"], "words=3"),
        (["eval", "src", "quiz", "--texts", "docs", "--words", "40", "--port", "0"], "no model here"),
        (["eval", "src", "quiz", "--texts", "docs", "--first", "2", "--port", "0"], "first=2"),
        (["eval", "src", "quiz", "--results", "--out", "absent"], "absent"),
        (["eval", "absent-run", "bias", "--only", "gender"], "absent-run"),
        (["eval", "absent-run", "bias", "--only", "age"], "no probe 'age'"),
        (["eval", "absent-run", "bias", "--samples", "few"], "--samples few"),
        (["eval", "absent-run", "nosuch"], "no suite 'nosuch'"),
        (["eval", "--samples", "absent.jsonl"], "absent.jsonl"),
        (["serve", "absent-run", "--port", "0"], "absent-run"),
        (["chat", "absent-run", "-m", "hi"], "absent-run"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, names):
    result = run(*arguments)
    assert result.returncode == 2
    assert names in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr


def test_a_folder_with_no_example_is_named(tmp_path):
    empty = tmp_path / "nothing-here"
    empty.mkdir()
    result = run("train", str(empty), "--runs", str(tmp_path / "runs"))
    assert result.returncode == 2
    assert "nothing-here" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_doctor_prints_json_and_nothing_else():
    findings = json.loads(run("doctor", "--json").stdout)
    assert findings["cores"] >= 1
    assert findings["torch"]


def test_a_port_in_use_is_refused_before_the_work(tmp_path):
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        result = run("up", "--port", str(port), "--runs", str(tmp_path))
    assert result.returncode == 2
    assert f"port {port}" in result.stderr
    assert not list(tmp_path.iterdir())
