"""How much one caller may ask for."""

from dataclasses import dataclass

from tony.media import Limits as MediaLimits

MEDIA_LIMITS = MediaLimits(
    max_bytes=32 * 2**20,
    max_seconds=300.0,
    max_samples=300 * 48_000,
    max_pixels=2**24,
    max_clip_seconds=120.0,
    max_frames=3600,
    max_clip_pixels=2**26,
)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Upper bounds of a request and of the queue; a request beyond one is refused in words."""

    body_bytes: int = 32 * 2**20
    body_seconds: float = 60.0  # for the whole body to arrive
    messages: int = 256
    parts: int = 64  # in all messages together
    text_characters: int = 100_000  # in all messages together
    media: MediaLimits = MEDIA_LIMITS  # of one picture, sound or clip
    choices: int = 8  # n
    waiting: int = 16  # requests in the queue behind the one being answered
    remembered_sounds: int = 64  # replies that a later turn may name by the id of their sound
    sound_lifetime_seconds: int = 3600
