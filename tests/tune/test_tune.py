"""Protects `tony tune` as a whole on a training of seconds: search, check, verdict, page, target; kill -9 and resume."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

pytest.importorskip("optuna")

from optuna.trial import TrialState

from tony.errors import TonyError
from tony.runs import load_recipe
from tony.train.progress import Silent
from tony.tune import sweep
from tony.tune.space import Choice, Range, random_point
from tony.tune.trial import Outcome, run_trial
from tony.tune.tune import Settings, Tuning, tune

SPACE = {"lr": Range(0.002, 0.03), "decay": Choice((0.2, 1.0))}
QUICK = Settings(search="random", trials=3, space=SPACE, width=16, share=0.5, seeds=2)


def test_tuning_end_to_end(goal, tmp_path):
    verdict, written = tune(goal, tmp_path, QUICK, Silent())
    assert len(verdict.trials) == 3 and verdict.loss == min(trial["loss"] for trial in verdict.trials)
    target = load_recipe(written.recipe)
    assert (target.train.lr, target.train.decay) == (verdict.chosen["lr"], verdict.chosen["decay"])
    assert (target.mup.base_width, target.model, target.name) == (16, goal.model, "tiny-tuned")
    # The paper's formula, by hand: N of a block is the matrices' entries and the gains'.
    n = {w: 2 * (4 * w * w + 3 * w * h + 2 * w + 2 * 16) + w for w, h in ((16, 32), (32, 64))}
    assert verdict.cost == pytest.approx(3 * n[16] * 8 / (n[32] * 16))
    said = json.loads(written.verdict.read_text())
    assert said["chosen"] == verdict.chosen and said["drift"]["muP"]["log2"]["low"] is not None
    assert said["cost_share"] == verdict.cost and said["regret"]["muP"]["relative"] >= 0
    curves = {how: {c["size"]: c for c in found} for how, found in said["check"]["curves"].items()}
    assert curves["muP"][16] == curves["standard"][16]
    assert {len(row) for row in curves["muP"][32]["losses"]} == {2}
    assert {len(row) for row in curves["standard"][32]["losses"]} == {1}
    page = written.page.read_text()
    assert page.count("<svg") == 4 and "http://" not in page.replace("http://www.w3.org", "")
    before = trial_files(tmp_path)
    again, _ = tune(goal, tmp_path, QUICK, Silent())
    assert again.to_dict() == verdict.to_dict() and trial_files(tmp_path) == before, "nothing is done twice"


def trial_files(tmp_path):
    return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("trials/**/metrics.jsonl")}


def test_more_trials_go_on_from_those_that_are_there(goal, tmp_path):
    few = replace(QUICK, trials=2, check=False)
    first = Tuning(goal, tmp_path, few, Silent()).search()
    more = Tuning(goal, tmp_path, replace(few, trials=4), Silent()).search()
    assert len(more) == 4 and all(pair in more for pair in first)


def test_tpe_chooses_within_the_space(goal, tmp_path):
    found = Tuning(
        goal, tmp_path, replace(QUICK, search="tpe", trials=10, share=0.1, check=False), Silent()
    ).search()
    assert len(found) == 10
    assert all(0.002 <= values["lr"] <= 0.03 and values["decay"] in (0.2, 1.0) for values, _ in found)


def test_a_grid_is_run_whole(goal, tmp_path):
    settings = replace(QUICK, search="grid", share=0.1, check=False, trials=1)
    found = Tuning(goal, tmp_path, settings, Silent()).search()
    assert {(v["lr"], v["decay"]) for v, _ in found} == {
        (lr, decay) for lr in (0.002, 0.004, 0.008, 0.016) for decay in (0.2, 1.0)
    }


def test_diverged_trials_are_pruned_and_never_chosen(goal, tmp_path):
    settings = replace(QUICK, search="grid", space={"lr": Choice((0.01, 1e6))}, check=False)
    tuning = Tuning(goal, tmp_path, settings, Silent())
    found = tuning.search()
    assert found[0][0]["lr"] == 0.01 and not found[0][1].diverged
    assert found[1][1].diverged and len(found[1][1].losses) < len(found[0][1].losses)
    hopeless = replace(settings, space={"lr": Choice((1e6,))})
    with pytest.raises(TonyError, match="diverged"):
        Tuning(goal, tmp_path, hopeless, Silent()).search()


def test_depth_is_transferred_by_completep(goal, tmp_path):
    settings = replace(QUICK, width=32, depth=1, seeds=1, trials=2, space={"lr": Range(0.004, 0.01)})
    verdict, _ = tune(goal, tmp_path, settings, Silent())
    assert (verdict.target.mup.base_width, verdict.target.mup.base_depth) == (32, 1)
    assert verdict.checked.over == "depth" and list(verdict.checked.drift("muP").optima) == [1, 2]
    assert verdict.checked.wider() is None


def test_a_proxy_larger_than_the_target_is_an_error(goal, tmp_path):
    with pytest.raises(TonyError, match="larger than the target"):
        Tuning(goal, tmp_path, replace(QUICK, width=64), Silent())


@pytest.mark.parametrize("size", [{"width": -16}, {"width": 0}, {"depth": -1}])
def test_a_proxy_without_a_size_is_an_error(goal, tmp_path, size):
    with pytest.raises(TonyError, match="both are 1 or more"):
        Tuning(goal, tmp_path, replace(QUICK, **size), Silent())


def test_a_database_that_cannot_be_opened_is_named(goal, tmp_path):
    settings = replace(QUICK, storage="postgresql://me:secret@nowhere.invalid/tony")
    with pytest.raises(TonyError, match="me@nowhere") as caught:
        Tuning(goal, tmp_path, settings, Silent()).search()
    assert "secret" not in str(caught.value)


SCRIPT = """
import sys
from pathlib import Path
from tony.runs import load_recipe
from tony.train.progress import Silent
from tony.tune.space import Range
from tony.tune.tune import Settings, Tuning
settings = Settings(search="random", trials=6, space={"lr": Range(0.002, 0.03)}, width=16, share=1, check=False, workers=2)
if __name__ == "__main__":
    print("begun", flush=True)
    Tuning(load_recipe(sys.argv[1]), Path(sys.argv[2]), settings, Silent()).search()
