"""From the JSON of a chat completion request to a Document and what should come back.

Every refusal is an ApiError 400 that names the field, what was received and what to send instead.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tony import media
from tony.errors import TonyError
from tony.media.document import Audio, Document, Modality, Part, Text
from tony.runs.recipe import Sampling
from tony.serve.errors import ApiError
from tony.serve.limits import Limits

WANTS = ("text", "image", "audio")
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
# What `audio.format` may be; pcm16 is 24 kHz without a header, the others carry their own rate.
SOUND_FORMATS = ("wav", "mp3", "flac", "opus", "pcm16")

KNOWN_FIELDS = frozenset({
    "model", "messages", "modalities", "audio", "stream", "stream_options", "n", "seed", "temperature",
    "top_p", "max_completion_tokens", "max_tokens", "user", "metadata", "store", "service_tier",
    "safety_identifier", "prompt_cache_key", "tools", "tool_choice", "functions", "function_call",
    "response_format", "logprobs", "top_logprobs", "stop", "logit_bias", "presence_penalty",
    "frequency_penalty", "parallel_tool_calls", "web_search_options", "verbosity", "reasoning_effort",
    "prediction",
})  # fmt: skip

# Fields that Tony does not have, with the values that change nothing; any other value is refused, because
# ignoring it would answer another question than the one that was asked.
HARMLESS: dict[str, tuple] = {
    "tools": (None, []),
    "functions": (None, []),
    "tool_choice": (None, "none", "auto"),
    "function_call": (None, "none", "auto"),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "stop": (None, "", []),
    "logit_bias": (None, {}),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "response_format": (None, {"type": "text"}),
    "web_search_options": (None,),
}


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """One request, understood."""

    model: str
    document: Document
    want: tuple[str, ...]
    sound_format: str
    stream: bool
    include_usage: bool
    choices: int
    seed: int | None
    sampling: dict[str, Sampling] | None
    max_tokens: int | None
    ignored: tuple[str, ...] = field(default=())


def parse_chat(
    body: Any, limits: Limits, sound_by_id: Callable[[str], Audio | None] = lambda _: None
) -> ChatRequest:
    """The request that JSON value `body` describes; `sound_by_id` finds the sound of an earlier reply.

    Decodes pictures, sounds and clips, so it is no work for the event loop.
    """
    if not isinstance(body, dict):
        raise ApiError(f"the body is {_kind(body)}: send a JSON object with model and messages")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise ApiError(_got("model", model, "the id of a model, as GET /v1/models lists it"), param="model")
    for name, harmless in HARMLESS.items():
        if name in body and body[name] not in harmless:
            raise ApiError(f"{name} is not supported by this model: leave it out", param=name)
    want = _modalities(body.get("modalities"))
    stream = _boolean(body, "stream")
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise ApiError(_got("stream_options", options, "an object"), param="stream_options")
    if options and not stream:
        raise ApiError("stream_options is only for stream: true", param="stream_options")
    return ChatRequest(
        model=model,
        document=_messages(body.get("messages"), limits, sound_by_id),
        want=want,
        sound_format=_sound_format(body.get("audio"), stream),
        stream=stream,
        include_usage=_boolean(options, "include_usage", "stream_options.include_usage"),
        choices=_whole(body, "n", 1, limits.choices) or 1,
        seed=_whole(body, "seed", -(2**63), 2**63 - 1),
        sampling=_sampling(body, want),
        max_tokens=_first(
            _whole(body, "max_completion_tokens", 1, 2**31), _whole(body, "max_tokens", 1, 2**31)
        ),
        ignored=_ignored(body),
    )


# --- the small fields -------------------------------------------------------------------------------------


def _kind(value: Any) -> str:
    """What a person would call a JSON value."""
    if value is None:
        return "missing"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "an object")


def _got(name: str, value: Any, remedy: str) -> str:
    shown = repr(value) if isinstance(value, (str, int, float)) else _kind(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return f"{name} is {shown}: send {remedy}"


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _boolean(body: dict, name: str, param: str | None = None) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise ApiError(_got(param or name, value, "true or false"), param=param or name)
    return bool(value)


def _whole(body: dict, name: str, low: int, high: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ApiError(_got(name, value, f"a whole number from {low} to {high}"), param=name)
    return value


def _real(body: dict, name: str, low: float, high: float) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ApiError(_got(name, value, f"a number from {low:g} to {high:g}"), param=name)
    if not low <= value <= high:
        raise ApiError(_got(name, value, f"a number from {low:g} to {high:g}"), param=name)
    return float(value)


def _sampling(body: dict, want: tuple[str, ...]) -> dict[str, Sampling] | None:
    """How each wanted modality is sampled; None leaves it to the recipe of the run."""
    temperature = _real(body, "temperature", 0, 2)
    top_p = _real(body, "top_p", 0, 1)
    if temperature is None and top_p is None:
        return None
    sampling = Sampling(
        temperature=1.0 if temperature is None else temperature,
        top_p=1.0 if top_p is None else max(top_p, 1e-6),  # 0 means: only the most likely
    )
    return dict.fromkeys(want, sampling)


def _modalities(value: Any) -> tuple[str, ...]:
    remedy = "a list of any of text, image, audio, in the order in which they should come back"
    if value is None:
        return ("text",)
    if not isinstance(value, list) or not value or not all(item in WANTS for item in value):
        raise ApiError(_got("modalities", value, remedy) + _listing(value), param="modalities")
    for name in ("text", "audio"):
        if value.count(name) > 1:
            raise ApiError(f"modalities asks for {name} {value.count(name)} times: once is the most a message "
                           f"can hold", param="modalities")  # fmt: skip
    if len(value) > 8:
        raise ApiError(f"modalities asks for {len(value)} parts: 8 is the most", param="modalities")
    return tuple(value)


def _listing(value: Any) -> str:
    return f" (received {value!r:.80})" if isinstance(value, list) else ""


def _sound_format(audio: Any, stream: bool) -> str:
    if audio is None:
        return "pcm16" if stream else "wav"
    if not isinstance(audio, dict):
        raise ApiError(
            _got("audio", audio, 'an object like {"voice": "tony", "format": "wav"}'), param="audio"
        )
    sound_format = audio.get("format")
    if sound_format is None:
        return "pcm16" if stream else "wav"
    if sound_format not in SOUND_FORMATS:
        raise ApiError(
            _got("audio.format", sound_format, f"one of {', '.join(SOUND_FORMATS)}"), param="audio.format"
        )
    if stream and sound_format != "pcm16":
        raise ApiError(
            f"audio.format is {sound_format!r}, but a stream carries pcm16 only: send pcm16, or stream: false",
            param="audio.format",
        )
    return sound_format


def _ignored(body: dict) -> tuple[str, ...]:
    """Names of the fields that were received and had no effect, for the x-tony-ignored header."""
    names = sorted(name for name in body if name not in KNOWN_FIELDS)
    audio = body.get("audio")
    if isinstance(audio, dict) and audio.get("voice") not in (None, "tony"):
        names.append("audio.voice")
    return tuple(name for name in names if re.fullmatch(r"[\w.-]{1,64}", name, re.ASCII))[:16]


# --- messages ---------------------------------------------------------------------------------------------


def _messages(messages: Any, limits: Limits, sound_by_id: Callable[[str], Audio | None]) -> Document:
    if not isinstance(messages, list) or not messages:
        raise ApiError(_got("messages", messages, "a list with at least one message"), param="messages")
    if len(messages) > limits.messages:
        raise ApiError(
            f"messages holds {len(messages)}: {limits.messages} is the most a request may hold",
            param="messages",
        )
    parts: list[Part] = []
    role = ""
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        if not isinstance(message, dict):
            raise ApiError(_got(where, message, "an object with role and content"), param=where)
        role = ROLES.get(message.get("role"), "") if isinstance(message.get("role"), str) else ""
        if not role:
            raise ApiError(
                _got(f"{where}.role", message.get("role"), f"one of {', '.join(ROLES)}"),
                param=f"{where}.role",
            )
        parts += (replace(part, role=role) for part in _content(message, where, limits, sound_by_id))
        if len(parts) > limits.parts:
            raise ApiError(
                f"messages hold more than {limits.parts} parts: send fewer turns or parts", param="messages"
            )
    if role != "user":
        raise ApiError(f"the last message has the role {role}: it must be the user's", param="messages")
    if parts[-1].role != "user" if parts else True:
        raise ApiError("the last message is empty: send text, a picture, a sound or a clip", param="messages")
    length = sum(len(part.text) for part in parts if isinstance(part, Text))
    if length > limits.text_characters:
        raise ApiError(
            f"messages hold {length} characters of text: {limits.text_characters} is the most",
            param="messages",
        )
    return Document(parts)


def _content(
    message: dict, where: str, limits: Limits, sound_by_id: Callable[[str], Audio | None]
) -> list[Part]:
    """The parts of one message; an assistant's turn may also carry pictures and name its sound by id."""
    content = message.get("content")
    assistant = message.get("role") == "assistant"
    parts: list[Part] = []
    if isinstance(content, str):
        parts += [_text(content, f"{where}.content")] if content else []
    elif isinstance(content, list):
        for number, item in enumerate(content):
            part = _part(item, f"{where}.content[{number}]", limits)
            parts += [] if isinstance(part, Text) and not part.text else [part]
    elif content is not None or not assistant:
        raise ApiError(
            _got(f"{where}.content", content, "a string or a list of parts"), param=f"{where}.content"
        )
    if assistant and message.get("tool_calls"):
        raise ApiError(f"{where}.tool_calls is not supported: leave it out", param=f"{where}.tool_calls")
    if assistant and isinstance(message.get("images"), list):
        parts += (_part(item, f"{where}.images[{n}]", limits) for n, item in enumerate(message["images"]))
    if assistant and isinstance(message.get("audio"), dict):
        sound_id = message["audio"].get("id")
        sound = sound_by_id(sound_id) if isinstance(sound_id, str) else None
        if sound is None:
            raise ApiError(
                _got(
                    f"{where}.audio.id", sound_id, "the id of a sound that has not expired, or leave it out"
                ),
                param=f"{where}.audio.id",
            )
        parts.append(sound)
    return parts


