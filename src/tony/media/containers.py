"""Sound and moving pictures out of containers (MP4, WebM, Matroska, MP3, AAC), with av."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from tony.errors import TonyError
from tony.media.document import Audio, Image, Modality, Video
from tony.media.gifs import check_clip_size
from tony.media.limits import Limits
from tony.media.pictures import to_size
from tony.media.sounds import check_sound_size, sound_of

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Named, so that no bytes can make ffmpeg choose a playlist or a network protocol.
_DEMUXERS = {"mp4": "mov", "webm": "matroska", "mp3": "mp3", "aac": "aac"}


def read_container(
    file: BinaryIO,
    name: str,
    kind: str,
    modality: Modality | None,
    limits: Limits,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
) -> Audio | Video:
    """The clip in `file` if it has pictures, else its sound; `modality` "audio" or "video" picks one.

    A Video is silent: its sound track is read only with modality="audio".
    """
    import av
    import av.logging

    av.logging.set_level(None)  # av's own default; ffmpeg must not write to people's terminals
    with av.open(file, format=_DEMUXERS[kind], metadata_errors="replace") as container:
        sounds = container.streams.audio
        # The cover of a song is a video stream of one picture.
        clips = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
        if clips and modality != "audio":
            return _read_clip(container, clips[0], name, limits, fps, size)
        if sounds and modality != "video":
            return _read_track(container, sounds[0], name, limits)
    wanted = {"audio": "sound", "video": "moving pictures"}.get(modality or "", "sound or moving pictures")
    raise TonyError(f"{name} holds no {wanted}: check that it is the file you meant, or export it again")


def _read_track(container: InputContainer, stream: AudioStream, name: str, limits: Limits) -> Audio:
    from av.audio.resampler import AudioResampler

    rate = stream.rate
    if container.duration:
        check_sound_size(name, int(container.duration * rate / 1_000_000), rate, limits)
    to_float = AudioResampler(format="fltp")  # changes the number format only
    blocks: list[np.ndarray] = []
    num_samples = 0
    for frame in container.decode(stream):
        for converted in to_float.resample(frame):
            samples = converted.to_ndarray()  # (channels, n)
            num_samples += samples.shape[1]
            check_sound_size(name, num_samples, rate, limits)
            blocks.append(samples.mean(axis=0, dtype=np.float32))
    return sound_of(name, blocks, rate)


def _read_clip(
    container: InputContainer,
    stream: VideoStream,
    name: str,
    limits: Limits,
    fps: float | None,
    size: tuple[int, int] | None,
) -> Video:
    width, height = stream.width, stream.height
    if width * height > limits.max_pixels:
        raise TonyError(
            f"{name} is {width:,} x {height:,} pixels, over the limit of {limits.max_pixels:,}: make it smaller"
        )
    kept_width, kept_height = size or (width, height)
    seconds = (container.duration or 0) / 1_000_000
    _check_clip_seconds(name, seconds, limits)
    kept = _EvenFrames(fps)
    # What the header promises, to refuse early; what really comes is counted below.
    num_announced = int(seconds * fps) if fps else stream.frames
    check_clip_size(name, num_announced, kept_width, kept_height, limits)

    for num_decoded, frame in enumerate(container.decode(stream)):
        if num_decoded >= limits.max_frames:
            raise TonyError(f"{name} has over {limits.max_frames:,} frames, the limit: cut it shorter")
        time = frame.time if frame.time is not None else num_decoded / float(stream.average_rate or 25)
        _check_clip_seconds(name, time - kept.first_time, limits)
        is_grey = frame.format.name.startswith("gray")
        pixels = frame.to_ndarray(format="gray" if is_grey else "rgb24")
        pixels = pixels[..., None] if is_grey else pixels
        if frame.rotation:  # a telephone held upright: degrees counter-clockwise
            pixels = np.rot90(pixels, round(frame.rotation / 90))
        if size is not None:
            pixels = to_size(Image(pixels), *size).pixels
        kept.add(time, pixels)
        check_clip_size(name, len(kept.frames), kept_width, kept_height, limits)
    if kept.last is None:
        raise TonyError(f"{name} holds no frame that can be decoded: export it again")
    rate = _frame_rate(stream, kept)
    kept.finish(rate)
    check_clip_size(name, len(kept.frames), kept_width, kept_height, limits)
    return Video(np.stack(kept.frames), fps or rate)


def _check_clip_seconds(name: str, seconds: float, limits: Limits) -> None:
    if seconds > limits.max_clip_seconds:
        raise TonyError(
            f"{name} lasts {seconds:,.0f} s, over the limit of {limits.max_clip_seconds:,.0f} s: cut it shorter"
        )


def _frame_rate(stream: VideoStream, kept: _EvenFrames) -> float:
    """Frames per second: the header's where the times of the frames agree within 5%, else the times'."""
    announced = float(stream.average_rate) if stream.average_rate else 0.0
    lasted = kept.last_time - kept.first_time
    if kept.num_added < 2 or lasted <= 0:
        return announced or 1.0
    measured = (kept.num_added - 1) / lasted
    return announced if abs(announced - measured) <= 0.05 * measured else measured


class _EvenFrames:
    """Frames as they come; with `fps`, those on show at the middle of each 1/fps second, as `to_fps` takes them."""

    def __init__(self, fps: float | None) -> None:
        self.fps = fps
        self.frames: list[np.ndarray] = []
        self.first_time = self.last_time = 0.0
        self.last: np.ndarray | None = None
        self.num_added = 0

    def add(self, time: float, frame: np.ndarray) -> None:
        if self.last is None:
            self.first_time = time
        if self.fps is None:
            self.frames.append(frame)
        elif self.last is not None:
            while (len(self.frames) + 0.5) / self.fps < time - self.first_time:
                self.frames.append(self.last)
        self.last, self.last_time = frame, time
        self.num_added += 1

    def finish(self, rate: float) -> None:
        """Shows the last frame for 1 / `rate` seconds."""
        if self.fps is not None:
            num_kept = max(1, round((self.last_time - self.first_time + 1 / rate) * self.fps))
            self.frames += [self.last] * (num_kept - len(self.frames))