"""


def test_a_killed_tuning_goes_on(goal, tmp_path):
    """kill -9 in the middle of trials, with two workers: what was begun is begun anew, what is done stays."""
    goal = goal.model_copy(update={"train": goal.train.model_copy(update={"tokens": 100.0 * 640})})
    (tmp_path / "goal.toml").write_text(goal.to_toml())
    goal = load_recipe(tmp_path / "goal.toml")
    run = tmp_path / "tiny-tune"
    (run / "recipe.toml").write_text(goal.model_copy(update={"name": "tiny-tune"}).to_toml())
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, tmp_path / "script.py", tmp_path / "goal.toml", tmp_path]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(run.glob("trials/*/*/metrics.jsonl")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1)  # its workers end with it, but not in the same instant
    settings = Settings(
        search="random", trials=6, space={"lr": Range(0.002, 0.03)}, width=16, share=1, check=False
    )
    tuning = Tuning(goal, tmp_path, settings, Silent())
    assert len(tuning.search()) == 6
    study = tuning.sweep("search", "random", 0, [("lr", "0.002..0.03")]).study
    states = [trial.state for trial in study.get_trials()]
    assert states.count(TrialState.COMPLETE) == 6 and TrialState.RUNNING not in states
    assert TrialState.FAIL in states, "the kill came too late to show anything"


def test_a_trial_that_failed_is_run_again(goal, tmp_path, monkeypatch):
    """A full disk, say: the reason is told, and the same command runs just that point."""
    settings = replace(QUICK, share=0.1, check=False)
    points = [values for values, _ in Tuning(goal, tmp_path, settings, Silent()).search()]
    other = replace(settings, seed=1)
    calls = []

    def fail_once(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise TonyError("no space left")
        return run_trial(*arguments)

    monkeypatch.setattr(sweep, "run_trial", fail_once)
    with pytest.raises(TonyError, match="no space left"):
        Tuning(goal, tmp_path, other, Silent()).search()
    found = Tuning(goal, tmp_path, other, Silent()).search()
    assert len(calls) == 4 and len(found) == 3
    lrs = {values["lr"] for values, _ in found}
    assert (
        lrs
        == {random_point(SPACE, 1, index)["lr"] for index in range(3)}
        != {point["lr"] for point in points}
    )


def test_trials_of_another_machine_are_waited_for(goal, tmp_path):
    """One worker here, one that only takes a trial and ends it a moment later."""
    settings = replace(QUICK, share=0.1, check=False)
    tuning = Tuning(goal, tmp_path, settings, Silent())
    space = sorted((name, str(choices)) for name, choices in SPACE.items())
    queue = tuning.sweep("search", "random", 0, space)
    for index in range(3):
        queue.enqueue(tuning.job(), random_point(SPACE, 0, index), index)
    taken = queue.study.ask()
    taken.set_user_attr("worker", {"host": "elsewhere", "pid": 1, "started": "0", "seen": time.time()})

    def elsewhere():
        time.sleep(2)
        outcome = Outcome(loss=9.0, by_modality={}, losses=[(1, 9.0)], parameters=1, tokens=1, seconds=2.0)
        taken.set_user_attr("outcome", outcome.to_dict())
        taken.study.tell(taken, 9.0)

    other = threading.Thread(target=elsewhere)
    other.start()
    found = tuning.search()
    other.join()
    assert len(found) == 3 and found[-1][1].loss == 9.0
