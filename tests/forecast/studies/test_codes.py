"""Protects the study of codes: one ladder on pixels, one on codes of the same pictures, nats a picture by the ids of each."""

import gzip
import struct

import numpy as np
import pytest

from tony.errors import TonyError
from tony.forecast.climb import Climber
from tony.forecast.ladder import load_ladder
from tony.forecast.studies import codes
from tony.train.progress import Silent

SMALL = (
    "forecast.sizes=4", "forecast.smallest=8", "forecast.tokens_per_parameter=[4]", "forecast.ray=4", "forecast.beyond=2",
    "forecast.seeds=1", "forecast.growth=0", "model.head_dim=4", "train.compile=false", "forecast.gap=5.0", "forecast.heldout_tokens=2000", "forecast.allowance=1e10", "model.depth=1", "train.batch_tokens=680",
    "data.copies=1", "name=small", "train.precision=float32", "train.device=cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def climber(repository, tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("fashion"), np.random.default_rng(0)
    for name, count in (("train-images-idx3-ubyte.gz", 200), ("t10k-images-idx3-ubyte.gz", 60)):
        pixels = (rng.random((count, 28, 28)) * np.linspace(0, 255, 28)).astype(np.uint8)
        header = b"\0\0\x08\x03" + struct.pack(">III", count, 28, 28)
        (folder / name).write_bytes(gzip.compress(header + pixels.tobytes()))
    ladder = load_ladder(repository / "recipes" / "ladders" / "images.toml", (*SMALL, f"data.path={folder}"))
    return Climber(ladder, tmp_path_factory.mktemp("runs"), Silent())


@pytest.fixture(scope="module")
def finding(climber):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codes, "CODES", codes.CODES.model_copy(update={"steps": 2}))
        return codes.run(climber)


def test_both_ladders_have_the_same_sizes(climber, finding):
    sizes = {name: [row[1] for row in finding.rows if row[0] == name] for name in ("pixels", "codes")}
    assert sizes["pixels"] == sizes["codes"] == sorted(rung.n for rung in climber.ladder.rungs)


def test_a_picture_costs_its_ids_and_the_mark_that_ends_it(climber, finding):
    """The sum over a document of its losses, counted anew from the held-out documents of each ladder."""
    shard = climber.material.heldout
    counted = {int(shard.tokens(i).counted.sum()) for i in range(len(shard))}
    assert counted == {8 * 8 + 1}
    for row in finding.rows:
        assert row[4] == pytest.approx(65 * row[3])  # 64 pixels, and 8 x 8 codes
        constants = finding.laws[f"L(N), {row[0]}, nats an id"]
        assert row[5] == pytest.approx(65 * (row[3] - constants["E"]))


def test_laws_in_nats_a_picture_are_those_in_nats_an_id(finding):
    for name in ("pixels", "codes"):
        of_id, of_picture = (finding.laws[f"L(N), {name}, nats {unit}"] for unit in ("an id", "a picture"))
        for n in (1e4, 1e6):
            small = of_id["E"] + (of_id["N0"] / n) ** of_id["alpha"]
            large = of_picture["E"] + (of_picture["N0"] / n) ** of_picture["alpha"]
            assert large == pytest.approx(65 * small)


def test_the_paper_stands_beside(finding):
    """Table 3 of the paper prints 2026 nats of 16x16 pictures and 1047 of 16x16 codes by L(C); by L(N) 2.64 and 3.99 an id."""
    told = " ".join(finding.answers)
    assert (
        f"768 ids a picture, {768 * 2.64:.0f} nats" in told
        and f"256 ids a picture, {256 * 3.99:.0f} nats" in told
    )


def test_ladders_that_it_cannot_read_are_refused(repository, tmp_path):
    for name, overrides, message in (
        ("code", (), "takes pictures as pixels"),
        ("images", ("model.context=67",), "too short for the 68 ids"),
    ):
        ladder = load_ladder(repository / "recipes" / "ladders" / f"{name}.toml", overrides)
        with pytest.raises(TonyError, match=message):
            codes.run(Climber(ladder, tmp_path, Silent()))
