"""Protects video out of films: frames at even times inside one stretch, no moment on both sides, pans that move as said."""

from itertools import pairwise

import av
import numpy as np
import pytest

from tony.data import clips
from tony.data.clips import GAP_SECONDS, HELD_OUT_COPIES, Clips, decode, pan, stretches
from tony.errors import TonyError
from tony.media import Image, write
from tony.runs.data_recipes import ClipsData
from tony.tokens.pixels import PixelCodec
from tony.tokens.video import VideoCodec

FPS, SECONDS = 20, 12
STEP = 200 / (FPS * SECONDS)  # grey levels a frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A film, under a packaged name, whose frames are flat and get lighter evenly, so that a grey level is a time."""
    root = tmp_path_factory.mktemp("films")
    with av.open(str(root / "vtest.avi"), "w", format="avi") as file:
        stream = file.add_stream("ffv1", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 96, 80, "gray"
        for i in range(FPS * SECONDS):
            frame = av.VideoFrame.from_ndarray(np.full((80, 96), 20 + int(STEP * i), np.uint8), format="gray")
            for packet in stream.encode(frame):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    return root


@pytest.fixture(scope="module")
def source(folder):
    return Clips(ClipsData(path=str(folder), copies=4, frames=5, step=0.2))


def times(document):
    """The times of a clip's frames by their grey levels, to one frame."""
    return (document.parts[0].frames[:, 0, 0, 0].astype(float) - 20 + 0.5) / STEP / FPS


def test_a_film_is_read_whole(folder):
    film = decode(folder / "vtest.avi", "avi")
    assert len(film.frames) == FPS * SECONDS and film.fps == FPS and min(film.frames.shape[1:]) == clips.KEPT
    assert abs(int(film.frames[100, 5, 5]) - (20 + int(100 * STEP))) <= 1


def test_clips_are_even_in_time_and_splits_do_not_meet(source):
    spans = {}
    for split in ("train", "heldout"):
        shown = [times(d) for d in source.documents(split)]
        assert len(shown) == FPS * SECONDS / (FPS * 0.2) * (4 if split == "train" else HELD_OUT_COPIES)
        assert np.allclose(np.diff(shown), 0.2, atol=2.5 / FPS)
        assert len({round(t[0], 1) for t in shown}) > 5
        spans[split] = [(t[0], t[-1]) for t in shown]
    found = stretches(SECONDS, 0.25, 0.8 + 1 / FPS)
    for split, parts in spans.items():
        for begin, end in parts:
            assert any(a - 2 / FPS <= begin and end <= b + 2 / FPS for a, b in found[split])


def test_stretches_share_a_film_with_gaps():
    for seconds in (4.0, 10.0, 79.5):
        found = stretches(seconds, 0.25, 0.8)
        assert sum(b - a for a, b in found["heldout"]) == pytest.approx(max(0.25 * seconds, 0.8))
        edges = sorted([(a, b, s) for s, parts in found.items() for a, b in parts])
        assert edges[0][0] == 0 and edges[-1][1] == pytest.approx(seconds)
        for (_, end, one), (begin, _, other) in pairwise(edges):
            assert one != other and begin - end >= GAP_SECONDS - 1e-9
    assert stretches(1.5, 0.25, 0.8) == {"train": [(0.0, 1.5)], "heldout": []}


def test_clips_go_through_the_video_codec(source):
    video = next(source.documents("train")).parts[0]
    assert video.frames.shape == (5, 8, 8, 1)
    codec = VideoCodec(PixelCodec.grey(8, 256), 1.0)
    ids = codec.encode(video)
    assert len(ids) == 5 * 65
    np.testing.assert_array_equal(codec.decode(ids).frames, video.frames)


def test_the_same_seed_shows_the_same(folder):
    settings = ClipsData(path=str(folder), copies=1)
    first, second = ([d.parts[0] for d in Clips(settings, 3).documents("train")] for _ in range(2))
    assert first == second


def test_a_pan_over_a_ramp_moves_by_even_steps():
    """On a picture as light as its column a window's mean is its centre, so the camera's path can be read off."""
    ramp = np.tile(np.arange(240, dtype=np.uint8), (120, 1))
    recipe = ClipsData(frames=6, zoom=0.4)
    rng = np.random.default_rng(1)
    moved = []
    for _ in range(40):
        frames = pan(ramp, recipe, rng)
        assert frames.shape == (6, 8, 8) and frames.dtype == np.uint8
        centres = frames.mean((1, 2))
        assert np.ptp(np.diff(centres)) < 1.5
        moved.append(centres[-1] - centres[0])
    assert max(moved) > 20 and min(moved) < -20


def test_pans_cross_held_out_pictures_only_in_the_held_out_split(tmp_path):
    art = tmp_path / "openclipart/png"
    art.mkdir(parents=True)
    for i, name in enumerate("ant bee cat dog elk fox gnu hen ibis jay koala lion mole newt owl pig".split()):
        write(Image(np.full((30, 30, 3), 10 * i, np.uint8)), art / f"{name}.png")
    data = tmp_path / "skimage/data"
    data.mkdir(parents=True)
    for i, name in enumerate(("coins.png", "camera.png", "brick.png", "grass.png", "moon.png", "gravel.png", "coffee.png", "graf1.png", "chelsea.png", "astronaut.png", "chicky_512.png", "ihc.png")):  # fmt: skip
        write(Image(np.full((30, 30, 3), 170 + 5 * i, np.uint8)), data / name)
    source = Clips(ClipsData(path=str(tmp_path), sets=("pans",), copies=2))
    shades = {s: {int(d.parts[0].frames.max()) for d in source.documents(s)} for s in ("train", "heldout")}
    assert shades["train"] and shades["heldout"] and shades["train"].isdisjoint(shades["heldout"])


def test_missing_and_damaged_films_are_refused(tmp_path):
    with pytest.raises(TonyError, match="holds no film"):
        Clips(ClipsData(path=str(tmp_path))).films()
    (tmp_path / "tree.avi").write_bytes(b"nothing")
    with pytest.raises(TonyError, match="cannot be decoded"):
        Clips(ClipsData(path=str(tmp_path))).films()


def test_clips_longer_than_every_film_are_refused(folder):
    with pytest.raises(TonyError, match="fewer frames"):
        next(Clips(ClipsData(path=str(folder), frames=200)).documents("heldout"))
