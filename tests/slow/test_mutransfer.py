"""Protects benchmarks/mutransfer.py on a tiny setting: every part ends in figures, and what is known is not run again."""

import json
import subprocess
import sys

import pytest

TINY = (
    "--widths 32 64 --depths 64 1 2 --steps 24 --channels 4 8 --picture-steps 30 --target 64 --target-steps 64 --trials 3 "
    "--seeds 2 --workers 2 --set data.examples=600 data.voices=2 vocabulary.sound.steps=5"
).split()


@pytest.mark.slow
def test_every_part_ends_in_figures_and_goes_on(repository, tmp_path):
    def run(part):
        command = [
            sys.executable,
            repository / "benchmarks" / "mutransfer.py",
            "--folder",
            tmp_path,
            "--docs",
            tmp_path,
            "--part",
            part,
        ]
        done = subprocess.run([*command, *TINY], capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])[part]

    found = run("width")
    for how in ("muP", "standard"):
        assert set(found[how]["log2_lr"]) == {"32", "64"}
    assert found["muP"]["log2_lr"]["32"]["value"] == found["standard"]["log2_lr"]["32"]["value"]
    assert "<svg" in (tmp_path / "width.html").read_text()
    page = (tmp_path / "mutransfer-measured.md").read_text()
    assert "## Transformer, width 32 to 64\n" in page and (tmp_path / "mutransfer-width.png").is_file()
    known = (tmp_path / "runs.jsonl").read_bytes()
    with (tmp_path / "runs.jsonl").open("ab") as file:
        file.write(b'{"key": "cut short by a k')
    assert run("width")["muP"] == found["muP"]
    assert (tmp_path / "runs.jsonl").read_bytes().startswith(known)
    assert run("depth")["over"] == "depth"
    assert set(run("embedding")["all"]["widths"]) == {"32", "64"}
    # The paper's formula by hand: N of a target of width 64 and depth 2, of a proxy of width 32; 8 and 64 steps.
    n = {w: 2 * (4 * w * w + 3 * w * h + 2 * w + 2 * 32) + w for w, h in ((32, 128), (64, 192))}
    assert run("cost")["cost_share"] == pytest.approx(3 * n[32] * 8 / (n[64] * 64))
    assert set(run("reverse")["log2_lr"]) == {"wide", "copy", "narrow"}
