"""Sound from and to bytes, with soundfile (WAV, FLAC, Ogg). Always mono float32: channels are averaged."""

from __future__ import annotations

import io
from typing import BinaryIO

import numpy as np

from tony.errors import TonyError
from tony.media.document import Audio
from tony.media.limits import Limits

_BLOCK = 1 << 16  # frames a read: the memory of many channels stays small
_FORMATS = {  # kind -> soundfile's format and subtype
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def check_sound_size(name: str, num_samples: int, rate: int, limits: Limits) -> None:
    """Raises TonyError where so many samples at `rate` are over the limits."""
    if rate <= 0:
        raise TonyError(f"{name} says it has {rate} samples per second: it is damaged; export it again")
    if num_samples > limits.max_seconds * rate:
        raise TonyError(
            f"{name} lasts {num_samples / rate:,.0f} s, over the limit of {limits.max_seconds:,.0f} s: cut it shorter"
        )
    if num_samples > limits.max_samples:
        raise TonyError(
            f"{name} holds {num_samples:,} samples, over the limit of {limits.max_samples:,}: "
            "cut it shorter or lower its sampling rate"
        )


def sound_of(name: str, blocks: list[np.ndarray], rate: int) -> Audio:
    """The Audio of mono `blocks`; TonyError where there is nothing in them, or no numbers."""
    samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks or [np.zeros(0, np.float32)])
    if len(samples) == 0:
        raise TonyError(f"{name} holds no sound: record or export it again")
    if not np.isfinite(samples).all():
        raise TonyError(f"{name} holds NaN or infinite samples: export it again")
    return Audio(samples, rate)


def read_sound(file: BinaryIO, name: str, limits: Limits) -> Audio:
    """The sound in `file` (WAV, FLAC or Ogg), in [-1, 1], averaged to mono; refused by its header if too long."""
    import soundfile

    blocks: list[np.ndarray] = []
    num_samples = 0
    with soundfile.SoundFile(file) as sound:
        # A stream of unknown length announces a huge one; the count below then bounds it.
        if sound.frames < 1 << 62:
            check_sound_size(name, sound.frames, sound.samplerate, limits)
        while len(block := sound.read(_BLOCK, dtype="float32", always_2d=True)):  # (n, channels)
            num_samples += len(block)
            check_sound_size(name, num_samples, sound.samplerate, limits)
            blocks.append(block.mean(axis=1) if block.shape[1] > 1 else block[:, 0])
        rate = sound.samplerate
    return sound_of(name, blocks, rate)


def pcm16(samples: np.ndarray) -> np.ndarray:
    """`samples` float (n,) as int16 (n,), clipped; the inverse of reading int16 / 32768."""
    return np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype(np.int16)


def decode_pcm16(data: bytes, name: str, rate: int, limits: Limits) -> Audio:
    """The sound of raw little-endian int16 mono `data` at `rate`."""
    if len(data) % 2:
        raise TonyError(f"{name} has an odd number of bytes: 16-bit sound has two a sample; send it whole")
    check_sound_size(name, len(data) // 2, rate, limits)
    return sound_of(name, [np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)], rate)


def encode_sound(audio: Audio, kind: str, exact: bool = False) -> bytes:
    """`audio` as wav, flac (16-bit, louder than 1 is clipped), ogg, opus, mp3 (lossy) or pcm16 (raw).

    `exact` keeps each float of a wav: 32-bit float samples where 16 bits do not hold them.
    """
    whole = pcm16(audio.samples)
    if kind == "pcm16":
        return whole.astype("<i2").tobytes()
    import soundfile

    file_format, subtype = _FORMATS[kind]
    samples = whole
    if exact and (whole.astype(np.float32) / np.float32(32768)).tobytes() != audio.samples.tobytes():
        return _float_wav(audio)
    if subtype != "PCM_16":
        samples = np.clip(audio.samples, -1, 1)  # a lossy encoder overflows beyond
    data = io.BytesIO()
    try:
        with soundfile.SoundFile(data, "w", audio.rate, 1, subtype, format=file_format) as sound:
            for start in range(0, len(samples), _BLOCK):  # libvorbis overflows its stack on long writes
                sound.write(samples[start : start + _BLOCK])
    except soundfile.LibsndfileError as error:
        raise TonyError(
            f"{kind} cannot hold sound at {audio.rate} Hz: use to_rate first (16000, 24000 and 48000 suit all)"
        ) from error
    return data.getvalue()


def _float_wav(audio: Audio) -> bytes:
    """`audio` as WAV with float32 samples. (soundfile would write the date into it: no two files alike.)"""
    import scipy.io.wavfile

    data = io.BytesIO()
    scipy.io.wavfile.write(data, audio.rate, audio.samples)
    return data.getvalue()
