"""A Document written as JSONL comes back equal; a wrong line is named by file, line and key, and nothing leaks in."""

import base64
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tony.errors import TonyError
from tony.media import Audio, Document, Image, Limits, Text, Video, encode, read_jsonl, write, write_jsonl

labels = {"role": st.sampled_from([None, "system", "user", "assistant"]), "counted": st.booleans()}
parts = st.one_of(
    st.builds(Text, st.text(st.characters(exclude_categories=["Cs"])), **labels),
    st.builds(
        Image,
        arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 3]))),
        **labels,
    ),
    st.builds(
        Audio,
        arrays(np.float32, st.integers(1, 20), elements=st.floats(-4, 4, width=32)),
        st.sampled_from([8000, 24_000]),
        **labels,
    ),
    st.builds(
        Video,
        arrays(
            np.uint8,
            st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 3])),
        ),
        st.sampled_from([4.0, 12.5]),
        **labels,
    ),
)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(parts, max_size=4).map(Document), min_size=1, max_size=3),
    st.sampled_from(["beside", "inline"]),
)
def test_round_trip(documents, media):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "examples.jsonl"
        write_jsonl(iter(documents), path, media=media)
        assert list(read_jsonl(path)) == documents
        assert not list(Path(folder).glob("**/.tony-*"))


@settings(max_examples=10, deadline=None)
@given(st.lists(parts, min_size=1, max_size=3).map(Document))
def test_equal_documents_make_equal_files(document):
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("a.jsonl", "b.jsonl")]
        for path in paths:
            write_jsonl([document], path, media="inline")
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_written_by_hand(tmp_path):
    (tmp_path / "media").mkdir()
    picture, sound = Image(np.full((2, 3, 3), 7, np.uint8)), Audio(np.full(5, 0.5, np.float32), 8000)
    write(picture, tmp_path / "media" / "cat.png")
    (tmp_path / "caption.txt").write_text("a cat\n")
    line = {
        "parts": [
            {"type": "text", "text": "what is it?", "role": "user", "counted": False},
            {"type": "image", "path": "media/cat.png"},
            {"type": "audio", "data": base64.b64encode(encode(sound, "wav")).decode(), "format": "wav"},
            {"type": "text", "path": "caption.txt", "role": "assistant"},
        ]
    }
    (tmp_path / "a.jsonl").write_text("\n" + json.dumps(line) + "\n\n")
    assert list(read_jsonl(tmp_path / "a.jsonl")) == [
        Document(
            [
                Text("what is it?", role="user", counted=False),
                picture,
                sound,
                Text("a cat\n", role="assistant"),
            ]
        )
    ]


def test_a_prompt_comes_back(tmp_path):
    document = Document([Text("def f():\n    return 1\n", given=9)])
    write_jsonl([document], tmp_path / "a.jsonl")
    assert list(read_jsonl(tmp_path / "a.jsonl")) == [document] != [Document([Text(document.parts[0].text)])]


