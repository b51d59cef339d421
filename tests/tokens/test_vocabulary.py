"""Protects: one id space without overlap, documents that come back from their stream, and what the loss counts."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tony.errors import TonyError
from tony.media import Audio, Document, Image, Text, Video
from tony.tokens.pixels import PixelCodec
from tony.tokens.text import TextCodec
from tony.tokens.vocabulary import CONTROLS, MODALITIES, Vocabulary, payload_key

LEVELS = np.round(np.linspace(0, 255, 5)).astype(np.uint8)


def grey(data):
    return LEVELS[np.array(data)]


pictures = st.lists(st.integers(0, 4), min_size=16, max_size=16).map(lambda d: Image(grey(d).reshape(4, 4)))
clips = st.integers(2, 5).flatmap(
    lambda t: st.lists(st.integers(0, 4), min_size=16 * t, max_size=16 * t).map(
        lambda d: Video(grey(d).reshape(t, 4, 4), 2.0)
    )
)
sounds = st.tuples(st.integers(0, 99), st.integers(1, 1500)).map(
    lambda t: Audio(0.1 * np.random.default_rng(t[0]).standard_normal(t[1]).astype(np.float32), 16_000)
)
parts = st.one_of(st.text(max_size=20).map(Text), pictures, clips, sounds)
roles = st.sampled_from(["system", "user", "assistant"])


@st.composite
def documents(draw):
    """Any parts in any order; either all have a role or none has, since a stream has no mark for "nobody"."""
    found = draw(st.lists(parts, max_size=5))
    if draw(st.booleans()):
        found = [replace(part, role=draw(roles)) for part in found]
    return Document(replace(part, counted=draw(st.booleans())) for part in found)


def test_ranges_are_contiguous_and_disjoint(vocabulary):
    start = 0
    for r in vocabulary.ranges.values():
        assert r.start == start and r.size > 0
        start = r.end
    assert start == vocabulary.size
    assert [vocabulary.control(name) for name in CONTROLS] == list(range(len(CONTROLS)))


@given(document=documents())
def test_documents_come_back(vocabulary, document):
    tokens = vocabulary.encode(document)
    assert tokens.ids.min() >= 0 and tokens.ids.max() < vocabulary.size
    again = vocabulary.decode(tokens.ids)
    assert [p.modality for p in again] == [p.modality for p in document]
    for before, after in zip(document, again, strict=True):
        assert after.role == before.role
        if before.modality == "audio":  # the codec loses detail; its copy has as many frames
            assert len(vocabulary.encode_part(after)) == len(vocabulary.encode_part(before))
        else:
            assert after == replace(before, counted=True)


@given(document=documents())
def test_the_loss_counts_bodies_and_end_marks_of_counted_parts_only(vocabulary, document):
    tokens = vocabulary.encode(document)
    expected, never = 0, {vocabulary.begin(m) for m in MODALITIES}
    never |= {vocabulary.control(name) for name in ("pad", "start", "stop", "system", "user", "assistant")}
    for part in document:
        expected += (len(vocabulary.encode_part(part)) + 1) * part.counted
    assert tokens.counted.sum() == expected
    assert not never & set(tokens.ids[tokens.counted].tolist())
    assert not tokens.counted[0]


@given(document=documents())
def test_a_stream_has_the_documented_form(vocabulary, document):
    """start, then a speaker's mark where the role changes, then each part between its marks, then stop."""
    expected, role = [vocabulary.control("start")], None
    for part in document:
        if part.role != role:
            role = part.role
            expected.append(vocabulary.control(role))
        expected += [
            vocabulary.begin(part.modality),
            *vocabulary.encode_part(part),
            vocabulary.end(part.modality),
        ]
    assert vocabulary.encode(document).ids.tolist() == [*expected, vocabulary.control("stop")]


def test_a_part_without_role_goes_on_in_the_turn(vocabulary):
    stream = vocabulary.encode(Document([Text("a", role="user"), Text("b"), Text("c", role="user")])).ids
    assert (stream == vocabulary.control("user")).sum() == 1


