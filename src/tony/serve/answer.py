"""From the chunks of the engine to the JSON of a chat completion, whole or as a stream.

Everything here runs on the worker thread, as iterators that the worker advances one event at a time. A whole
answer is put together from the same chunks as a stream, so both are equal for the same seed.
"""

from __future__ import annotations

import base64
import math
import secrets
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np

from tony import media
from tony.media.document import Audio, Image, Part, Text
from tony.serve.request import ChatRequest
from tony.serve.sound import PcmStream

SOUND_IDS_PER_SECOND = 50  # one id is 20 ms in every codec of Tony


class Sounds:
    """The sounds of recent replies by id, so that a later turn can name one instead of sending it back."""

    def __init__(self, remembered: int, lifetime_seconds: int) -> None:
        self.lifetime_seconds = lifetime_seconds
        self._remembered = remembered
        self._sounds: OrderedDict[str, tuple[float, Audio]] = OrderedDict()
        self._lock = Lock()

    def keep(self, sound_id: str, sound: Audio) -> None:
        with self._lock:
            self._sounds[sound_id] = time.time() + self.lifetime_seconds, sound
            while len(self._sounds) > self._remembered:
                self._sounds.popitem(last=False)

    def find(self, sound_id: str) -> Audio | None:
        """The sound, or None when it was never made here or has expired."""
        with self._lock:
            expires, sound = self._sounds.get(sound_id, (0.0, None))
        return sound if expires > time.time() else None


@dataclass
class Choice:
    """What has come of one reply so far."""

    text: str = ""
    images: list[Image] = field(default_factory=list)
    pieces: list[np.ndarray] = field(default_factory=list)  # of the sound, float32 (n,)
    rate: int = 16_000
    has_text: bool = False
    has_sound: bool = False
    sound_samples: int = 0
    partial: Image | None = None
    part_text: str = ""  # of the text part that is being written
    part_samples: int = 0
    finish_reason: str = "stop"

    @property
    def sound(self) -> Audio | None:
        if not self.has_sound:
            return None
        return Audio(np.concatenate([*self.pieces, np.zeros(0, np.float32)]), self.rate)


@dataclass(frozen=True)
class News:
    """What one chunk added to a choice."""

    text: str = ""
    samples: np.ndarray | None = None
    sound_ended: bool = False
    image: Image | None = None
    image_index: int = 0
    image_ended: bool = False


