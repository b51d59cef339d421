"""Protects: a missing package and settings out of range are one line each, before anything is loaded."""

import importlib.util

import pytest

from tony.errors import TonyError
from tony.evals.harness import HarnessSettings, evaluate_harness


def test_a_missing_package_is_said_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TonyError, match=r"pip install 'tony-omni\[lm-eval\]'"):
        evaluate_harness(None, ["mine.yaml"], HarnessSettings(), tmp_path / "evals")
    assert not (tmp_path / "evals").exists()


@pytest.mark.parametrize("settings", [{"shots": -1}, {"items": 0}, {"precision": "int4"}])
def test_settings_out_of_range_are_named(settings):
    with pytest.raises(TonyError, match=next(iter(settings))):
        HarnessSettings(**settings)
