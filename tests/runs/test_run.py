"""Protects: results stay with the recipe that made them, and files are written whole or not at all."""

import errno
import json
import os

import pytest

from tony.atomic import replacing, write_json
from tony.errors import TonyError
from tony.runs import Run, describe_environment, load_recipe


@pytest.fixture
def run(tmp_path):
    return Run.create(load_recipe({"name": "mine"}), tmp_path)


def test_the_same_recipe_opens_the_same_run(run, tmp_path):
    again = Run.create(load_recipe({"name": "mine"}), tmp_path)
    assert again.path == run.path == tmp_path / "mine" and again.name == "mine"
    assert again.recipe == load_recipe({"name": "mine"})


def test_another_recipe_is_refused_and_the_difference_named(run, tmp_path):
    before = (run.path / "recipe.toml").read_bytes()
    with pytest.raises(TonyError, match=r"model\.width, train\.lr") as error:
        Run.create(load_recipe({"name": "mine"}, ["model.width=256", "train.lr=1.0"]), tmp_path)
    assert "name=NAME" in str(error.value) and (run.path / "recipe.toml").read_bytes() == before


def test_a_folder_without_recipe_is_no_run(tmp_path):
    with pytest.raises(TonyError, match="no run here"):
        Run(tmp_path)


def test_metrics_come_back_without_a_line_cut_short(run):
    rows = [{"step": s, "loss": 1 / s} for s in (1, 2, 3)]
    assert run.metrics() == []
    run.truncate_metrics(0)
    for row in rows:
        run.log(row)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "loss": 0.')
    assert run.metrics() == rows
    run.truncate_metrics(2)
    run.log({"step": 3, "loss": 0.5})
    assert run.metrics() == [*rows[:2], {"step": 3, "loss": 0.5}]


def test_an_evaluation_says_where_it_came_from(run):
    assert run.evaluation("omni") is None
    run.save_evaluation("omni", {"cells": {}})
    found = run.evaluation("omni")
    assert found["suite"] == "omni" and found["recipe_hash"] == run.recipe.hash and found["model"] == "mine"
    assert {"commit", "created", "cells"} <= set(found)


def test_the_environment_names_versions_and_seed(run):
    found = describe_environment(run.recipe, "cpu")
    assert any(p.startswith("torch==") for p in found["packages"]) and found["seeds"] == {"run": 0}
    assert found["cores"] >= 1 and found["memory"] > 2**20
    json.dumps(found)


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), RuntimeError()]
)
def test_a_write_that_fails_leaves_the_old_file(tmp_path, failure):
    path = tmp_path / "value.json"
    write_json(path, [1])
    expected = TonyError if isinstance(failure, OSError) else type(failure)
    with pytest.raises(expected) as error, replacing(path) as temporary:
        temporary.write_text("[2")
        raise failure
    if expected is TonyError:
        assert str(path) in str(error.value) and "No space left" in str(error.value)
    assert json.loads(path.read_text()) == [1] and list(tmp_path.iterdir()) == [path]


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, [1])
    with replacing(path) as temporary:
        temporary.write_text("[2]")
        assert json.loads(path.read_text()) == [1]
    assert json.loads(path.read_text()) == [2] and path.stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_while_logging_is_one_line(run):
    (run.path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(TonyError, match=r"metrics\.jsonl.*No space left"):
        run.log({"step": 1})


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TonyError, match="cannot be written"):
        write_json(tmp_path / "file" / "value.json", 1)
    with pytest.raises(TonyError, match="cannot be written"):
        Run.create(load_recipe({}), tmp_path / "file")