def test_decoding_many_streams_is_decoding_each(vocabulary):
    sounds = [Audio(np.sin(np.arange(n) / 20).astype(np.float32), 16_000) for n in (3200, 900)]
    parts = [Text("a"), sounds[0], Image(np.zeros((8, 8), np.uint8)), sounds[1]]
    asked = [Document(parts[i:]).as_role("user", True) for i in range(4)] + [Document([Text("b")])]
    streams = [vocabulary.encode(document).ids for document in asked]
    for stream, document in zip(streams, vocabulary.decode_many(streams), strict=True):
        alone = vocabulary.decode(stream)
        assert [(p.modality, p.role) for p in document] == [(p.modality, p.role) for p in alone]
        for one, other in zip(document, alone, strict=True):
            if isinstance(one, Audio):
                np.testing.assert_allclose(one.samples, other.samples, atol=1e-6)
            else:
                assert one == other


def test_modality_of_every_id(vocabulary):
    kinds = vocabulary.modality_of
    for index, name in enumerate(MODALITIES):
        r = vocabulary.ranges["time" if name == "video" else name]
        assert (kinds[r.start : r.end] == index).all()
        assert kinds[vocabulary.end(name)] == index
        assert kinds[vocabulary.begin(name)] == -1
    assert (kinds == -1).sum() == len(CONTROLS) - len(MODALITIES)


@given(data=st.data())
def test_no_stream_of_ids_crashes(vocabulary, data):
    """Any ids are a document or a TonyError."""
    ids = data.draw(st.lists(st.integers(0, vocabulary.size - 1), max_size=12))
    try:
        vocabulary.decode(ids)
    except TonyError as error:
        assert "\n" not in str(error)


def test_foreign_ids_inside_a_part_are_refused(vocabulary):
    picture = vocabulary.ranges["image"].start
    word = vocabulary.ranges["text"].start
    b, e = vocabulary.begin, vocabulary.end
    for stream in (
        [b("text"), picture, e("text")],
        [b("image"), *[picture] * 15, word, e("image")],
        [b("image"), *[picture] * 15, e("image")],
        [b("audio"), word, e("audio")],
        [b("video"), picture, e("video")],
        [b("text"), word],
        [b("text"), word, e("image")],
        [word],
        [e("text")],
    ):
        with pytest.raises(TonyError):
            vocabulary.decode(stream)


@pytest.mark.parametrize(
    "part",
    [
        Image(np.zeros((4, 4), np.uint8)),
        Audio(np.zeros(320, np.float32), 16_000),
        Video(np.zeros((2, 4, 4), np.uint8), 2),
    ],
    ids=lambda part: part.modality,
)
def test_a_modality_without_codec_is_refused(text_codec, part):
    only_text = Vocabulary(text_codec)
    assert only_text.modalities == ("text",)
    with pytest.raises(TonyError, match=f"knows no {part.modality}.*text"):
        only_text.encode(Document([part]))
    with pytest.raises(TonyError, match=f"knows no {part.modality}"):
        only_text.decode_part(part.modality, [])


def test_the_memo_is_used_and_told_apart(vocabulary):
    rng = np.random.default_rng(0)
    sounds = [Audio(rng.standard_normal(640).astype(np.float32), 16_000) for _ in range(20)]
    assert len({payload_key(s) for s in sounds}) == 20
    assert payload_key(sounds[0]) == payload_key(replace(sounds[0], role="user", counted=False))
    memo = {payload_key(sounds[0]): np.array([vocabulary.ranges["audio"].start])}
    assert len(vocabulary.encode_part(replace(sounds[0], role="user"), memo)) == 1
    assert len(vocabulary.encode_part(sounds[1], memo)) == 2


def test_save_and_load_keep_the_hash(vocabulary, tmp_path):
    vocabulary.save(tmp_path)
    again = Vocabulary.load(tmp_path)
    assert again.hash == vocabulary.hash and again.size == vocabulary.size
    document = Document(
        [Text("three"), Image(np.full((4, 4), 64, np.uint8)), Audio(np.ones(700, np.float32), 16_000)]
    )
    assert (again.encode(document).ids == vocabulary.encode(document).ids).all()