class Answer:
    """One answer in the making: its ids, its choices, and what it cost."""

    def __init__(self, omni: Any, request: ChatRequest, sounds: Sounds) -> None:
        self.omni = omni
        self.request = request
        self.sounds = sounds
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self.seed = secrets.randbelow(2**31) if request.seed is None else request.seed
        self.choices: list[Choice] = []

    # --- chunks -> choices --------------------------------------------------------------------------------

    def _news(self, choice: Choice, number: int) -> Iterator[News]:
        """Drive the engine for choice `number`, recording into `choice` what arrives."""
        stream = self.omni.stream(
            self.request.document,
            self.request.want,
            # Other choices get seeds of their own, far from the ones that a caller would try next.
            seed=(self.seed + number * 0x9E3779B97F4A7C15) % 2**63,
            sampling=self.request.sampling,
        )
        try:
            for chunk in stream:
                news = _new_in(chunk, choice)
                if self.request.max_tokens is not None and self._tokens(choice) > self.request.max_tokens:
                    choice.finish_reason = "length"
                    _take_back(choice, news)
                    break
                yield news
        finally:
            close = getattr(stream, "close", None)
            if close is not None:
                close()

    def _tokens(self, choice: Choice) -> int:
        """Ids spent on `choice`, control tokens not counted; a picture half drawn counts its rows."""
        spent = math.ceil(choice.sound_samples * SOUND_IDS_PER_SECOND / choice.rate - 1e-9)
        if choice.text:
            spent += self._size(Text(choice.text))
        spent += sum(self._size(image) for image in choice.images)
        if choice.partial is not None:
            drawn = np.flatnonzero(choice.partial.pixels.any(axis=(1, 2)))
            rows = int(drawn[-1]) + 1 if len(drawn) else 0
            spent += math.ceil(self._size(choice.partial) * rows / choice.partial.height)
        return spent

    def _size(self, part: Part) -> int:
        return len(self.omni.vocabulary.encode_part(part))

    def usage(self) -> dict:
        """The `usage` object: ids of the prompt and of all replies."""
        prompt = len(self.omni.vocabulary.encode(self.request.document).ids)
        completion = sum(self._tokens(choice) for choice in self.choices)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }

    # --- choices -> a whole answer ------------------------------------------------------------------------

    def whole(self) -> Iterator[dict | None]:
        """None for each step on the way, then the `chat.completion` object."""
        for number in range(self.request.choices):
            self.choices.append(choice := Choice())
            for _ in self._news(choice, number):
                yield None
        yield {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.omni.name,
            "choices": [self._choice(number, choice) for number, choice in enumerate(self.choices)],
            "usage": self.usage(),
        }

    def _choice(self, number: int, choice: Choice) -> dict:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": choice.text if choice.has_text else None,
            "refusal": None,
        }
        if choice.partial is not None:
            choice.images.append(choice.partial)
        if choice.images:
            message["images"] = [image_item(image, index) for index, image in enumerate(choice.images)]
        if choice.sound is not None:
            message["audio"] = self._sound(choice)
        return {
            "index": number,
            "message": message,
            "logprobs": None,
            "finish_reason": choice.finish_reason,
        }

    def _sound(self, choice: Choice) -> dict:
        sound_id = f"audio_{uuid.uuid4().hex}"
        self.sounds.keep(sound_id, choice.sound)
        if self.request.sound_format == "pcm16":
            stream = PcmStream(choice.rate)
            data = b"".join(stream.push(piece) for piece in choice.pieces)
            data += stream.flush()
        else:
            data = media.encode(choice.sound, self.request.sound_format)
        return {
            "id": sound_id,
            "data": base64.b64encode(data).decode(),
            "transcript": choice.text,
            "expires_at": self.created + self.sounds.lifetime_seconds,
        }

    # --- choices -> a stream ------------------------------------------------------------------------------

    def chunks(self) -> Iterator[dict]:
        """The `chat.completion.chunk` objects, in the order in which the parts are made."""
        for number in range(self.request.choices):
            self.choices.append(choice := Choice())
            yield from self._choice_chunks(choice, number)
        if self.request.include_usage:
            yield {**self._chunk(0, {}), "choices": [], "usage": self.usage()}

    def _choice_chunks(self, choice: Choice, number: int) -> Iterator[dict]:
        sound_id, pcm = f"audio_{uuid.uuid4().hex}", None
        begun = False
        for news in self._news(choice, number):
            # The role is sent with the first news, not before: a request that the engine refuses still gets
            # its HTTP status.
            if not begun:
                yield self._chunk(number, {"role": "assistant", "content": ""})
                begun = True
            if news.text:
                yield self._chunk(number, {"content": news.text})
            if news.image is not None:
                item = image_item(news.image, news.image_index, partial=not news.image_ended)
                yield self._chunk(number, {"images": [item]})
            if news.samples is not None:
                if pcm is None:
                    pcm = PcmStream(choice.rate)
                    yield self._chunk(number, {"audio": {"id": sound_id}})
                if data := pcm.push(news.samples, last=news.sound_ended):
                    yield self._chunk(number, {"audio": {"data": base64.b64encode(data).decode()}})
        if not begun:
            yield self._chunk(number, {"role": "assistant", "content": ""})
        if choice.partial is not None:  # cut by max_completion_tokens: what was drawn is the picture
            index = len(choice.images)
            yield self._chunk(number, {"images": [image_item(choice.partial, index)]})
        if pcm is not None:
            yield from self._end_of_sound(choice, number, pcm, sound_id)
        yield self._chunk(number, {}, choice.finish_reason)

    def _end_of_sound(self, choice: Choice, number: int, pcm: PcmStream, sound_id: str) -> Iterator[dict]:
        if choice.finish_reason == "length" and (data := pcm.flush()):
            yield self._chunk(number, {"audio": {"data": base64.b64encode(data).decode()}})
        self.sounds.keep(sound_id, choice.sound)
        yield self._chunk(number, {"audio": {"transcript": choice.text}})
        expires_at = self.created + self.sounds.lifetime_seconds
        yield self._chunk(number, {"audio": {"expires_at": expires_at}})

    def _chunk(self, number: int, delta: dict, finish_reason: str | None = None) -> dict:
        chunk = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.omni.name,
            "choices": [{"index": number, "delta": delta, "logprobs": None, "finish_reason": finish_reason}],
        }
        return {**chunk, "usage": None} if self.request.include_usage else chunk


def image_item(image: Image, index: int, partial: bool = False) -> dict:
    """A picture as the field's servers send it: a PNG data URL; `partial` while rows are still missing."""
    data = base64.b64encode(media.encode(image, "png")).decode()
    item = {"type": "image_url", "index": index, "image_url": {"url": f"data:image/png;base64,{data}"}}
    return {**item, "partial": True} if partial else item


def _new_in(chunk: Any, choice: Choice) -> News:
    """What `chunk` adds; `choice` is brought up to date."""
    part = chunk.part if chunk.part is not None else chunk.delta
    ended = chunk.part is not None
    if isinstance(part, Text):
        # The last chunk carries the whole part: what was not sent yet is its tail.
        new = part.text[len(choice.part_text) :] if ended else part.text
        choice.text += new
        choice.part_text = "" if ended else choice.part_text + new
        choice.has_text = True
        return News(text=new)
    if isinstance(part, Image):
        index = len(choice.images)
        if ended:
            choice.images.append(part)
        choice.partial = None if ended else part
        return News(image=part, image_index=index, image_ended=ended)
    if isinstance(part, Audio):
        new = part.samples[choice.part_samples :] if ended else part.samples
        choice.rate = part.rate
        choice.has_sound = True
        choice.pieces.append(new)
        choice.sound_samples += len(new)
        choice.part_samples = 0 if ended else choice.part_samples + len(new)
        return News(samples=new, sound_ended=ended)
    return News()


def _take_back(choice: Choice, news: News) -> None:
    """Undo `news`, which went beyond max_completion_tokens and is not delivered."""
    if news.text:
        choice.text = choice.text[: -len(news.text)]
    if news.samples is not None and len(news.samples):
        choice.pieces.pop()
        choice.sound_samples -= len(news.samples)
    if news.image_ended:
        choice.images.pop()
    choice.partial = None
