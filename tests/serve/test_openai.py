"""Programs written for the OpenAI API work unchanged: the official client gets strictly valid answers."""

import base64
import io

import numpy as np
import openai
import pytest
import soundfile
import soxr
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from PIL import Image as Picture

from tony import media

ALL = ["text", "image", "audio"]


def ask(text, **extra):
    return {"model": "fake", "messages": [{"role": "user", "content": text}], **extra}


def url_of(part, kind, mime):
    return f"data:{mime};base64,{base64.b64encode(media.encode(part, kind)).decode()}"


def strict(message):
    """The body as the client's own types have it; raises where a required field is missing."""
    kind = ChatCompletionChunk if message["object"].endswith("chunk") else ChatCompletion
    return kind.model_validate(message, strict=False)


@pytest.fixture
def api(live):
    with openai.OpenAI(base_url=f"{live}/v1", api_key="none", max_retries=0) as api:
        yield api


def test_models_are_listed_and_found(api):
    (model,) = api.models.list().data
    assert (model.id, model.object, model.owned_by) == ("fake", "model", "tony")
    assert api.models.retrieve("fake").created == 1_700_000_000
    with pytest.raises(openai.NotFoundError) as caught:
        api.models.retrieve("other/model")
    assert caught.value.code == "model_not_found"


def test_word_picture_and_sound_come_back_whole(api, fakes):
    answer = api.chat.completions.create(**ask("seven", modalities=ALL, seed=3))
    strict(answer.to_dict())
    message = answer.choices[0].message
    assert message.content == message.audio.transcript == "seven"
    picture = Picture.open(
        io.BytesIO(base64.b64decode(message.images[0]["image_url"]["url"].partition(",")[2]))
    )
    pictures, labels = fakes.digit_pictures()
    expected = np.round(pictures[labels == 7][3] / 16 * 255)
    assert (np.asarray(picture) == expected).all()
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(message.audio.data)))
    assert rate == 16_000 and np.abs(samples - fakes.tone(7).samples).max() < 1e-3
    assert answer.usage.completion_tokens == 5 + 64 + 25
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("sound_format", ["mp3", "flac", "opus", "pcm16"])
def test_sound_formats(api, fakes, sound_format):
    answer = api.chat.completions.create(
        **ask("seven", modalities=["audio"], audio={"voice": "alloy", "format": sound_format})
    )
    data = base64.b64decode(answer.choices[0].message.audio.data)
    assert answer.choices[0].message.content is None
    if sound_format == "pcm16":
        samples, rate = np.frombuffer(data, "<i2").astype(np.float32) / 32767, 24_000
    else:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert fakes.digit_of_tone(media.Audio(samples, rate)) == 7


@pytest.mark.parametrize("want", [["text", "image", "audio"], ["audio", "text"], ["image", "image", "text"]])
def test_a_stream_keeps_the_asked_order_and_equals_the_whole_answer(api, want):
    request = ask("seven", modalities=want, seed=5)
    chunks = list(api.chat.completions.create(**request, stream=True, stream_options={"include_usage": True}))
    order, text, sound, finals, partials, audio_keys = [], "", b"", [], 0, []
    for chunk in chunks:
        strict(chunk.to_dict())
        assert chunk.id == chunks[0].id and chunk.object == "chat.completion.chunk"
        if not chunk.choices:
            continue
        delta = chunk.choices[0].delta.to_dict()
        if delta.get("content"):
            text, order = text + delta["content"], [*order, "text"]
        for image in delta.get("images", []):
            partials += bool(image.get("partial"))
            if not image.get("partial"):
                finals.append(image["image_url"]["url"])
                order.append("image")
        if "audio" in delta:
            audio_keys += list(delta["audio"])
            if "data" in delta["audio"]:
                sound += base64.b64decode(delta["audio"]["data"])
                order.append("audio")
    steps = [kind for i, kind in enumerate(order) if kind == "image" or i == 0 or order[i - 1] != kind]
    assert steps == want
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage.total_tokens > 0 and chunks[-1].choices == []
    assert all(chunk.usage is None for chunk in chunks[:-1])
    whole = api.chat.completions.create(**request, audio={"voice": "x", "format": "pcm16"}).choices[0].message
    assert whole.content == text
    assert [image["image_url"]["url"] for image in getattr(whole, "images", [])] == finals
    assert partials == 7 * want.count("image")
    if "audio" in want:
        assert base64.b64decode(whole.audio.data) == sound
        assert audio_keys[0] == "id" and audio_keys[-2:] == ["transcript", "expires_at"]


