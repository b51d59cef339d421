"""Protects the fan-out over Ray: with Ray the same trials are done as without; without it, or on a cluster with SQLite, one line."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from tony.errors import TonyError
from tony.train.progress import Silent
from tony.tune.sweep import Job, Sweep
from tony.tune.tune import Tuning
from tony.tune.workers import work_off


@pytest.fixture
def tests_of_tune(beside):
    return beside(Path(__file__).with_name("test_tune.py"))


def waiting(folder):
    """A queue with one job."""
    sweep = Sweep(folder=folder, storage=f"sqlite:///{folder}/tune.db", name="waiting", space={})
    sweep.enqueue(Job(how="muP", width=16, depth=1, base_width=16, base_depth=1, tokens=64, seed=0))
    return sweep


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TonyError, match=r"tony-omni\[ray\]"):
        work_off(waiting(tmp_path), 2, Silent(), "nothing", "local")


def test_a_cluster_needs_a_database_that_it_reaches(tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(TonyError, match="postgresql"):
        work_off(waiting(tmp_path), 2, Silent(), "nothing", "10.0.0.1:6379")


@pytest.mark.slow
def test_ray_does_the_same_trials(tests_of_tune, goal, tmp_path):
    pytest.importorskip("ray")
    quick = replace(tests_of_tune.QUICK, trials=4, share=0.1, check=False)
    alone = Tuning(goal, tmp_path, quick, Silent()).search()
    shared = replace(quick, ray="local", workers=2, storage=f"sqlite:///{tmp_path}/other.db")
    by_ray = Tuning(goal, tmp_path, shared, Silent()).search()
    assert [(values, outcome.loss) for values, outcome in by_ray] == [
        (values, pytest.approx(outcome.loss, rel=1e-4)) for values, outcome in alone
    ]
