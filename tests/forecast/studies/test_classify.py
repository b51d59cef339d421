"""Protects fine-tuning to classes: it begins as the generative model, reaches all weights, learns what can be learned."""

import gzip
import json
import struct

import numpy as np
import pytest
import torch

from tony.errors import TonyError
from tony.forecast.climb import Climber
from tony.forecast.ladder import load_ladder
from tony.forecast.studies import classify
from tony.forecast.studies.classify import Classifier, fine_tune, grade, labelled, picture_ids
from tony.model import Segments
from tony.train.progress import Silent

SMALL = (
    "forecast.sizes=4", "forecast.smallest=8", "forecast.tokens_per_parameter=[4]", "forecast.ray=4", "forecast.beyond=2",
    "forecast.seeds=1", "forecast.growth=0", "model.head_dim=4", "train.compile=false", "forecast.gap=5.0", "forecast.heldout_tokens=2000", "forecast.allowance=1e10", "model.depth=1", "train.batch_tokens=680",
    "data.copies=1", "name=small", "train.precision=float32", "train.device=cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The package in its own layout: pictures of noise, darker in the half that their class (0 or 1) says."""
    folder, rng = tmp_path_factory.mktemp("fashion"), np.random.default_rng(0)
    for name, count in (("train", 300), ("t10k", 100)):
        labels = rng.integers(0, 2, count, dtype=np.uint8)
        pixels = rng.integers(100, 256, (count, 28, 28), dtype=np.uint8)
        pixels[labels == 0, :14] //= 4
        pixels[labels == 1, 14:] //= 4
        images = b"\0\0\x08\x03" + struct.pack(">III", count, 28, 28) + pixels.tobytes()
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        classes = b"\0\0\x08\x01" + struct.pack(">I", count) + labels.tobytes()
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(classes))
    return folder


@pytest.fixture(scope="module")
def climber(repository, folder, tmp_path_factory):
    ladder = load_ladder(repository / "recipes" / "ladders" / "images.toml", (*SMALL, f"data.path={folder}"))
    return Climber(ladder, tmp_path_factory.mktemp("runs"), Silent())


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    settings = {"train": 200, "heldout": 80, "epochs": 4, "batch": 20}
    monkeypatch.setattr(classify, "SETTINGS", classify.SETTINGS | settings)
    monkeypatch.setattr(classify, "RATES", (1e-5, 5e-3))


def test_it_reads_pictures_as_the_generative_model_does(climber):
    """What is pooled are the states from which each pixel's successor is predicted; no class is likelier at first."""
    rung = climber.ladder.rungs[0]
    trainer = climber.trained(rung)
    ids, classes = labelled(climber, "heldout")
    assert ids.shape == (80, 2 + 64)
    start = climber.material.vocabulary
    assert ids[0, :2].tolist() == [start.control("start"), start.begin("image")]
    generative = trainer.model.trunk(ids[:5], Segments.from_lengths([[66]] * 5, 66)).detach()
    classifier = Classifier(climber.trained(rung).model)
    expected = generative.view(5, 66, -1)[:, 2:].mean(1)
    torch.testing.assert_close(classifier.pooled(ids[:5]), expected)
    assert grade(classifier, ids, classes)["loss"] == pytest.approx(np.log(10))


def test_from_nothing_is_another_start(climber):
    ids, _ = labelled(climber, "heldout")
    rung = climber.ladder.rungs[0]
    trained, fresh = Classifier(climber.trained(rung).model), Classifier(climber.trainer(rung.recipe).model)
    assert not torch.allclose(trained.pooled(ids), fresh.pooled(ids))


def test_the_gradient_reaches_all_weights_but_the_readout(climber):
    ids, classes = labelled(climber, "train")
    classifier = Classifier(climber.trained(climber.ladder.rungs[0]).model)
    torch.nn.init.normal_(classifier.head.weight)
    torch.nn.functional.cross_entropy(classifier(ids), classes).backward()
    for name, parameter in classifier.named_parameters():
        if name == "model.readout.weight":
            assert parameter.grad is None
        else:
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_classes_that_can_be_told_apart_are(climber):
    data = {split: labelled(climber, split) for split in ("train", "heldout")}
    classifier = fine_tune(climber.trained(climber.ladder.rungs[1]), *data["train"], 5e-3, epochs=10)
    found = grade(classifier, *data["heldout"])
    assert found["error"] == 0 and found["loss"] < 0.2
    assert classifier.head.out_features == 2


def test_ids_end_with_the_last_pixel(climber):
    vocabulary = climber.material.vocabulary
    pixels = np.zeros((1, 8, 8), np.uint8)
    pixels[0, 7, 7] = 200
    assert picture_ids(vocabulary, pixels)[0, -1] == vocabulary.ranges["image"].start + 200


def test_the_study_compares_every_size_and_goes_on(climber, monkeypatch):
    finding = classify.run(climber)
    assert [row[0] for row in finding.rows] == sorted(rung.n for rung in climber.ladder.rungs)
    assert (
        "learning rates: 0.005 pretrained, 0.005 from nothing" in finding.warnings
    )  # with 1e-5 nothing is learned
    assert {c.name for c in finding.curves} == set(classify.STARTS) and len(finding.laws) == 4
    assert all(0 <= row[3] <= 1 and 0 <= row[5] <= 1 for row in finding.rows)
    json.dumps(finding.to_dict())
    monkeypatch.setattr(classify, "fine_tune", lambda *_: pytest.fail("tuned again"))
    assert classify.run(climber) == finding


def test_pictures_without_labels_are_refused(repository, tmp_path):
    ladder = load_ladder(repository / "recipes" / "ladders" / "clipart.toml")
    with pytest.raises(TonyError, match="only Fashion-MNIST has labels"):
        classify.run(Climber(ladder, tmp_path, Silent()))
