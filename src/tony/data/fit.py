"""Documents made to fit the context: long texts go on in further documents, clips are thinned, nothing breaks off."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tony.errors import TonyError
from tony.media import Audio, Document, Part, Text, Video, to_fps, to_rate
from tony.tokens.vocabulary import SOUND_IDS_PER_SECOND, SOUND_RATE, Tokens, Vocabulary, payload_key

LEAST_TEXT = 32  # ids: a shorter beginning of a text is not worth its place beside other parts
WORD_SEARCH = 8  # ids: how far back a break looks for the start of a word


def fit(
    document: Document, vocabulary: Vocabulary, context: int, memo: Mapping[int, np.ndarray] | None = None
) -> tuple[list[Tokens], bool]:
    """The tokens of `document` in pieces of at most `context` ids, and whether something of it had to be left out.

    A text that is too long is divided at words, and its further pieces stand in documents of their own. A clip keeps
    fewer frames. Where that does not help, whole parts are left out from the end, and a lone sound is cut.

    Raises:
        TonyError: not even one picture fits.
    """
    known = [_reached(part, vocabulary) for part in document if part.modality in vocabulary.modalities]
    lost = len(known) < len(document)
    if not known:
        return [], True
    # Texts are encoded once: a long one is looked at again and again below.
    texts = {payload_key(part): vocabulary.encode_part(part) for part in known if isinstance(part, Text)}
    memo = ChainMap(texts, memo or {})
    tokens = vocabulary.encode(Document(known), memo)
    if len(tokens) <= context:
        return [tokens], lost
    parts, thinned = _thin(known, len(tokens) - context, vocabulary)
    lost |= thinned
    tokens = vocabulary.encode(Document(parts), memo) if thinned else tokens
    if len(tokens) <= context:
        return [tokens], lost
    lengths = [(_num_ids(p, vocabulary, memo), i) for i, p in enumerate(parts) if isinstance(p, Text)]
    length, at = max(lengths, default=(0, -1))
    if length > LEAST_TEXT:
        room = context - (len(tokens) - length)
        if room >= min(LEAST_TEXT, length) or (len(parts) == 1 and room > 0):
            return _divide(parts, at, room, vocabulary, context, memo), lost
        others, also_lost = fit(Document(parts[:at] + parts[at + 1 :]), vocabulary, context, memo)
        alone, _ = fit(Document([parts[at]]), vocabulary, context, memo)
        return others + alone, lost or also_lost
    if len(parts) > 1:
        return fit(Document(parts[:-1]), vocabulary, context, memo)[0], True
    if not isinstance(parts[0], Audio):
        raise TonyError(
            f"{_article(parts[0])} of {len(tokens)} ids does not fit model.context={context}: raise it, or choose a "
            "smaller vocabulary.image.side"
        )
    seconds = (context - (len(tokens) - _num_ids(parts[0], vocabulary, memo))) / SOUND_IDS_PER_SECOND
    sound = to_rate(parts[0], SOUND_RATE)
    shorter = replace(sound, samples=sound.samples[: int((seconds - 0.02) * SOUND_RATE)].copy())
    return [vocabulary.encode(Document([shorter]))], True


def _num_ids(part: Part, vocabulary: Vocabulary, memo: Mapping[int, np.ndarray] | None) -> int:
    return len(vocabulary.encode_part(part, memo))


def _article(part: Part) -> str:
    return {"image": "a picture", "video": "a clip"}.get(part.modality, f"a part of {part.modality}")


def _reached(part: Part, vocabulary: Vocabulary) -> Part:
    """The part, a clip only as far as the time marks reach."""
    if not isinstance(part, Video):
        return part
    most = max(1, int((vocabulary.video_seconds - 0.1) * part.fps) + 1)
    return part if len(part.frames) <= most else replace(part, frames=part.frames[:most])


def _thin(parts: Sequence[Part], over: int, vocabulary: Vocabulary) -> tuple[list[Part], bool]:
    """The parts with as many frames fewer as take `over` ids away, and whether there were any to take."""
    out = []
    per_frame = vocabulary.image.length + 1 if vocabulary.image is not None else 1
    thinned = False
    for part in parts:
        if isinstance(part, Video) and over > 0 and len(part.frames) > 1:
            have = len(part.frames)
            keep = max(1, have - -(-over // per_frame))
            over -= (have - keep) * per_frame
            part, thinned = to_fps(part, part.fps * keep / have), True
        out.append(part)
    return out, thinned


def _divide(
    parts: Sequence[Part],
    at: int,
    room: int,
    vocabulary: Vocabulary,
    context: int,
    memo: Mapping[int, np.ndarray] | None,
) -> list[Tokens]:
    """The document with the first `room` ids of its text `at`, then documents with the rest of that text."""
    text = parts[at]
    body = vocabulary.encode_part(text, memo)
    whole = vocabulary.encode(Document(parts), memo)
    end = len(vocabulary.encode(Document(parts[: at + 1]), memo)) - 2  # where its end mark stands
    cut = _break(body, room, vocabulary)
    head = Tokens(
        np.concatenate([whole.ids[: end - len(body) + cut], whole.ids[end:]]),
        np.concatenate([whole.counted[: end - len(body) + cut], [False], whole.counted[end + 1 :]]),
    )
    mark = [vocabulary.control(text.role)] if text.role else []
    opening = np.array([vocabulary.control("start"), *mark, vocabulary.begin("text")])
    closing = np.array([vocabulary.end("text"), vocabulary.control("stop")])
    pieces, own = [head], vocabulary.counted_of(text, body)
    while cut < len(body):
        rest = body[cut:]
        here = _break(rest, context - len(opening) - len(closing), vocabulary)
        is_last = here == len(rest)  # a text that goes on does not teach where texts end
        ends = [text.counted and is_last, False]
        counted = np.concatenate([np.zeros(len(opening), bool), own[cut : cut + here], ends])
        pieces.append(Tokens(np.concatenate([opening, rest[:here], closing]), counted))
        cut += here
    return pieces


def _break(ids: np.ndarray, room: int, vocabulary: Vocabulary) -> int:
    """How many of `ids`, at most `room`, stand before a break: at a word near the end, else where a character begins."""
    if len(ids) <= room:
        return len(ids)
    start = vocabulary.ranges["text"].start
    places = range(room, max(1, room - WORD_SEARCH), -1)
    begins = {place: vocabulary.text.decode(ids[place : place + 1] - start).text for place in places}
    for place in places:
        if begins[place][:1].isspace():
            return place
    return next((place for place in places if not begins[place].startswith("\ufffd")), room)
