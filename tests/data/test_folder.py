"""A person's folder as documents: what belongs together, what is held out, what is said of what cannot be read."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tony.data.fit import fit
from tony.data.folder import FolderSource
from tony.data.names import split_name
from tony.data.orders import sections
from tony.errors import TonyError
from tony.media import Audio, Document, Image, Text, Video, write, write_jsonl
from tony.runs.data_recipes import FolderData
from tony.tokens.pixels import PixelCodec
from tony.tokens.text import TextCodec
from tony.tokens.vocabulary import Vocabulary
from tony.train.prepare import encode_documents
from tony.train.progress import Silent

RATE = 16_000


def picture(rng: np.random.Generator, side: int = 12) -> Image:
    return Image(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))


def sound(rng: np.random.Generator, seconds: float = 0.2, rate: int = RATE) -> Audio:
    return Audio(rng.uniform(-0.3, 0.3, int(seconds * rate)).astype(np.float32), rate)


def fill(folder: Path, count: int, seed: int = 0) -> Path:
    """Examples item0 to item<count - 1>: a picture, English and French words, an English and a French sound."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        write(picture(rng), folder / f"item{i}.png")
        write(sound(rng), folder / f"item{i}.wav")
        write(sound(rng), folder / f"item{i}.fr.wav")
        (folder / f"item{i}.txt").write_text(f"thing {i}\n")
        (folder / f"item{i}.fr.txt").write_text(f"chose {i}\n")
    return folder


def source(folder: Path, seed: int = 0, **values) -> FolderSource:
    return FolderSource(FolderData(path=str(folder), **values), seed)


def stems(folder: FolderSource, split: str) -> set[str]:
    return {example.stem for example in folder.examples[split]}


def test_names_say_stem_and_language():
    cases = {
        "cat.txt": ("cat", None), "cat.fr.txt": ("cat", "fr"), "cat.pt_BR.wav": ("cat", "pt-BR"),
        "v1.2.png": ("v1.2", None), "notes.old.txt": ("notes.old", None), "fr.txt": ("fr", None),
    }  # fmt: skip
    assert {name: split_name(name) for name in cases} == cases


def test_files_of_one_stem_are_one_example_also_in_sub_folders(tmp_path):
    fill(tmp_path / "a", 3)
    fill(tmp_path / "b", 3, seed=1)
    (tmp_path / ".hidden.txt").write_text("not this")
    found = source(tmp_path)
    assert stems(found, "train") | stems(found, "heldout") == {f"{f}/item{i}" for f in "ab" for i in range(3)}
    assert all(len(example.files) == 5 for side in found.examples.values() for example in side)


def test_documents_keep_an_example_together_and_ask_for_its_language(tmp_path):
    fill(tmp_path, 10)
    documents = list(source(tmp_path, orders=12).documents("train"))
    assert len(documents) == 12 * len(source(tmp_path).examples["train"])
    seen_tags, openings = set(), set()
    for document in documents:
        roles = [part.role for part in document]
        assert roles == sorted(roles, reverse=True) and set(roles) == {"user", "assistant"}
        tags = [part for part in document if isinstance(part, Text) and part.text.endswith(":")]
        assert all(part.role == "user" and not part.counted for part in tags)
        assert all(part.counted for part in document if part not in tags)
        words = [part for part in document if isinstance(part, Text) and part not in tags]
        assert len({part.text.split()[1] for part in words}) <= 1  # one number: one example
        answered = [part for part in words if part.role == "assistant"]
        for part in answered:
            assert part.text.split()[0] == ("chose" if tags else "thing")
        assert len({part.text for part in words}) == len(words)  # a translation is into another language
        seen_tags |= {part.text for part in tags}
        openings.add(document.parts[0].modality)
    assert seen_tags == {"fr:"} and openings == {"text", "image", "audio"}


def test_the_same_documents_in_the_same_order_every_time(tmp_path):
    fill(tmp_path, 6)
    first, second = (list(source(tmp_path).documents("train")) for _ in range(2))
    assert first == second
    assert first != list(source(tmp_path, seed=1).documents("train"))


def test_forms_are_shown_by_turns_in_training_only(tmp_path):
    fill(tmp_path, 8)
    plain, varied = source(tmp_path, orders=6), source(tmp_path, orders=6, variants=3)

    def media(folder, split):
        parts = (part for document in folder.documents(split) for part in document)
        return {np.asarray(getattr(p, "pixels", getattr(p, "samples", ()))).tobytes() for p in parts} - {b""}

    assert media(plain, "heldout") == media(varied, "heldout")
    before, after = media(plain, "train"), media(varied, "train")
    assert before & after and 2 * len(before) < len(after) <= 3 * len(before)
    assert not after & media(varied, "heldout")


