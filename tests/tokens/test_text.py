"""Protects: text comes back byte for byte, every id list has a text, and characters stream whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tony.errors import TonyError
from tony.media import Text
from tony.tokens.text import TextCodec

TEXTS = st.one_of(
    st.text(), st.text(alphabet="aeiou \n\t1234567890+-'.{}"), st.text(alphabet="\u00e9\u4e16\U0001f600 x")
)


@given(text=TEXTS)
def test_any_text_comes_back(text_codec, text):
    ids = text_codec.encode(Text(text))
    assert text_codec.decode(ids).text == text
    assert all(0 <= i < text_codec.size for i in ids)


@given(data=st.data())
def test_any_ids_decode_and_stream_alike(text_codec, data):
    ids = data.draw(st.lists(st.integers(0, text_codec.size - 1), max_size=40))
    whole = text_codec.decode(ids).text
    whole.encode()  # never half a surrogate pair
    stream, pieces, rest = text_codec.stream(), [], ids
    while rest:
        n = data.draw(st.integers(1, len(rest)))
        pieces.append(stream.step(rest[:n]))
        rest = rest[n:]
    assert "".join(pieces) + stream.flush() == whole


@given(text=TEXTS)
def test_streaming_gives_whole_characters_at_once(text_codec, text):
    """After every id, all characters whose last byte has come are out, and nothing else."""
    stream, out, seen = text_codec.stream(), "", b""
    for index in text_codec.encode(Text(text)):
        out += stream.step([index])
        seen += text_codec._bytes[int(index)]
        assert out == seen.decode("utf-8", errors="ignore")
    assert out + stream.flush() == text


def test_every_byte_has_an_id(text_codec):
    alone = {piece for piece in text_codec._bytes if len(piece) == 1}
    assert len(alone) == 256
    assert len(set(text_codec._bytes)) == text_codec.size, (
        "two ids of one string would make encoding ambiguous"
    )


def test_size_and_compression():
    codec = TextCodec.train(["seven eight"] * 10, 270)
    assert 256 < codec.size <= 270
    assert len(codec.encode(Text("seven eight"))) < len("seven eight")
    assert len(codec.encode(Text(""))) == 0
    assert TextCodec.train([], 300).size == 256


def test_training_is_the_same_twice(text_codec, tmp_path):
    texts = ["zero one two three", "un deux trois", "x = 12345\n    return x"]
    first, second = TextCodec.train(texts, 300), TextCodec.train(iter(texts), 300)
    assert first._bytes == second._bytes
    first.save(tmp_path / "codec")
    third = TextCodec.load(tmp_path / "codec")
    for text in [*texts, "\u4e16 caf\u00e9 \n"]:
        assert (first.encode(Text(text)) == third.encode(Text(text))).all()


def test_numbers_split_in_threes():
    codec = TextCodec.train(["1234567"] * 100, 400)
    assert max(len(codec._bytes[i]) for i in codec.encode(Text("1234567"))) <= 3


@pytest.mark.parametrize("wrong", [-1, 10_000])
def test_ids_of_another_vocabulary_are_refused(text_codec, wrong):
    with pytest.raises(TonyError, match=str(wrong)):
        text_codec.decode([3, wrong])


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(TonyError, match=r"tokenizer\.json"):
        TextCodec.load(tmp_path)
