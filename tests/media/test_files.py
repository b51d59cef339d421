"""Whatever is wrong with a file is one line that names it and the remedy, at once and silently otherwise."""

import io
import os
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tony.errors import TonyError
from tony.media import Audio, Image, Limits, Text, Video, decode, encode, read, write

RNG = np.random.default_rng(0)
NOISE = Image(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8))
TONE = Audio((0.3 * np.sin(np.arange(16_000) * 0.2)).astype(np.float32), 16_000)
CLIP = Video(RNG.integers(0, 256, (8, 24, 24, 3), dtype=np.uint8), 8)
FILES = {
    **{kind: encode(NOISE, kind) for kind in ("png", "jpeg")},
    **{kind: encode(TONE, kind) for kind in ("wav", "flac", "ogg", "opus", "mp3")},
    **{kind: encode(CLIP, kind) for kind in ("mp4", "webm", "mkv", "gif")},
}


@pytest.fixture(autouse=True)
def nothing_is_printed(capfd, recwarn):
    yield
    printed = capfd.readouterr()
    assert printed.err == "" and printed.out == ""
    assert not list(recwarn)


def refused(call) -> str:
    started = time.monotonic()
    with pytest.raises(TonyError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and ": " in message  # what was wrong: the remedy
    assert time.monotonic() - started < 2
    return message


@pytest.mark.parametrize("kind", FILES)
def test_every_format_reads_under_its_name_and_without_one(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(FILES[kind])
    part = read(path)
    assert part == decode(FILES[kind]) == decode(FILES[kind], kind)
    assert part.modality in ("image", "audio", "video")


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_truncated(tmp_path, kind, share):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(FILES[kind][: int(len(FILES[kind]) * share)])
    assert f"a.{kind}" in refused(lambda: read(path))


@pytest.mark.parametrize("kind", FILES)
def test_empty_and_noise(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    path.touch()
    assert "is empty" in refused(lambda: read(path))
    path.write_bytes(b"\0" + RNG.bytes(5000))
    assert "damaged or mislabelled" in refused(lambda: read(path))
    assert "is empty" in refused(lambda: decode(b"", kind))


@pytest.mark.parametrize("kind", FILES)
def test_mislabelled(tmp_path, kind):
    wrong = "png" if kind != "png" else "wav"
    path = tmp_path / f"a.{wrong}"
    path.write_bytes(FILES[kind])
    assert "is mislabelled" in refused(lambda: read(path))
    mime = "image/png" if wrong == "png" else "audio/wav"
    assert f"sent as {mime} is mislabelled" in refused(lambda: decode(FILES[kind], mime))
    path = tmp_path / "a.txt"
    path.write_bytes(FILES[kind])
    assert "not UTF-8 text" in refused(lambda: read(path))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.integers(0, 2**32 - 1))
def test_damaged_bytes_never_raise_anything_else(kind, seed):
    rng = np.random.default_rng(seed)
    data = bytearray(FILES[kind])
    for _ in range(rng.integers(1, 30)):
        data[rng.integers(0, len(data))] = rng.integers(0, 256)
    try:
        decode(bytes(data), kind)
    except TonyError as error:
        assert "\n" not in str(error)


def test_a_two_gigabyte_wav_is_refused_at_once(tmp_path):
    path = tmp_path / "huge.wav"
    size = 2**31 - 1

    def header(rate, channels, bits):
        block = channels * bits // 8
        return b"RIFF" + struct.pack("<I", size - 8) + b"WAVEfmt " + struct.pack(
            "<IHHIIHH", 16, 1, channels, rate, rate * block, block, bits
        ) + b"data" + struct.pack("<I", size - 44)  # fmt: skip

    path.write_bytes(header(16_000, 1, 16))
    os.truncate(path, size)  # sparse: it takes no room on the disk
    assert "huge.wav has 2,147,483,647 bytes" in refused(lambda: read(path))
    large = Limits(max_file_bytes=2**32)
    assert "huge.wav lasts 67,109 s" in refused(lambda: read(path, limits=large))
    with path.open("r+b") as file:
        file.write(header(384_000, 1, 8))
    assert "huge.wav lasts 5,592 s" in refused(lambda: read(path, limits=large))
    with path.open("r+b") as file:
        file.write(header(700_000, 1, 8))
    assert "samples, over the limit" in refused(lambda: read(path, limits=large))


def png_header(width, height) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + b"\0\0\0\0IDAT"
    )


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (10_000, 10_000), (2**31 - 1, 2**31 - 1)])
def test_a_huge_picture_is_refused_by_its_header(tmp_path, width, height):
    path = tmp_path / "huge.png"
    path.write_bytes(png_header(width, height))
    assert f"huge.png is {width:,} x {height:,} pixels, over the limit" in refused(lambda: read(path))


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "BMP", "WEBP"])
def test_huge_pictures_of_other_kinds(kind):
    data = io.BytesIO()
    PIL.Image.new("L", (300, 200)).save(data, kind)
    limits = Limits(max_pixels=59_999)
    assert "300 x 200 pixels" in refused(lambda: decode(data.getvalue(), limits=limits))