def test_the_split_is_by_example_and_does_not_depend_on_other_files(tmp_path):
    for i in range(60):
        (tmp_path / f"a{i}.txt").write_text(f"text number {i}")
    before = source(tmp_path, held_out=0.2)
    assert not stems(before, "train") & stems(before, "heldout")
    assert 4 <= len(stems(before, "heldout")) <= 22  # 12 expected; 3 standard deviations of 3.1
    for i in range(40):
        (tmp_path / f"b{i}.txt").write_text(f"another text {i}")
    after = source(tmp_path, held_out=0.2)
    assert stems(before, "heldout") == {stem for stem in stems(after, "heldout") if stem.startswith("a")}


def test_identical_files_never_stand_on_both_sides(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(30):
        write(picture(rng), tmp_path / f"a{i}.png")
        shutil.copy(tmp_path / f"a{i}.png", tmp_path / f"z{i}.png")
        (tmp_path / f"a{i}.txt").write_text("the same caption everywhere")
    found = source(tmp_path, held_out=0.3)
    held = stems(found, "heldout")
    assert 0 < len(held) < 60
    assert {f"a{i}" in held for i in range(30) if f"z{i}" in held} == {True}
    assert {f"z{i}" in held for i in range(30) if f"a{i}" in held} == {True}


def test_two_examples_are_enough_and_one_is_too_few(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    with pytest.raises(TonyError, match="too few"):
        source(tmp_path)
    (tmp_path / "b.txt").write_text("two")
    found = source(tmp_path)
    assert len(found.examples["train"]) == len(found.examples["heldout"]) == 1


def test_unreadable_files_are_left_out_and_named(tmp_path):
    fill(tmp_path, 8)
    found = source(tmp_path)
    train = sorted(stems(found, "train"))
    (tmp_path / f"{train[0]}.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (tmp_path / f"{train[1]}.fr.txt").write_bytes(b"")
    (tmp_path / f"{train[2]}.txt").write_bytes("caf\u00e9".encode("latin-1"))
    found = source(tmp_path)
    documents = list(found.documents("train"))
    assert len(documents) == 2 * len(train)
    assert len(found.skipped) == 3
    for name in (f"{train[0]}.png", f"{train[1]}.fr.txt", f"{train[2]}.txt"):
        assert any(name in line for line in found.skipped)
    assert len(found.images()) == len(train) - 1
    assert len(found.skipped) == 3  # each is said once


@pytest.mark.parametrize("name", ["missing", "file", "empty", "other"])
def test_a_folder_without_examples_is_refused_in_one_line(tmp_path, name):
    path = tmp_path / name
    if name == "file":
        path.write_text("x")
    elif name != "missing":
        path.mkdir()
    if name == "other":
        (path / "letter.docx").write_bytes(b"x")
    with pytest.raises(TonyError) as error:
        source(path)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_only_unreadable_files_are_an_error_that_names_one(tmp_path):
    for i in range(4):
        (tmp_path / f"a{i}.png").write_bytes(b"not a picture %d" % i)
    with pytest.raises(TonyError, match=r"a\d\.png"):
        list(source(tmp_path).documents("train"))


def test_sounds_and_clips_are_shortened_and_pictures_shrunk(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(3):
        write(sound(rng, 3.0, 44_100), tmp_path / f"a{i}.wav")
        write(Video(rng.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8), 10.0), tmp_path / f"a{i}.mp4")
        write(picture(rng, 700), tmp_path / f"a{i}.png")
    parts = [
        part for d in source(tmp_path, max_seconds=1.5, frames=2, orders=6).documents("train") for part in d
    ]
    assert {part.modality for part in parts} == {"audio", "video", "image"}
    for part in parts:
        match part:
            case Audio():
                assert part.rate == RATE and part.seconds == pytest.approx(1.5, abs=0.01)
            case Video():
                assert len(part.frames) == 2 and 2 / part.fps == pytest.approx(1.5, abs=0.01)
            case Image():
                assert part.width == part.height == 256


def test_jsonl_documents_are_taken_as_they_are_and_own_their_files(tmp_path):
    rng = np.random.default_rng(0)
    written = [
        Document([Text(f"q{i}", role="user", counted=False), picture(rng), Text("yes", role="assistant")])
        for i in range(6)
    ]
    write_jsonl(written, tmp_path / "pairs.jsonl")
    found = source(tmp_path)
    read = [d for split in ("train", "heldout") for d in found.documents(split)]
    assert sorted(d.parts[0].text for d in read) == [f"q{i}" for i in range(6)]
    assert {d.parts[0].text: d for d in read} == {d.parts[0].text: d for d in written}
    with (tmp_path / "pairs.jsonl").open("a") as file:
        file.write(json.dumps({"parts": [{"type": "smell"}]}) + "\n")
    with pytest.raises(TonyError, match="line 7"):
        source(tmp_path)


def test_one_long_text_is_held_out_by_sections(tmp_path):
    rng = np.random.default_rng(0)
    book = "\n\n".join(" ".join(f"word{w}" for w in rng.integers(0, 99, 60)) for _ in range(300))
    (tmp_path / "book.txt").write_text(book)
    found = source(tmp_path, held_out=0.1, orders=1)
    whole = {e.stem: e.section for side in found.examples.values() for e in side}
    bounds = sorted(whole.values())
    assert [a for a, _ in bounds] == [0] + [b for _, b in bounds[:-1]] and bounds[-1][1] == len(book)
    assert found.examples["heldout"]
    train = "".join(d.parts[0].text for d in found.documents("train"))
    held = next(found.documents("heldout")).parts[0].text
    assert held in book and held not in train
    assert not list(found.skipped)


def test_sections_cover_a_text_without_any_space():
    assert sections("x" * 1_000, 100)[-1][1] == 1_000
    assert all(b - a <= 150 for a, b in sections("x" * 1_000, 100))


class Tones:
    """A stand-in for the sound codec: an id for each 20 ms."""

    size, fingerprint = 8, ""

    def encode(self, part: Audio) -> np.ndarray:
        n = -(-len(part.samples) * 50 // part.rate)
        return np.arange(n) % 8

    def encode_many(self, parts, exact=True):
        return [self.encode(part) for part in parts]

    def decode_many(self, many):
        return [Audio(np.zeros(320 * len(ids), np.float32), 16_000) for ids in many]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    text = TextCodec.train(["the quick brown fox jumps over the lazy dog " * 5], 300)
    return Vocabulary(text, PixelCodec.grey(4, 17), Tones())


def test_a_long_text_is_divided_at_words_and_nothing_is_lost(vocabulary):
    text = " ".join(f"caf\u00e9 {i}" for i in range(400))
    pieces, shortened = fit(Document([Text(text, role="user")]), vocabulary, 64)
    assert not shortened and all(len(p) <= 64 for p in pieces)
    texts = [vocabulary.decode(p.ids).parts[0].text for p in pieces]
    assert "".join(texts) == text
    assert sum(t.startswith(" ") for t in texts[1:]) > 0.9 * (len(texts) - 1)
    ends = [p.counted[np.flatnonzero(p.ids == vocabulary.end("text"))].tolist() for p in pieces]
    assert ends == [[False]] * (len(pieces) - 1) + [[True]]
    wide = [len(p) for p in fit(Document([Text(text * 3, role="user")]), vocabulary, 512)[0]]
    assert len(wide) > 10 and np.mean(wide[:-1]) > 0.98 * 512  # what breaks at words give up


def test_a_picture_keeps_the_beginning_of_its_long_text(vocabulary):
    image = Image(np.zeros((4, 4, 1), np.uint8), role="user")
    text = Text(" ".join(f"word {i}" for i in range(100)), role="assistant")
    pieces, _ = fit(Document([image, text]), vocabulary, 80)
    documents = [vocabulary.decode(p.ids) for p in pieces]
    assert [part.modality for part in documents[0]] == ["image", "text"]
    assert "".join(part.text for d in documents for part in d if isinstance(part, Text)) == text.text
    assert all(part.role == "assistant" for d in documents[1:] for part in d)


def test_clips_lose_frames_and_lone_sounds_are_cut(vocabulary):
    clip = Video(np.zeros((12, 4, 4, 1), np.uint8), 2.0)
    (tokens,), shortened = fit(Document([clip]), vocabulary, 100)
    decoded = vocabulary.decode(tokens.ids).parts[0]
    assert shortened and len(tokens) <= 100 and len(decoded.frames) == 5
    (tokens,), shortened = fit(Document([Audio(np.zeros(5 * RATE, np.float32), RATE)]), vocabulary, 100)
    assert shortened and 95 <= len(tokens) <= 100
    with pytest.raises(TonyError, match=r"model\.context"):
        fit(Document([Image(np.zeros((4, 4, 1), np.uint8))]), vocabulary, 16)


def test_parts_of_no_known_kind_are_left_out():
    words_only = Vocabulary(TextCodec.train(["a b c"], 256))
    document = Document([Image(np.zeros((4, 4, 1), np.uint8)), Text("abc")])
    (tokens,), shortened = fit(document, words_only, 64)
    assert shortened and [p.modality for p in words_only.decode(tokens.ids)] == ["text"]


def test_encoding_a_folder_equals_encoding_each_document(tmp_path, vocabulary):
    fill(tmp_path, 6)
    documents = list(source(tmp_path, orders=4).documents("train"))
    encoded = list(encode_documents(iter(documents), vocabulary, 256, Silent(), "test"))
    for document, tokens in zip(documents, encoded, strict=True):
        alone = vocabulary.encode(document)
        assert np.array_equal(tokens.ids, alone.ids) and np.array_equal(tokens.counted, alone.counted)


def test_folders_that_link_in_a_circle_end(tmp_path):
    fill(tmp_path / "a", 2)
    os.symlink(tmp_path, tmp_path / "a" / "up")
    assert len(source(tmp_path).examples["train"]) == 1
