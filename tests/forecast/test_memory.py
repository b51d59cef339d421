"""Protects the memory figures: within 10% of torch's own memory tracker under fake tensors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tony.errors import TonyError
from tony.forecast.memory import Shape, memory

BASE = {
    "vocabulary": 32000, "width": 1024, "depth": 6, "heads": 8, "kv_heads": 8, "head_dim": 128, "hidden": 2752,
    "context": 2048,
}  # fmt: skip
LARGE = {"width": 8192, "heads": 64, "hidden": 28672, "vocabulary": 128256, "context": 8192}
CASES = [  # one for every place that the peak can be at
    {"shape": BASE, "sequences": 4, "shards": 8},
    {"shape": BASE | {"vocabulary": 4096, "depth": 4}, "sequences": 1, "shards": 1},
    {"shape": BASE | LARGE | {"depth": 3}, "sequences": 1, "shards": 128, "tensor_parallel": 8},
]
MORE = [
    {"shape": BASE | {"width": 2048, "heads": 16, "kv_heads": 4, "hidden": 5504}, "sequences": 2, "shards": 8},
    {"shape": BASE | {"width": 4096, "heads": 32, "kv_heads": 32, "hidden": 11008, "depth": 4}, "sequences": 4, "shards": 16, "tensor_parallel": 4},
    {"shape": BASE | {"width": 512, "heads": 4, "kv_heads": 4, "hidden": 1408, "depth": 12, "vocabulary": 4096, "context": 512}, "sequences": 1, "shards": 256},
    {"shape": BASE | LARGE | {"width": 4096, "heads": 32, "kv_heads": 8, "hidden": 14336, "context": 4096}, "sequences": 1, "shards": 1024},
    {"shape": BASE | {"vocabulary": 256, "depth": 16}, "sequences": 4, "shards": 8},
]  # fmt: skip


def tracked(cases):
    """Peaks of torch's tracker, in another process: it leaves a process group and patched modules behind."""
    script = Path(__file__).with_name("tracked.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(cases)],
        capture_output=True, text=True, check=False, timeout=900, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return [peak["Total"] for peak in json.loads(done.stdout.splitlines()[-1])]


def estimates(cases):
    return [
        memory(Shape(**c["shape"]), c["sequences"], c["shards"], c.get("tensor_parallel", 1)) for c in cases
    ]


def test_the_peak_is_within_10_percent_of_torchs_tracker():
    found = estimates(CASES)
    assert [m.at for m in found] == ["loss", "first block", "last block"]
    for estimate, measured in zip(found, tracked(CASES), strict=True):
        assert estimate.total == pytest.approx(measured, rel=0.1)


@pytest.mark.slow
def test_more_shapes_are_within_10_percent_of_torchs_tracker():
    for estimate, measured in zip(estimates(MORE), tracked(MORE), strict=True):
        assert estimate.total == pytest.approx(measured, rel=0.1)


def test_parameters_are_counted_as_the_model_has_them():
    from tony.model import Transformer, TransformerConfig

    shape = Shape(width=64, depth=2, heads=4, kv_heads=2, head_dim=16, hidden=96, vocabulary=50, context=32)
    model = Transformer(TransformerConfig(**shape.to_dict()))
    assert shape.n == model.num_parameters_without_embeddings
    assert shape.n + shape.embeddings == model.num_parameters


def test_a_split_that_does_not_divide_is_refused():
    with pytest.raises(TonyError, match="tensor_parallel=3 does not divide heads=8"):
        memory(Shape(**BASE), 1, 8, 3)