GOOD = '{"parts": [{"type": "text", "text": "a"}]}'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", 'has no key "parts"'),
        ('{"parts": {}}', 'key "parts" is not a list'),
        ('{"parts": [], "id": 3}', 'unknown key "id"'),
        ('{"parts": [3]}', r"parts\[0\] is not an object"),
        ('{"parts": [{"type": "text"}]}', r"parts\[0\] \(text\) has no content"),
        ('{"parts": [{"type": "smell", "path": "a"}]}', r'parts\[0\]\.type is "smell"'),
        ('{"parts": [{"type": ["x"], "path": "a"}]}', r"parts\[0\]\.type is"),
        ('{"parts": [{"type": "text", "text": 3}]}', r"parts\[0\]\.text is 3"),
        ('{"parts": [{"type": "text", "text": "a", "lang": "fr"}]}', 'unknown key "lang"'),
        ('{"parts": [{"type": "text", "text": "a", "role": "king"}]}', r'parts\[0\]\.role is "king"'),
        ('{"parts": [{"type": "text", "text": "a", "role": {}}]}', r"parts\[0\]\.role is"),
        ('{"parts": [{"type": "text", "text": "a", "counted": 1}]}', r"parts\[0\]\.counted is 1"),
        ('{"parts": [{"type": "text", "text": "a", "given": 2}]}', r"Text\.given is 2"),
        ('{"parts": [{"type": "text", "text": "a", "given": true}]}', r"Text\.given is True"),
        ('{"parts": [{"type": "image", "path": "a.png", "given": 1}]}', r"parts\[0\]\.given goes with text"),
        ('{"parts": [{"type": "text", "text": "\\ud83d"}]}', r"parts\[0\]\.text: .*surrogate"),
        ('{"parts": [{"type": "image", "text": "a"}]}', r"parts\[0\] \(image\) has text"),
        ('{"parts": [{"type": "image", "path": "a.png", "data": "x"}]}', "path and data"),
        ('{"parts": [{"type": "image", "path": "a.png", "format": "png"}]}', r"parts\[0\]\.format"),
        ('{"parts": [{"type": "image", "data": "%%%"}]}', r"parts\[0\]\.data: it is not base64"),
        ('{"parts": [{"type": "image", "data": "aGVsbG8="}]}', r"parts\[0\]\.data: .*of no kind"),
        ('{"parts": [{"type": "image", "path": "a.png"}]}', r"parts\[0\]\.path: .*a\.png does not exist"),
        (
            '{"parts": [{"type": "image", "path": "tone.wav"}]}',
            r"parts\[0\]\.path: .*mislabelled: it holds sound",
        ),
        ('{"parts": [{"type": "image", "path": ""}]}', "not a path inside"),
        ('{"parts": [{"type": "image", "path": "../secret.png"}]}', "not a path inside"),
        ('{"parts": [{"type": "image", "path": "a/../../secret.png"}]}', "not a path inside"),
        ('{"parts": [{"type": "image", "path": "a\\\\..\\\\b.png"}]}', "not a path inside"),
        ('{"parts": [{"type": "image", "path": "/etc/passwd"}]}', "not a path inside"),
        ('{"parts": [{"type": "image", "path": "C:\\\\a.png"}]}', "not a path inside"),
        ('{"parts": [{"type": "image", "path": "a\\u0000.png"}]}', "not a path inside"),
        ('{"parts": [{"type": "image", "path": "link.png"}]}', "leads out of the folder"),
        ('{"parts": [{"type": "image", "path": "away/secret.png"}]}', "leads out of the folder"),
    ],
)
def test_wrong_lines(tmp_path, line, message):
    folder = tmp_path / "inside"
    folder.mkdir()
    write(Image(np.zeros((1, 1, 1), np.uint8)), tmp_path / "secret.png")
    write(Audio(np.zeros(8, np.float32), 8000), folder / "tone.wav")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "away").symlink_to(tmp_path)
    path = folder / "a.jsonl"
    path.write_text(f"{GOOD}\n{line}\n")
    documents = read_jsonl(path)
    assert next(documents) == Document([Text("a")])
    with pytest.raises(TonyError, match=message) as caught:
        next(documents)
    assert f"{path} line 2" in str(caught.value) and "\n" not in str(caught.value)


def test_links_inside_the_folder_are_fine(tmp_path):
    write(Image(np.zeros((1, 1, 1), np.uint8)), tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("a.png")
    (tmp_path / "a.jsonl").write_text('{"parts": [{"type": "image", "path": "b.png"}]}')
    assert len(list(read_jsonl(tmp_path / "a.jsonl"))) == 1


def test_files_that_cannot_be_opened_fail_at_once(tmp_path):
    with pytest.raises(TonyError, match="does not exist"):
        read_jsonl(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(TonyError, match="is empty"):
        read_jsonl(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(TonyError, match="line 1 is not UTF-8"):
        list(read_jsonl(tmp_path / "a.jsonl"))
    (tmp_path / "a.jsonl").write_text(GOOD)
    with pytest.raises(TonyError, match="line 1 is over the limit"):
        list(read_jsonl(tmp_path / "a.jsonl", limits=Limits(max_file_bytes=10)))


def test_a_failed_writing_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.jsonl"
    write_jsonl([Document([Text("old")])], path)

    def documents():
        yield Document([Text("new")])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_jsonl(documents(), path)
    assert list(read_jsonl(path)) == [Document([Text("old")])]
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]
    with pytest.raises(TonyError, match="without a sample"):
        write_jsonl([Document([Audio(np.zeros(0, np.float32), 8000)])], path)
    with pytest.raises(TonyError, match="cannot be written"):
        write_jsonl([], tmp_path / "nowhere" / "a.jsonl")
