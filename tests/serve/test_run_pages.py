"""The studio's second tab shows what the run folder holds, whatever state that folder is in."""

import json

import pytest
from fastapi.testclient import TestClient

from tony.runs.recipe import Recipe
from tony.serve import create_app


@pytest.fixture
def run(tmp_path):
    (tmp_path / "recipe.toml").write_text(Recipe().to_toml())
    (tmp_path / "evals").mkdir()
    return tmp_path


@pytest.fixture
def get(omni, run):
    with TestClient(create_app(omni, run), base_url="http://127.0.0.1") as client:
        yield lambda path: client.get(f"/studio/api/{path}").json()


def test_the_recipe_and_the_size_are_shown(get):
    info = get("run")
    assert info["recipe"] == Recipe().model_dump(mode="json")
    assert (info["model"], info["parameters"], info["problem"]) == ("fake", 1_234_567, None)


def test_the_curve_is_means_of_equal_stretches(get, run):
    rows = [
        {"step": i, "tokens": 10 * i, "loss": float(i), "loss_by_modality": {"text": 2.0 * i}, "seconds": i}
        for i in range(1, 1001)
    ]
    lines = [json.dumps(row) for row in rows]
    lines += ['{"step": 1001, "loss": NaN}', "[]", '{"step": 10']  # a NaN, no row, and a line cut short
    (run / "metrics.jsonl").write_text("\n".join(lines))
    curve = get("metrics?points=101")
    assert curve["logged"] == 1001 and curve["stretch"] == 10 and len(curve["points"]) == 101
    first, last = curve["points"][0], curve["points"][-1]
    assert (first["step"], first["loss"], first["loss_by_modality"]) == (10, 5.5, {"text": 11.0})
    assert last["loss"] is None and last["step"] == 1001


def test_evaluations_come_by_name_and_a_broken_one_is_named(get, run):
    (run / "evals" / "omni.json").write_text('{"suite": "omni", "cells": {"text->image": {"accuracy": NaN}}}')
    (run / "evals" / "omni.timings.json").write_text("{}")
    (run / "evals" / "broken.json").write_text("{")
    assert get("evals") == {
        "evals": {"omni": {"suite": "omni", "cells": {"text->image": {"accuracy": None}}}},
        "problems": ["broken.json cannot be read"],
    }


def test_an_empty_folder_and_no_folder_are_no_error(omni, tmp_path):
    for path in (None, tmp_path):
        with TestClient(create_app(omni, path), base_url="http://127.0.0.1") as client:
            assert client.get("/studio/api/metrics").json()["points"] == []
            assert client.get("/studio/api/evals").json() == {"evals": {}, "problems": []}
            assert bool(client.get("/studio/api/run").json()["problem"]) == (path is not None)


def test_the_page_loads_nothing_from_elsewhere(client):
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy and page.headers["x-content-type-options"] == "nosniff"
    from tony.serve.web import STUDIO

    for file in STUDIO.iterdir():
        answer = client.get(f"/studio/{file.name}")
        assert answer.status_code == 200
        for scheme in ("http://", "https://"):
            found = [line for line in answer.text.splitlines() if scheme in line]
            assert all("www.w3.org" in line or "127.0.0.1" in line or "https." in line for line in found), (
                found
            )
