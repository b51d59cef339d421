"""Protects data that comes in packages: pictures as they are in the file, crops inside them, splits that do not meet."""

import gzip
import struct

import numpy as np
import pytest

from tony.data.code import Code
from tony.data.packages import debian_package
from tony.data.pictures import Pictures, read_idx
from tony.errors import TonyError
from tony.runs.data_recipes import CodeData, PicturesData


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, count in (("train-images-idx3-ubyte.gz", 5), ("t10k-images-idx3-ubyte.gz", 3)):
        pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        np.save(tmp_path / f"{count}.npy", pixels)
        header = b"\0\0\x08\x03" + struct.pack(">III", count, 28, 28)
        (tmp_path / name).write_bytes(gzip.compress(header + pixels.tobytes()))
    return tmp_path


def test_idx_files_are_read_as_written(folder):
    np.testing.assert_array_equal(read_idx(folder / "train-images-idx3-ubyte.gz"), np.load(folder / "5.npy"))


def test_every_picture_comes_once_a_copy_as_a_crop_of_itself(folder):
    source = Pictures(PicturesData(path=str(folder), copies=3, crop=4))
    shown = [d.parts[0].pixels[..., 0] for d in source.documents("train")]
    assert len(shown) == 15 and len(list(source.documents("heldout"))) == 3
    originals = np.load(folder / "5.npy")
    found = np.zeros(5, int)
    for crop in shown:
        side = len(crop)
        assert 24 <= side <= 28 and crop.shape == (side, side)
        views = [np.lib.stride_tricks.sliding_window_view(p, (side, side)) for p in originals]
        hits = [any((v == c).all((-1, -2)).any() for c in (crop, crop[:, ::-1])) for v in views]
        assert sum(hits) == 1
        found += hits
    assert (found == 3).all()


def test_the_same_seed_shows_the_same(folder):
    first, second = (
        [d.parts[0].pixels for d in Pictures(PicturesData(path=str(folder)), seed=4).documents("train")]
        for _ in range(2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_damaged_and_missing_files_are_refused(folder, tmp_path):
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"nothing")
    with pytest.raises(TonyError, match="cannot be read"):
        next(Pictures(PicturesData(path=str(folder))).documents("train"))
    with pytest.raises(TonyError, match="holds no train-images"):
        next(Pictures(PicturesData(path=str(tmp_path / "none"))).documents("train"))


def test_a_package_that_cannot_be_fetched_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(TonyError, match="apt-get download dataset-fashion-mnist, then dpkg-deb -x"):
        debian_package("dataset-fashion-mnist", "0" * 64, tmp_path)


def test_the_standard_library_is_split_by_file():
    source = Code(CodeData(held_out=0.1))
    train, heldout = ([d.parts[0].text for d in source.documents(split)] for split in ("train", "heldout"))
    assert len(train) > 300 and 0.04 < len(heldout) / (len(train) + len(heldout)) < 0.16
    assert not set(train) & set(heldout)
    assert any("def " in text for text in heldout)
