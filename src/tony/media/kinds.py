"""Which kind of file something is: by what it is called, and by what its first bytes say."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tony.media.document import Modality

# kind -> what a person calls it
LABELS: dict[str, str] = {
    "png": "a PNG picture",
    "jpeg": "a JPEG picture",
    "webp": "a WebP picture",
    "bmp": "a BMP picture",
    "gif": "a GIF",
    "wav": "a WAV sound",
    "flac": "a FLAC sound",
    "ogg": "an Ogg sound",
    "mp3": "an MP3 sound",
    "aac": "an AAC sound",
    "pcm16": "raw 16-bit sound",
    "mp4": "an MP4 file",
    "webm": "a WebM file",
    "text": "UTF-8 text",
}
READABLE = "png, jpeg, webp, bmp, gif, wav, flac, ogg, opus, mp3, aac, m4a, mp4, mov, webm, mkv and txt"

_TEXT_SUFFIXES = [
    "txt",
    "md",
    "rst",
    "py",
    "c",
    "h",
    "cpp",
    "hpp",
    "java",
    "js",
    "ts",
    "go",
    "rs",
    "sh",
    "sql",
    "html",
    "css",
    "json",
    "toml",
    "yaml",
    "yml",
    "csv",
    "xml",
    "tex",
]
_KIND_OF_SUFFIX: dict[str, str] = {
    **{kind: kind for kind in LABELS},
    **{"jpg": "jpeg", "jpe": "jpeg", "wave": "wav", "oga": "ogg", "opus": "ogg", "pcm": "pcm16"},
    **{"m4a": "mp4", "m4v": "mp4", "mov": "mp4", "3gp": "mp4", "weba": "webm", "mkv": "webm"},
    **dict.fromkeys(_TEXT_SUFFIXES, "text"),
}
_SOUND_SUFFIXES = {"m4a", "weba"}  # containers that could hold pictures but by their name hold sound
_KIND_OF_SUBTYPE: dict[str, str] = {
    **{"jpg": "jpeg", "pjpeg": "jpeg", "x-png": "png", "x-ms-bmp": "bmp"},
    **{"x-wav": "wav", "wave": "wav", "vnd.wave": "wav", "x-pn-wav": "wav", "x-flac": "flac"},
    **{"opus": "ogg", "vorbis": "ogg", "mpeg": "mp3", "mpeg3": "mp3", "x-mp3": "mp3", "x-aac": "aac"},
    **{"x-m4a": "mp4", "m4a": "mp4", "x-m4v": "mp4", "quicktime": "mp4", "3gpp": "mp4"},
    **{"x-matroska": "webm", "pcm": "pcm16", "l16": "pcm16"},
}
PCM16_RATE_HZ = 24_000  # what the OpenAI API means by "pcm16"


@dataclass(frozen=True)
class Declared:
    """What a name or MIME type promises; None where it promises nothing."""

    kind: str | None = None
    modality: Modality | None = None  # only where the kind alone leaves it open (mp4, webm)
    rate: int = PCM16_RATE_HZ  # only for pcm16


def declared_by(name_or_mime: str | None) -> Declared:
    """What `name_or_mime` promises: "cat.png", "png", "image/png" or "audio/webm;codecs=opus"."""
    text = (name_or_mime or "").strip().lower()
    essence, _, parameters = text.partition(";")
    family, slash, subtype = essence.strip().partition("/")
    if slash and family in ("image", "audio", "video", "text", "application") and "/" not in subtype:
        if family == "text":
            return Declared("text")
        kind = _KIND_OF_SUBTYPE.get(subtype, subtype if subtype in LABELS else None)
        if kind is not None or "." not in subtype:
            modality = {"audio": "audio", "video": "video"}.get(family) if kind in ("mp4", "webm") else None
            rate = re.search(r"rate=(\d{1,9})", parameters)
            return Declared(kind, modality, int(rate[1]) if rate and int(rate[1]) else PCM16_RATE_HZ)
    suffix = text.rpartition("/")[2].rpartition(".")[2]
    return Declared(_KIND_OF_SUFFIX.get(suffix), "audio" if suffix in _SOUND_SUFFIXES else None)


def sniff(head: bytes) -> str | None:
    """The kind that the first bytes `head` (64 or more where there are as many) announce, or None."""
    for magic, kind in (
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"\xff\xd8\xff", "jpeg"),
        (b"GIF87a", "gif"),
        (b"GIF89a", "gif"),
        (b"fLaC", "flac"),
        (b"OggS", "ogg"),
        (b"ID3", "mp3"),
        (b"\x1a\x45\xdf\xa3", "webm"),
    ):
        if head.startswith(magic):
            return kind
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return {b"WAVE": "wav", b"WEBP": "webp"}.get(head[8:12])
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):
        return "mp4"
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0" and len(head) >= 26:
        return "bmp"
    return _sniff_mpeg_audio(head)


def _sniff_mpeg_audio(head: bytes) -> str | None:
    """ "mp3" or "aac" where `head` begins with a valid frame header of one, else None."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bit_rate, sample_rate = head[2] >> 4, head[2] >> 2 & 3
    if layer == 1 and version != 1 and bit_rate not in (0, 15) and sample_rate != 3:
        return "mp3"
    if head[1] & 0xF6 == 0xF0 and head[2] >> 2 & 15 < 13:  # ADTS: 12 sync bits, layer 0
        return "aac"
    return None
