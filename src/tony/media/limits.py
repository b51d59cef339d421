"""How much of a file Tony is willing to take in. Checked against headers, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Upper bounds of one file or one block of bytes; a caller that knows better passes its own.

    The defaults keep the peak memory of one reading under about 1.5 GB. A server passes smaller ones.
    """

    max_bytes: int = 64 * 2**20  # of `decode`: what comes over the wire
    max_file_bytes: int = 2**30  # of `read` and of one line of JSONL
    max_seconds: float = 3600.0  # of sound
    max_samples: int = 3600 * 48_000  # of sound, after averaging to mono: 0.7 GB of float32
    max_pixels: int = 64_000_000  # of one picture or frame
    max_clip_seconds: float = 600.0
    max_frames: int = 18_000  # ten minutes at 30 frames per second
    max_clip_pixels: int = 2**27  # of all kept frames together: 0.4 GB of RGB
