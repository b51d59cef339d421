"""Protects: parts of one thing are found by each other, the index follows the folder, and bad input is one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tony.data.shards import Shard
from tony.engine import Engine, Omni
from tony.engine.embedding import Head, pooled_states, unit, weights_hash
from tony.engine.omni import head_path
from tony.errors import TonyError
from tony.media import Audio, Document, Image, Text, write
from tony.model import Cache
from tony.model.weights import save_model
from tony.runs import Run, load_recipe
from tony.search import search
from tony.search.align import align, fit, info_nce
from tony.search.index import FEWEST, Entry, Index
from tony.search.pairs import Side, pairs, parts_of

RECIPE = {"name": "random", "model": {"width": 48, "depth": 2, "head_dim": 12, "context": 256}}
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven")


def picture(level):
    return Image(np.full((4, 4), 60 * level % 256, np.uint8))


@pytest.fixture(scope="module")
def run(tmp_path_factory, random_model, silent_vocabulary):
    """A run whose network knows nothing: words and pictures are told apart by their ids alone."""
    run = Run.create(load_recipe(RECIPE), tmp_path_factory.mktemp("runs"))
    silent_vocabulary.save(run.vocabulary)
    save_model(run.model, random_model(silent_vocabulary.size))
    documents = []
    for i in range(240):
        level = i % 4
        documents.append(
            Document(
                [
                    Text(WORDS[level] + " " + WORDS[i % 8], role="user"),
                    Image(np.full((8, 8), 80 * level, np.uint8), role="assistant"),
                ]
            )
        )
        documents.append(Document([Text("fr:", role="user"), Text("three + five", role="user"), picture(1)]))
    Shard.write(run.data / "train", [silent_vocabulary.encode(d) for d in documents], silent_vocabulary)
    return run


@pytest.fixture(scope="module")
def omni(run):
    torch.manual_seed(0)
    return Omni.load(run.path, "cpu")


def shown(level):
    return Image(np.full((8, 8), 80 * level, np.uint8))


def test_parts_of_a_document_are_what_was_encoded(vocabulary):
    document = Document([Text("three", role="user"), picture(1), Text("four", role="assistant")])
    parts = parts_of(vocabulary.encode(document).ids, vocabulary)
    assert [p.modality for p in parts] == ["text", "image", "text"]
    for side, part in zip(parts, document, strict=True):
        np.testing.assert_array_equal(side.ids, vocabulary.encode_part(part))


def test_pairs_are_two_modalities_of_documents_of_two_parts(run, silent_vocabulary):
    found = pairs(Shard(run.data / "train"), silent_vocabulary, 10_000)
    assert all({a.modality, b.modality} == {"text", "image"} for a, b in found)
    assert len(found) == 480, "a request for a language is no part"
    assert len(pairs(Shard(run.data / "train"), silent_vocabulary, 7)) == 7


def test_pooled_states_are_those_of_each_part_alone(omni, random_model):
    """Packed together or alone; against the cached forward pass, which shares no attention code with the packed one."""
    rng = np.random.default_rng(0)
    v = omni.vocabulary
    text = v.ranges["text"]
    parts = [("text", rng.integers(text.start, text.end, n)) for n in (5, 1, 30, 5)]
    model = random_model(v.size)
    together = pooled_states(Engine(model, omni.grammar, torch.float32), v, parts)
    for row, (modality, ids) in zip(together, parts, strict=True):
        prompt = [v.control("start"), v.control("user"), v.begin(modality), *ids]
        prompt += [v.end(modality), v.control("assistant"), v.begin("text")]
        states = model.states(torch.tensor([prompt]), Cache(model.config, 1))[0]
        want = torch.cat((states[3:-2].mean(0), states[-1])).numpy()
        np.testing.assert_allclose(row, want, atol=1e-4)


def test_info_nce_is_the_closed_form():
    a = torch.eye(3)
    same = torch.zeros(3, 3, dtype=torch.bool)
    found = float(info_nce(a, a, torch.tensor(0.0), same))
    assert found == pytest.approx(np.log(np.e + 2) - 1)
    same[0, 1] = same[1, 0] = True
    expected = (2 * (np.log(np.e + 1) - 1) + np.log(np.e + 2) - 1) / 3
    assert float(info_nce(a, a, torch.tensor(0.0), same)) == pytest.approx(expected)


def test_fit_finds_the_rotation_between_two_modalities():
    """Features of the second modality are a rotation of the first's: held-out partners find each other."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 12)).astype(np.float32)
    turn = np.linalg.qr(rng.normal(size=(12, 12)))[0].astype(np.float32)
    found, features = [], {}
    for i in range(300):
        a, b = Side("image", np.array([i])), Side("text", np.array([i]))
        found.append((a, b))
        features |= {a.key: z[i], b.key: z[i] @ turn}
    head = fit(found, features, "hash")
    left, right = head.apply("image", z[300:]), head.apply("text", z[300:] @ turn)
    assert np.allclose(np.linalg.norm(left, axis=1), 1, atol=1e-5)
    assert ((left @ right.T).argmax(1) == np.arange(100)).mean() > 0.9
    with pytest.raises(TonyError, match="knows no audio"):
        head.apply("audio", z)
    again = fit(found, features, "hash")
    np.testing.assert_array_equal(head.weight["text"], again.weight["text"])


