"""Protects: kill -9 in the middle of training, the same command again, and the final loss is the uninterrupted one's."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TINY = Path(__file__).parents[1] / "train" / "tiny.py"


def start(folder, pause=0.0):
    return subprocess.Popen(
        [sys.executable, str(TINY), str(folder), str(pause)], stdout=subprocess.PIPE, text=True
    )


def finish(process):
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return int(out.split()[1])


def rows(folder):
    lines = (folder / "tiny" / "metrics.jsonl").read_text().splitlines()
    clock = ("seconds", "tokens_per_second")
    return [{k: v for k, v in json.loads(line).items() if k not in clock} for line in lines]


@pytest.mark.slow
def test_kill_9_changes_nothing(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert finish(start(whole)) == 0
    process = start(killed, pause=0.5)
    deadline = time.monotonic() + 60
    while not list((killed / "tiny" / "checkpoints").glob("step-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.7)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "tiny" / "model" / "model.safetensors").exists(), (
        "killed in mid-training, not after it"
    )
    assert 0 < finish(start(killed)) < 24
    assert rows(killed) == rows(whole)
    models = [(folder / "tiny" / "model" / "model.safetensors").read_bytes() for folder in (whole, killed)]
    assert models[0] == models[1]