def test_limits_of_sound_and_clips():
    limits = Limits(max_seconds=0.5)
    for kind in ("wav", "flac", "ogg", "opus", "mp3"):
        assert "lasts 1 s, over the limit" in refused(
            lambda kind=kind: decode(FILES[kind], kind, limits=limits)
        )
    assert "lasts 1 s" in refused(lambda: decode(bytes(48_000), "pcm16", limits=limits))
    for kind in ("mp4", "webm", "mkv", "gif"):
        for name, words in (
            ({"max_frames": 7}, "frames, "),
            ({"max_clip_seconds": 0.9}, "lasts 1 s"),
            ({"max_pixels": 500}, "24 x 24 pixels"),
            ({"max_clip_pixels": 4000}, "pixels in all"),
        ):
            limits = Limits(**name)
            message = refused(lambda kind=kind, limits=limits: decode(FILES[kind], kind, limits=limits))
            assert words in message
    limits = Limits(max_bytes=100)
    assert "over the limit of 100" in refused(lambda: decode(FILES["png"], limits=limits))


def test_a_sound_is_no_clip_and_the_other_way_round():
    assert "holds no sound" in refused(lambda: decode(FILES["webm"], "audio/webm"))
    assert "it holds sound where a picture" in refused(lambda: decode(FILES["wav"], modality="image"))
    assert "it holds a picture where a clip" in refused(lambda: decode(FILES["png"], modality="video"))


def test_sound_without_samples_or_numbers():
    assert "holds no sound" in refused(
        lambda: decode(encode(Audio(np.zeros(0, np.float32), 8000), "wav"), "wav")
    )
    assert "odd number of bytes" in refused(lambda: decode(b"abc", "pcm16"))
    floats = struct.pack("<f", float("nan")) * 4
    wav = (
        b"RIFF" + struct.pack("<I", 52) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 3, 1, 8000, 32_000, 4, 32)
    )
    assert "NaN" in refused(lambda: decode(wav + b"data" + struct.pack("<I", 16) + floats, "wav"))


def test_a_recorder_that_could_not_go_back_to_fill_in_the_size():
    data = bytearray(FILES["wav"])
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = b"\xff\xff\xff\xff"
    assert decode(bytes(data), "wav") == decode(FILES["wav"], "wav")


def test_a_gif_without_its_last_byte():
    assert FILES["gif"].endswith(b"\x3b")
    assert decode(FILES["gif"][:-1], "gif") == decode(FILES["gif"])  # some programs leave it out


def test_paths_that_are_no_files(tmp_path):
    assert "does not exist" in refused(lambda: read(tmp_path / "a.png"))
    assert "is a folder" in refused(lambda: read(tmp_path))
    os.mkfifo(tmp_path / "pipe.wav")
    assert "not an ordinary file" in refused(lambda: read(tmp_path / "pipe.wav"))
    assert "not an ordinary file" in refused(lambda: read("/dev/zero"))
    assert "cannot be opened" in refused(lambda: read("a\0b.png"))
    (tmp_path / "a\n\x1b[31m.png").write_bytes(b"hello")
    assert "a??[31m.png" in refused(lambda: read(tmp_path / "a\n\x1b[31m.png"))
    (tmp_path / "a.xyz").write_bytes(b"hello")
    assert "of no kind that Tony knows" in refused(lambda: read(tmp_path / "a.xyz"))


def test_text(tmp_path):
    write(Text("sept, na\u00efve \u2713\r\n"), tmp_path / "a.txt")
    assert read(tmp_path / "a.txt") == Text("sept, na\u00efve \u2713\r\n")
    assert decode(b"\xef\xbb\xbfone", "text/plain; charset=utf-8") == Text("one")
    assert decode(b"x = 1\n", "a.py") == Text("x = 1\n")
    assert "not UTF-8 text (byte 2)" in refused(lambda: decode(b"na\xefve", "a.txt"))
    with pytest.raises(TonyError, match="surrogate"):
        Text("\ud83d")
    with pytest.raises(TonyError, match="give a str"):
        Text(b"one")


def test_writing_is_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write(NOISE, path)
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert "cannot be written as 'wav': use png, jpeg" in refused(lambda: write(NOISE, tmp_path / "a.wav"))
    assert "a.png cannot be written" in refused(lambda: write(NOISE, tmp_path / "nowhere" / "a.png"))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    black = Image(np.zeros((1, 1, 1), np.uint8))
    assert "a.png cannot be written (No space left on device)" in refused(lambda: write(black, path))
    assert read(path) == NOISE and [p.name for p in tmp_path.iterdir()] == ["a.png"]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_import_is_light():
    code = (
        "import sys, numpy, time; t = time.perf_counter(); import tony.media; t = time.perf_counter() - t;"
        "print(t, [m for m in ('torch', 'av', 'PIL', 'soundfile', 'soxr', 'scipy') if m in sys.modules])"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    assert all(run.stdout.split(maxsplit=1)[1].strip() == "[]" for run in runs)
    assert min(float(run.stdout.split()[0]) for run in runs) < 0.1