def test_a_head_is_bound_to_its_weights_and_safe_to_read(run, omni, tmp_path):
    head = align(omni)
    path = head_path(run)
    read = Head.load(path)
    np.testing.assert_array_equal(read.weight["text"], head.weight["text"])
    assert read.model == weights_hash(run.model) and read.receipt["pairs"]
    vector = omni.embed(Document([Text("three")]))
    assert vector.dtype == np.float32 and np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    both = omni.embed(Document([Text("three"), shown(1)]))
    each = omni.embed_many([Document([Text("three")]), Document([shown(1)])])
    np.testing.assert_allclose(both, unit(each.sum(0)[None])[0], atol=1e-5)
    with pytest.raises(TonyError, match="nothing to embed"):
        omni.embed(Document([]))
    Head(head.weight, head.bias, head.sample, "another", {}).save(path)
    with pytest.raises(TonyError, match="other weights"):
        _ = Omni.load(run.path, "cpu").head
    path.write_bytes(b"\x80\x04 pickle")
    with pytest.raises(TonyError, match="damaged search head"):
        Head.load(path)
    path.unlink()


def test_an_index_compresses_and_survives_the_disk(tmp_path):
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(24, 128)) * np.geomspace(3, 0.1, 24)[:, None]
    vectors, queries = (unit(rng.normal(size=(n, 24)) @ basis) for n in (FEWEST + 100, 300))
    entries = [Entry(f"{i}.png", "image", i, i) for i in range(len(vectors))]
    index = Index.build(entries, vectors, queries, "head", 32)
    assert index.bytes_per_document == 64 and index.rows.dtype == np.float16
    index.save(tmp_path / "index")
    again = Index.load(tmp_path / "index")
    assert again.entries == index.entries
    np.testing.assert_array_equal(again.scores(queries[0]), index.scores(queries[0]))
    exact = queries @ vectors.T
    error = np.mean([(index.scores(q) - e) ** 2 for q, e in zip(queries, exact, strict=True)])
    assert error < 0.02 * np.mean(exact**2)
    assert Index.build(entries[:9], vectors[:9], queries, "head", 32).scores(queries[0]) == pytest.approx(
        exact[0, :9]
    )
    (tmp_path / "index").write_bytes(b"nonsense")
    with pytest.raises(TonyError, match="unreadable index"):
        Index.load(tmp_path / "index")


def test_search_finds_by_word_and_picture_and_follows_the_folder(omni, tmp_path):
    for level in range(4):
        write(shown(level), tmp_path / f"p{level}.png")
        (tmp_path / f"t{level}.txt").write_text(WORDS[level] + " " + WORDS[level])
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    (tmp_path / "link.txt").symlink_to(tmp_path / "nowhere")
    found = search(omni, tmp_path, Text("two two"), kinds=("image",))
    assert found.files == 8 and found.embedded == 8 and len(found.skipped) == 2
    assert {hit.modality for hit in found.hits} == {"image"} and len(found.hits) == 4
    assert search(omni, tmp_path, shown(3), top=1).hits[0].path == "p3.png"
    assert search(omni, tmp_path, shown(3)).embedded == 0
    (tmp_path / "p0.png").unlink()
    write(shown(2), tmp_path / "p9.png")
    os.utime(tmp_path / "p1.png", ns=(1, 1))
    found = search(omni, tmp_path, shown(2))
    assert found.files == 8 and found.embedded == 2
    assert {found.hits[0].path, found.hits[1].path} == {"p2.png", "p9.png"}


def test_files_that_cannot_be_read_are_no_reason_to_read_the_others_again(omni, tmp_path):
    for level in range(4):
        write(shown(level), tmp_path / f"p{level}.png")
    for number in range(300):
        (tmp_path / f"broken{number}.png").write_bytes(b"\x89PNG")
    assert search(omni, tmp_path, shown(1)).embedded == 4
    assert search(omni, tmp_path, shown(1)).embedded == 0


def test_an_index_is_made_again_once_it_has_outgrown_its_projection(omni, tmp_path, monkeypatch):
    monkeypatch.setattr("tony.search.index.FEWEST", 4)
    for level in range(3):
        write(shown(level), tmp_path / f"p{level}.png")
    assert search(omni, tmp_path, shown(1)).embedded == 3
    for level in range(3):
        (tmp_path / f"t{level}.txt").write_text(WORDS[level] + " " + WORDS[level])
    found = search(omni, tmp_path, shown(1))
    assert found.files == 6 and found.hits[0].path == "p1.png"
    assert found.embedded == 6


def test_bad_input(omni, tmp_path):
    with pytest.raises(TonyError, match="no such folder"):
        search(omni, tmp_path / "absent", Text("x"))
    with pytest.raises(TonyError, match="no file in it"):
        search(omni, tmp_path, Text("x"))
    with pytest.raises(TonyError, match="kind 'smell'"):
        search(omni, tmp_path, Text("x"), kinds=("smell",))
    with pytest.raises(TonyError, match="knows no audio"):
        search(omni, tmp_path, Audio(np.zeros(1600, np.float32), 16_000))


def test_the_verb_prints_json_alone_and_errors_in_one_line(run, tmp_path):
    tony = str(Path(sys.executable).with_name("tony"))
    command = (
        [sys.executable, "-c", "from tony.cli import main; main()"] if "PYTHONPATH" in os.environ else [tony]
    )
    write(shown(1), tmp_path / "p1.png")

    def call(*arguments):
        return subprocess.run(
            [*command, "search", *arguments], capture_output=True, text=True, timeout=120, check=False
        )

    done = call(str(tmp_path), str(tmp_path / "p1.png"), "--run", str(run.path), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["hits"][0]["path"] == "p1.png"
    for arguments, named in (([str(tmp_path), "x"], "--run"), ([str(tmp_path), " "], "empty")):
        bad = call(*arguments)
        assert bad.returncode == 2 and named in bad.stderr and len(bad.stderr.strip().splitlines()) == 1