def test_streamed_sound_is_the_sound_at_24_khz(client, fakes):
    from tony.serve.sound import PcmStream

    samples = fakes.tone(3).samples
    rng = np.random.default_rng(0)
    stream, pieces, at = PcmStream(16_000), b"", 0
    while at < len(samples):
        size = int(rng.integers(1, 900))
        pieces += stream.push(samples[at : at + size])
        at += size
    pieces += stream.flush()
    peer = soxr.resample(samples, 16_000, 24_000)
    assert len(pieces) == 2 * len(peer)
    assert np.abs(np.frombuffer(pieces, "<i2") / 32767 - peer).max() < 1e-4


def test_pictures_sounds_and_clips_are_understood(api, fakes, omni):
    pictures, labels = fakes.digit_pictures()
    nine = media.Image(np.round(pictures[labels == 9][0] / 16 * 255).astype(np.uint8))
    clip = media.Video(np.zeros((4, 8, 8, 3), np.uint8), 4.0)
    sound = base64.b64encode(media.encode(fakes.tone(4), "wav")).decode()
    for part, word in [
        ({"type": "image_url", "image_url": {"url": url_of(nine, "png", "image/png")}}, "nine"),
        ({"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}}, "four"),
        ({"type": "audio_url", "audio_url": {"url": url_of(fakes.tone(2), "flac", "audio/flac")}}, "two"),
        ({"type": "video_url", "video_url": {"url": url_of(clip, "gif", "image/gif")}}, "zero"),
    ]:
        answer = api.chat.completions.create(**ask([part]))
        assert answer.choices[0].message.content == word
    assert [part.modality for part in omni.asked[-1][0]] == ["video"]


def test_turns_become_one_document_with_roles(api, omni):
    first = (
        api.chat.completions.create(**ask("three", modalities=["text", "image", "audio"])).choices[0].message
    )
    earlier = {
        "role": "assistant",
        "content": "three",
        "images": first.images,
        "audio": {"id": first.audio.id},
    }
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "three"},
        earlier,
        {"role": "user", "content": [{"type": "text", "text": "fr:"}, {"type": "text", "text": "five"}]},
    ]
    answer = api.chat.completions.create(model="fake", messages=messages)
    assert answer.choices[0].message.content == "cinq"
    assert [(part.role, part.modality) for part in omni.asked[-1][0]] == [
        ("system", "text"), ("user", "text"), ("assistant", "text"), ("assistant", "image"),
        ("assistant", "audio"), ("user", "text"), ("user", "text"),
    ]  # fmt: skip


def test_choices_seeds_and_sampling_reach_the_engine(api, omni):
    answer = api.chat.completions.create(
        **ask("seven", modalities=["image"], n=3, seed=1, temperature=0.5, top_p=0.9)
    )
    pictures = [choice.message.images[0]["image_url"]["url"] for choice in answer.choices]
    assert len(set(pictures)) == 3 and [choice.index for choice in answer.choices] == [0, 1, 2]
    seeds = [asked[2] for asked in omni.asked]
    assert seeds[0] == 1 and len(set(seeds)) == 3
    (sampling,) = omni.asked[0][3].items()
    assert (sampling[0], sampling[1].temperature, sampling[1].top_p) == ("image", 0.5, 0.9)
    api.chat.completions.create(**ask("seven"))
    assert omni.asked[-1][3] is None


@pytest.mark.parametrize("stream", [False, True])
def test_max_completion_tokens_ends_the_reply(client, stream):
    body = ask("seven", modalities=["text", "audio"], max_completion_tokens=10, stream=stream)
    if stream:
        lines = client.post("/v1/chat/completions", json=body).text.split("\n\n")
        assert '"finish_reason":"length"' in lines[-3] and lines[-2] == "data: [DONE]"
        return
    answer = client.post("/v1/chat/completions", json={**body, "audio": {"format": "pcm16"}}).json()
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "length" and answer["usage"]["completion_tokens"] == 10
    assert choice["message"]["content"] == "seven"
    assert len(base64.b64decode(choice["message"]["audio"]["data"])) == 2 * 5 * 480  # five ids of 20 ms


def test_unknown_fields_are_named_in_a_header(client):
    answer = client.post("/v1/chat/completions", json=ask("one", frobnicate=1, audio={"voice": "alloy"}))
    assert answer.status_code == 200
    assert answer.headers["x-tony-ignored"] == "frobnicate, audio.voice"
