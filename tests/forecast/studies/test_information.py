"""Protects the study of information: the longest finished run of each size, read again, gone on with, and its figures."""

import gzip
import json
import struct

import numpy as np
import pytest
from typer.testing import CliRunner

from tony.cli.forecast import app
from tony.errors import TonyError
from tony.forecast.climb import Climber
from tony.forecast.ladder import load_ladder
from tony.forecast.studies import information, mutual, study_named
from tony.runs import Run
from tony.train.loop import Trainer
from tony.train.progress import Silent


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Overrides of a ladder recipe that make it one of seconds: random blobs with classes, and tiny models."""
    folder = tmp_path_factory.mktemp("package")
    rng = np.random.default_rng(0)
    for name, count in (("train", 400), ("t10k", 80)):
        write_idx(folder / f"{name}-images-idx3-ubyte.gz", rng.integers(256, size=(count, 28, 28)))
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", rng.integers(10, size=count))
    return (
        "forecast.sizes=4", "forecast.smallest=8", "forecast.tokens_per_parameter=[2, 4]", "forecast.ray=4",
        "forecast.gap=5.0", "forecast.heldout_tokens=2400", "forecast.beyond=2", "forecast.allowance=1e10",
        "model.depth=1", "data.copies=1", f"data.path={folder}", "train.precision=float32",
    )  # fmt: skip


@pytest.fixture(scope="module", params=["text-to-image", "image-to-text"])
def climbed(request, words, repository, tmp_path_factory):
    """A climbed ladder, whose fine-tunings take 20 steps."""
    path = repository / "recipes" / "ladders" / f"{request.param}.toml"
    climber = Climber(load_ladder(path, words), tmp_path_factory.mktemp("runs"), Silent())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(information, "STEPS", 20)
        patch.setattr(mutual, "ASKED", 2)
        yield path, climber, climber.climb()


def test_points_have_the_loss_of_each_modality(climbed):
    _, climber, points = climbed
    m = climber.material
    counts = m.heldout.modality_counts(m.vocabulary, counted_only=True)
    for point in points:
        by = point["loss_by_modality"]
        assert by.keys() == {"text", "image"}
        whole = sum(by[name] * counts[name] for name in by) / sum(counts[name] for name in by)
        assert point["loss"] == pytest.approx(whole, rel=0.02)  # of a part of the held-out documents


def test_the_study_through_the_command_line_and_again(climbed, words, monkeypatch):
    path, climber, _ = climbed
    call = ["study", "information", str(path), *words, "--runs", str(climber.root), "--json"]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.exception
    result = json.loads(done.stdout)
    sizes = sorted({rung.n for rung in climber.ladder.rungs})
    assert [row[0] for row in result["rows"]] == sizes  # the longest run of each
    tuned = {run.name.removesuffix("-blanks") for run in climber.root.glob("*-w*-blanks")}
    assert tuned == {rung.recipe.name for rung in climber.ladder.rungs if rung.recipe.name.endswith("-m4")}
    table = [dict(zip(result["columns"], row, strict=True)) for row in result["rows"]]
    for row in table:
        assert row["infogain"] == pytest.approx(row["I"] / row["L(text)"])
    ratios = [row["untuned"] / row["I"] for row in table]
    assert f"{min(ratios):.2f} to {max(ratios):.2f} times as large" in " ".join(result["answers"])
    law = result["laws"]["I = slope log(N/n0)"]
    slope = np.polyfit(np.log(sizes), [row["I"] for row in table], 1)[0]
    assert law["slope"] == pytest.approx(slope)
    monkeypatch.setattr(Trainer, "fit", lambda *_, **__: pytest.fail("trained again"))
    assert json.loads(CliRunner().invoke(app, call).stdout) == result


def test_what_was_cut_short_goes_on(climbed, monkeypatch):
    """Stopped in the middle of a fine-tuning, the study ends as it would have."""
    _, climber, _ = climbed
    before = study_named("information")(climber).rows
    name = f"{climber.ladder.rungs[-1].recipe.name}-blanks"
    run = Run(climber.root / name)
    for file in (*run.checkpoints.iterdir(), run.path / "information.json"):
        file.unlink()
    whole = Trainer.fit
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "fit", lambda trainer: whole(trainer, until=8))
        patch.setattr(Trainer, "finish", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            study_named("information")(climber)
    np.testing.assert_allclose(
        np.array(study_named("information")(climber).rows), np.array(before), rtol=1e-3, atol=1e-3
    )


def test_without_a_finished_rung_or_captions_it_says_what_to_do(climbed, words, repository, tmp_path):
    _, climber, _ = climbed
    with pytest.raises(TonyError, match="train the ladder first"):
        study_named("information")(Climber(climber.ladder, tmp_path, Silent()))
    pictures = load_ladder(repository / "recipes" / "ladders" / "images.toml")
    with pytest.raises(TonyError, match=r"text-to-image\.toml"):
        study_named("information")(Climber(pictures, tmp_path, Silent()))