def test_the_hash_tells_vocabularies_apart(text_codec, sound_codec):
    image = PixelCodec.grey(4, 5)
    base = Vocabulary(text_codec, image, sound_codec)
    others = [
        Vocabulary(TextCodec.train(["other words altogether"] * 9, 300), image, sound_codec),
        Vocabulary(text_codec, PixelCodec.grey(8, 5), sound_codec),
        Vocabulary(text_codec, PixelCodec(4, 255 - image.palette), sound_codec),
        Vocabulary(text_codec, image),
        Vocabulary(text_codec, image, sound_codec, video_seconds=3.0),
    ]
    assert len({base.hash, *(v.hash for v in others)}) == 1 + len(others)


def test_mixed_up_parts_are_refused(vocabulary, text_codec, sound_codec, tmp_path):
    vocabulary.save(tmp_path / "a")
    Vocabulary(text_codec, PixelCodec(4, 255 - PixelCodec.grey(4, 5).palette), sound_codec, 4.0).save(
        tmp_path / "b"
    )
    (tmp_path / "b" / "image" / "image.json").replace(tmp_path / "a" / "image" / "image.json")
    with pytest.raises(TonyError, match="do not belong together"):
        Vocabulary.load(tmp_path / "a")


@pytest.mark.parametrize(
    "content", [None, "", "[]", "null", "{}", json.dumps({"image": None, "sound": None, "hash": ""})]
)
def test_an_unreadable_index_is_refused(vocabulary, tmp_path, content):
    vocabulary.save(tmp_path)
    if content is None:
        (tmp_path / "vocabulary.json").unlink()
    else:
        (tmp_path / "vocabulary.json").write_text(content)
    with pytest.raises(TonyError, match="no readable vocabulary"):
        Vocabulary.load(tmp_path)


@given(share=st.floats(0, 0.99), seed=st.integers(0, 2**32))
def test_jitter_moves_only_pictures_and_sounds_that_are_not_counted(vocabulary, share, seed):
    rng = np.random.default_rng(seed)
    parts = [
        Image(rng.integers(0, 256, (4, 4), dtype=np.uint8)),
        Audio(rng.standard_normal(3200).astype(np.float32) / 9, 16_000),
        Text("three"),
    ]
    document = Document(parts).as_role("user", False) + Document(parts[:2]).as_role("assistant", True)
    tokens = vocabulary.encode(document)
    moved = vocabulary.jitter(tokens, share, np.random.default_rng(seed))
    changed = moved.ids != tokens.ids
    movable = ~tokens.counted & np.isin(
        tokens.ids, [*range(vocabulary.ranges["image"].start, vocabulary.ranges["audio"].end)]
    )
    assert not changed[~movable].any() and (moved.counted == tokens.counted).all()
    kinds = vocabulary.modality_of
    assert (kinds[moved.ids] == kinds[tokens.ids]).all()
    assert [p.modality for p in vocabulary.decode(moved.ids)] == [p.modality for p in document]
    if share == 0:
        assert not changed.any()


def test_jitter_moves_the_share_that_is_asked(placed_vocabulary):
    rng = np.random.default_rng(0)
    pictures = [Image(rng.integers(0, 256, (4, 4), dtype=np.uint8)) for _ in range(200)]
    tokens = placed_vocabulary.encode(Document(pictures).as_role("user", False))
    moved = placed_vocabulary.jitter(tokens, 0.2, rng)
    assert 0.17 < (moved.ids != tokens.ids).sum() / (200 * 16) < 0.23
    for before, after in zip(
        placed_vocabulary.decode(tokens.ids), placed_vocabulary.decode(moved.ids), strict=True
    ):
        steps = np.abs(np.subtract(before.pixels, after.pixels, dtype=np.int64))
        assert set(np.unique(steps)) <= {0, 63, 64}, "one of five greys further"