def _text(value: Any, where: str) -> Text:
    if not isinstance(value, str):
        raise ApiError(_got(where, value, "a string"), param=where)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ApiError(
            f"{where} holds half of a surrogate pair: send whole characters", param=where
        ) from None
    return Text(value)


def _part(item: Any, where: str, limits: Limits) -> Part:
    """The Document part that one content part describes."""
    if not isinstance(item, dict):
        raise ApiError(_got(where, item, "an object with a type"), param=where)
    kind = item.get("type")
    if kind == "text":
        return _text(item.get("text"), f"{where}.text")
    if kind == "input_audio":
        return _input_audio(item.get("input_audio"), f"{where}.input_audio", limits)
    expected: dict[str, Modality] = {"image_url": "image", "audio_url": "audio", "video_url": "video"}
    if kind not in expected:
        raise ApiError(
            _got(f"{where}.type", kind, "text, image_url, input_audio, audio_url or video_url"),
            param=f"{where}.type",
        )
    value = item.get(kind)
    param = f"{where}.{kind}.url"
    url = value.get("url") if isinstance(value, dict) else value
    data, mime = _data_url(url, param)
    return _decoded(data, mime, expected[kind], param, limits)


def _input_audio(value: Any, where: str, limits: Limits) -> Part:
    if not isinstance(value, dict):
        raise ApiError(_got(where, value, "an object with data and format"), param=where)
    name = value.get("format")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9]{1,8}", name):
        raise ApiError(_got(f"{where}.format", name, "wav, mp3, flac, ogg or opus"), param=f"{where}.format")
    if not isinstance(value.get("data"), str):
        raise ApiError(
            _got(f"{where}.data", value.get("data"), "base64 of a sound file"), param=f"{where}.data"
        )
    data = _base64(value["data"], f"{where}.data")
    return _decoded(data, name, "audio", f"{where}.data", limits)


