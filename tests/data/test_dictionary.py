"""Protects the dictionary: an entry is its word and what is said of it, every entry is on one side, and errors say the remedy."""

import gzip

import pytest

from tony.data.dictionary import Dictionary, blocks, entries
from tony.errors import TonyError
from tony.runs.data_recipes import DictionaryData

# In the form of the package; the words are ours.
PAGE = r"""
00-database-short
   A dictionary for tests

Glim \Glim\ (gl[i^]m), n. [OE. glimme, fr. AS. gl[=ae]m
   brightness; akin to {Glom}.]
   1. A small light; a spark.
      [1913 Webster]

   2. A look. [Obs.] --Nobody.
      [1913 Webster +PJC]

Glimless \Glim"less\, a.
   Without a {glim}; dark.

   Syn: lightless, unlit.
        [WordNet 1.5]

Glom \Glom\, n.
"""


def package(folder, text):
    place = folder / "usr/share/dictd"
    place.mkdir(parents=True)
    (place / "gcide.dict.dz").write_bytes(gzip.compress(text.encode()))
    return DictionaryData(path=str(folder), held_out=0.2)


def test_an_entry_is_its_word_and_what_is_said_of_it():
    assert list(entries(PAGE)) == [
        "Glim: 1. A small light; a spark. 2. A look. --Nobody.",
        "Glimless: Without a glim; dark. Syn: lightless, unlit.",
    ]


def test_no_entry_is_lost_or_on_both_sides(tmp_path):
    words = [f"word{i}" for i in range(3_000)]
    text = "\n".join(f"{w} \\{w}\\, n.\n   A thing of kind {w}.\n" for w in words)
    source = Dictionary(package(tmp_path, text))
    sides = {
        split: [line for document in source.documents(split) for part in document for line in part.text.split("\n")]
        for split in ("train", "heldout")
    }  # fmt: skip
    assert sorted(sides["train"] + sides["heldout"]) == sorted(f"{w}: A thing of kind {w}." for w in words)
    assert 0.02 < len(sides["heldout"]) / len(words) < 0.5
    assert list(source.texts()) == [part.text for document in source.documents("train") for part in document]
    assert all(len(block) >= 4_000 for block in list(blocks(text))[:-1])


def test_a_folder_without_it_or_a_damaged_file(tmp_path):
    with pytest.raises(TonyError, match=r"holds no gcide\.dict\.dz\. Unpack dict-gcide"):
        list(Dictionary(DictionaryData(path=str(tmp_path / "nowhere"))).texts())
    recipe = package(tmp_path, PAGE)
    file = next(tmp_path.rglob("*.dz"))
    whole = file.read_bytes()
    for damaged in (whole[:40], whole[:60] + b"\xff" * 40 + whole[100:], b"no gzip"):
        file.write_bytes(damaged)
        with pytest.raises(TonyError, match=r"is damaged .* Unpack dict-gcide anew"):
            list(Dictionary(recipe).texts())
