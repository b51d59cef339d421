"""Protects: a reply, from an untrained model too, has exactly the wanted parts, and a stream adds up to it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tony
from tony.engine import Omni
from tony.errors import TonyError
from tony.media import Audio, Document, Image, Text, Video
from tony.model.weights import save_model
from tony.runs import Run, load_recipe
from tony.runs.recipe import Sampling

WRITABLE = ("text", "image", "audio")
wants = st.lists(st.sampled_from(WRITABLE), min_size=1, max_size=3).map(tuple)
RNG = np.random.default_rng(0)
PROMPTS = [
    Document([Text("seven")]),
    Document([Image(RNG.integers(0, 256, (4, 4), dtype=np.uint8)), Text("+"), Text("three")]),
    Document([Audio(RNG.standard_normal(3000).astype(np.float32) * 0.1, 16_000)]),
    Document([Video(RNG.integers(0, 256, (3, 4, 4), dtype=np.uint8), 2.0), Text("where:")]),
    Document(
        [
            Text("be brief", role="system"),
            Text("one", role="user"),
            Text("un", role="assistant"),
            Text("two", role="user"),
        ]
    ),
]
RECIPE = {
    "name": "random",
    "train": {"precision": "float32"},
    "sampling": {"max_text": 6, "max_seconds": 0.3, "text": {"temperature": 1.0}},
}


@pytest.fixture(scope="module")
def omni(random_model, vocabulary):
    made = Omni(random_model(vocabulary.size), vocabulary, load_recipe(RECIPE))
    made.engine = type(made.engine)(made.engine.model.float(), made.engine.grammar, torch.float32)
    return made


@given(want=wants, prompt=st.sampled_from(PROMPTS), seed=st.integers(0, 2**40))
@settings(max_examples=25)
def test_an_untrained_model_replies_with_exactly_what_is_wanted(omni, want, prompt, seed):
    reply = omni.reply(prompt, want, seed=seed)
    assert [p.modality for p in reply] == list(want)
    assert {p.role for p in reply} == {"assistant"}


@given(want=wants, prompt=st.sampled_from(PROMPTS), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_a_stream_adds_up_to_the_reply(omni, want, prompt, seed):
    reply = omni.reply(prompt, want, seed=seed)
    chunks = list(omni.stream(prompt, want, seed=seed))
    assert [c.part for c in chunks if c.part is not None] == list(reply)
    assert [c.index for c in chunks] == sorted(c.index for c in chunks)
    for index, part in enumerate(reply):
        mine = [c for c in chunks if c.index == index]
        assert all(c.part is None for c in mine[:-1]) and mine[-1].part == part
        deltas = [c.delta for c in mine if c.delta is not None]
        match part:
            case Text():
                assert "".join(d.text for d in deltas) == part.text
            case Audio():
                found = np.concatenate([d.samples for d in deltas])
                np.testing.assert_allclose(found, part.samples, atol=1e-6)
                assert all(d.rate == 16_000 for d in deltas)
            case Image():
                assert [_rows_drawn(d, part) for d in deltas] == [1, 2, 3]


def _rows_drawn(delta, part):
    """How many rows of the picture are final; the others are 0."""
    assert delta.pixels.shape == part.pixels.shape
    for rows in range(part.height + 1):
        if (delta.pixels[:rows] == part.pixels[:rows]).all() and not delta.pixels[rows:].any():
            drawn = rows
    return drawn


def test_batched_replies_equal_single_replies(omni):
    asked = [WRITABLE[i % 3 : i % 3 + 2] for i in range(len(PROMPTS))]
    together = omni.replies(PROMPTS, asked, seed=7)
    for i, (prompt, want) in enumerate(zip(PROMPTS, asked, strict=True)):
        assert together[i] == omni.reply(prompt, want, seed=7 + i)


def test_closing_a_stream_stops_the_work(omni, monkeypatch):
    steps = []
    real = omni.engine._step
    monkeypatch.setattr(omni.engine, "_step", lambda *a: (steps.append(1), real(*a))[1])
    stream = omni.stream(PROMPTS[0], ("image", "image", "image"))
    next(stream)
    stream.close()
    assert len(steps) < 10


def test_sampling_is_the_recipes_unless_told(omni):
    assert omni.sampling["image"].temperature == 0.6
    cold = {name: Sampling(temperature=0.0) for name in WRITABLE}
    replies = {omni.reply(PROMPTS[0], WRITABLE, seed=s, sampling=cold).parts for s in range(3)}
    assert len(replies) == 1
    texts = {
        omni.reply(PROMPTS[0], ("text",), seed=s, sampling={"image": cold["image"]}).parts for s in range(5)
    }
    assert len(texts) > 1, "a modality that is not named keeps the recipe's settings"


@pytest.mark.parametrize(
    ("document", "want", "message"),
    [
        (Document(), ("text",), "request is empty"),
        (PROMPTS[0], (), "nothing is asked for"),
        (PROMPTS[0], ("video",), "does not write 'video'"),
        (PROMPTS[0], "text", "does not write 't'"),
        (Document([Text("x" * 400)]), ("text",), "context is 256"),
    ],
    ids=["empty", "nothing", "video", "string", "long"],
)
def test_requests_that_cannot_be_met_are_one_line(omni, document, want, message):
    for ask in (omni.reply, lambda d, w: list(omni.stream(d, w))):
        with pytest.raises(TonyError, match=message) as error:
            ask(document, want)
        assert "\n" not in str(error.value)


def test_a_modality_that_the_model_does_not_know(random_model, silent_vocabulary):
    omni = Omni(random_model(silent_vocabulary.size), silent_vocabulary, load_recipe(RECIPE))
    with pytest.raises(TonyError, match="knows no audio"):
        omni.reply(PROMPTS[2])
    with pytest.raises(TonyError, match="does not write 'audio'"):
        omni.reply(PROMPTS[0], ("audio",))


def test_score_counts_what_is_counted(omni):
    document = Document([Text("seven", role="user", counted=False), *PROMPTS[1].as_role("assistant", True)])
    scores = omni.score(document)
    tokens = omni.vocabulary.encode(document)
    assert sum(n for _, n in scores.values()) == tokens.counted.sum()
    assert set(scores) == {"text", "image"} and scores["image"][1] == 17
    total = -omni.engine.score(tokens.ids)[tokens.counted].sum()
    assert sum(nats for nats, _ in scores.values()) == pytest.approx(total)
    with pytest.raises(TonyError, match="no run folder"):
        omni.embed(document)


def test_load_reads_a_finished_run(tmp_path, random_model, vocabulary):
    run = Run.create(load_recipe(RECIPE), tmp_path)
    with pytest.raises(TonyError, match="no finished model"):
        tony.load(run.path)
    vocabulary.save(run.vocabulary)
    model = random_model(vocabulary.size)
    save_model(run.model, model)
    omni = tony.load(run.path)
    assert omni.name == "random" and omni.created > 1.6e9 and omni.run.path == run.path
    assert omni.num_parameters == model.num_parameters
    assert [p.modality for p in omni.reply(PROMPTS[0], ("text", "image"))] == ["text", "image"]


def test_a_model_and_a_vocabulary_of_different_runs(random_model, vocabulary):
    with pytest.raises(TonyError, match="different runs"):
        Omni(random_model(vocabulary.size + 1), vocabulary, load_recipe(RECIPE))
    with pytest.raises(TonyError, match="no run here"):
        tony.load("/nowhere")