_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)((?:;[\w.+-]+=[^;,]*)*)(;base64)?,", re.ASCII)


def _data_url(url: Any, param: str) -> tuple[bytes, str]:
    """The bytes and the media type of a data URL. Nothing is ever fetched: other addresses are refused."""
    if not isinstance(url, str):
        raise ApiError(_got(param, url, "a data URL, data:TYPE;base64,DATA"), param=param)
    if not url.startswith("data:"):
        raise ApiError(
            f"{param} starts with {url[:24]!r}: this server fetches nothing from a network or disk. "
            f"Send the file itself as data:TYPE;base64,DATA",
            param=param,
        )
    head = _DATA_URL.match(url[:300])
    if head is None or not head[3]:
        raise ApiError(f"{param} is no base64 data URL: write data:TYPE;base64,DATA", param=param)
    return _base64(url[head.end() :], param), head[1].lower()


def _base64(text: str, param: str) -> bytes:
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):  # ValueError: characters beyond ASCII
        raise ApiError(f"{param} is not valid base64: encode the whole file again", param=param) from None
    if not data:
        raise ApiError(f"{param} is empty: send the bytes of a file in base64", param=param)
    return data


def _decoded(data: bytes, name_or_mime: str, modality: Modality, param: str, limits: Limits) -> Part:
    try:
        return media.decode(data, name_or_mime, modality=modality, limits=limits.media)
    except TonyError as error:
        raise ApiError(f"{param}: {error}", param=param) from None
