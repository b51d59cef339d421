"""Protects: every document is packed once and little room is lost; a damaged shard is never trained on."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tony.data.shards import Shard, pack
from tony.errors import TonyError
from tony.tokens.vocabulary import MODALITIES, Tokens


def naive_best_fit(lengths, context):
    """Best-fit decreasing, by looking at every window for every document."""
    rooms = []
    for length in sorted(lengths, reverse=True):
        fitting = [room for room in rooms if room >= length]
        if fitting:
            rooms[rooms.index(min(fitting))] -= length
        else:
            rooms.append(context - length)
    return sorted(rooms)


@given(lengths=st.lists(st.integers(1, 50), max_size=120), group=st.sampled_from([10, 50, 8192]))
def test_every_document_once_and_no_window_too_full(lengths, group):
    packing = pack(np.array(lengths, np.int64), 50, group)
    assert sorted(packing.documents.tolist()) == list(range(len(lengths)))
    filled = [sum(lengths[d] for d in packing.window(w)) for w in range(len(packing))]
    assert all(0 < f <= 50 for f in filled)
    assert packing.lost == pytest.approx(1 - sum(lengths) / (50 * len(packing)) if lengths else 0)
    for w in range(len(packing)):
        members = packing.window(w)
        assert members.min() // group == members.max() // group, "a window mixes neighbours only"


@given(lengths=st.lists(st.integers(1, 50), max_size=80))
def test_windows_equal_naive_best_fit_or_are_fewer(lengths):
    packing, naive = pack(np.array(lengths, np.int64), 50), naive_best_fit(lengths, 50)
    rooms = sorted(50 - sum(lengths[d] for d in packing.window(w)) for w in range(len(packing)))
    assert rooms == naive or len(rooms) < len(naive)
    if sum(naive) <= 0.02 * 50 * len(naive):
        assert rooms == naive


@pytest.mark.parametrize("window", [(45, 30, 25), (44, 32, 24), (41, 35, 24)])
def test_windows_are_filled_where_best_fit_leaves_gaps(window):
    """Documents made by dividing 40 windows: best fit needs more than 40."""
    lengths = list(window) * 40
    packing = pack(np.array(lengths), 100)
    assert len(naive_best_fit(lengths, 100)) > 40
    assert len(packing) == 40 and packing.lost == 0


def digit_world_lengths(n, seed=0):
    """Lengths as the digit world has them: words of 3 ids, pictures of 66, sounds of 25 to 60, clips of 262."""
    rng = np.random.default_rng(seed)
    source = rng.choice([3, 66, 45, 262], n, p=[0.26, 0.32, 0.32, 0.10])
    reply = rng.choice([3, 66, 40], n, p=[0.34, 0.36, 0.30])
    return 4 + source + reply + rng.integers(0, 16, n)


@pytest.mark.parametrize("context", [512, 640, 1024])
def test_under_two_percent_are_lost_on_realistic_lengths(context):
    assert pack(digit_world_lengths(20_000), context).lost < 0.02


def test_a_document_beyond_the_context_is_refused():
    with pytest.raises(TonyError, match=r"641.*model\.context=640"):
        pack(np.array([3, 641]), 640)


def test_nothing_packs_to_nothing():
    assert len(pack(np.array([], np.int64), 10)) == 0


@pytest.fixture
def documents(vocabulary):
    rng = np.random.default_rng(1)
    return [
        Tokens(rng.integers(0, vocabulary.size, n), rng.random(n) < 0.5)
        for n in rng.integers(2, 30, 25).tolist()
    ]


@pytest.fixture
def folder(tmp_path, documents, vocabulary):
    Shard.write(tmp_path / "shard", documents, vocabulary)
    return tmp_path / "shard"


def test_documents_come_back(folder, documents, vocabulary):
    shard = Shard(folder, vocabulary.hash)
    assert len(shard) == len(documents) and shard.num_tokens == sum(map(len, documents))
    for index, tokens in enumerate(documents):
        again = shard.tokens(index)
        assert (again.ids == tokens.ids).all() and (again.counted == tokens.counted).all()
        assert shard.lengths[index] == len(tokens)


@pytest.mark.parametrize("name", ["ids.npy", "counted.npy", "offsets.npy"])
def test_one_wrong_byte_is_found(folder, name):
    content = bytearray((folder / name).read_bytes())
    for place in (5, len(content) // 2, len(content) - 1):
        damaged = content.copy()
        damaged[place] ^= 1
        (folder / name).write_bytes(damaged)
        with pytest.raises(TonyError, match=f"{name} is damaged") as error:
            Shard(folder)
        assert str(folder) in str(error.value) and "Remove" in str(error.value)


@pytest.mark.parametrize("name", ["ids.npy", "offsets.npy", "index.json"])
def test_a_missing_or_short_file_is_found(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(TonyError, match="unreadable shard"):
        Shard(folder)
    (folder / name).unlink()
    with pytest.raises(TonyError, match="unreadable shard"):
        Shard(folder)


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"checksums": []}', '{"checksums": {}}'])
def test_an_index_of_another_form_is_refused(folder, content):
    (folder / "index.json").write_text(content)
    with pytest.raises(TonyError, match="unreadable shard"):
        Shard(folder)


def test_another_vocabulary_is_refused(folder):
    with pytest.raises(TonyError, match="another vocabulary"):
        Shard(folder, "0" * 12)


def test_a_write_that_stops_leaves_no_shard(folder, documents, vocabulary, monkeypatch):
    """Killed between its files, a shard that is written again is none, not a mixture of two."""
    calls = []

    def save(file, array, **_):
        calls.append(array)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        np.lib.format.write_array(file, array)

    monkeypatch.setattr(np, "save", save)
    with pytest.raises(TonyError, match="No space left"):
        Shard.write(folder, documents[:5], vocabulary)
    assert not (folder / "index.json").exists()
    assert not [p for p in folder.iterdir() if p.name.startswith(".")], "no temporary file is left"


def test_nothing_to_write_is_refused(tmp_path, vocabulary):
    with pytest.raises(TonyError, match="no document"):
        Shard.write(tmp_path, [], vocabulary)


def test_counts_and_entropy_by_modality(tmp_path, vocabulary):
    text, image = vocabulary.ranges["text"].start, vocabulary.ranges["image"].start
    ids = np.array([1, text, text, text + 1, text + 1, image, image + 1, image + 2, image + 3])
    counted = np.array([False, True, True, True, True, True, True, True, False])
    shard = Shard.write(tmp_path, [Tokens(ids, counted)], vocabulary)
    assert shard.modality_counts(vocabulary, counted_only=False) == {
        "text": 4,
        "image": 4,
        "audio": 0,
        "video": 0,
    }
    assert shard.modality_counts(vocabulary, counted_only=True) == {
        "text": 4,
        "image": 3,
        "audio": 0,
        "video": 0,
    }
    entropy = shard.unigram_entropy(vocabulary)
    assert entropy == pytest.approx({"text": np.log(2), "image": np.log(3)})
    assert set(entropy) < set(MODALITIES)


def test_runs_on_one_shard_pack_and_count_it_once(folder, vocabulary, monkeypatch):
    shard = Shard(folder)
    first, counts = shard.packing(64), shard.modality_counts(vocabulary, counted_only=True)
    expected = pack(shard.lengths, 64)
    assert np.array_equal(first.documents, expected.documents) and np.array_equal(
        first.starts, expected.starts
    )
    counts["text"] += 1  # of the caller only
    monkeypatch.setattr("tony.data.shards.pack", lambda *_: pytest.fail("packed again"))
    monkeypatch.setattr(Shard, "_count", lambda *_: pytest.fail("counted again"))
    assert shard.packing(64) is first
    assert shard.modality_counts(vocabulary, counted_only=True)["text"] == counts["text"] - 1
    monkeypatch.undo()
    assert len(shard.packing(128)) < len(first)
    assert sum(shard.modality_counts(vocabulary, counted_only=False).values()) > sum(counts.values())


def test_the_index_is_small_and_readable(folder, vocabulary):
    index = json.loads((folder / "index.json").read_text())
    assert index["vocabulary"] == vocabulary.hash and set(index["checksums"]) == {
        "ids.npy",
        "counted.npy",
        "offsets.npy",
    }
