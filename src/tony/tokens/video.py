"""Video as pictures with a time mark before each frame."""

from __future__ import annotations

import numpy as np

from tony.errors import TonyError
from tony.media import Image, Video

MARK_SECONDS = 0.1


class VideoCodec:
    """Frames of an image codec; ids are `[image ids | time marks]`, so a mark is an id of at least `marks_from`.

    A mark is the frame's own time since the start of the clip, in steps of 0.1 s. It needs no training.
    """

    modality = "video"

    def __init__(self, image_codec, seconds: float) -> None:
        self.image = image_codec
        self.num_marks = max(1, round(seconds / MARK_SECONDS))
        self.marks_from: int = image_codec.size
        self.size: int = image_codec.size + self.num_marks

    def encode(self, part: Video) -> np.ndarray:
        """A mark and the picture's ids for every frame.

        Raises:
            TonyError: the clip is longer than the marks reach.
        """
        marks = np.round(np.arange(len(part.frames)) / part.fps / MARK_SECONDS).astype(np.int64)
        if marks[-1] >= self.num_marks:
            raise TonyError(
                f"a clip of {len(part.frames) / part.fps:.1f} s is longer than the {self.num_marks * MARK_SECONDS:.1f} s "
                f"this vocabulary marks: shorten it, or set vocabulary.video_seconds"
            )
        pieces = []
        for mark, frame in zip(marks, part.frames, strict=True):
            pieces += [[self.marks_from + mark], self.image.encode(Image(frame))]
        return np.concatenate(pieces)

    def decode(self, ids: np.ndarray) -> Video:
        """The clip of `ids`; its rate is the mean rate of its marks.

        Raises:
            TonyError: the ids are not frames, each a mark and a whole picture.
        """
        ids = np.asarray(ids, np.int64)
        starts = np.flatnonzero(ids >= self.marks_from)
        if len(starts) == 0 or starts[0] != 0:
            raise TonyError("video ids do not begin with a time mark: they were not made by this vocabulary")
        marks = ids[starts] - self.marks_from
        bounds = [*starts[1:], len(ids)]
        if any(b - a != 1 + self.image.length for a, b in zip(starts, bounds, strict=True)):
            raise TonyError(
                f"a frame of video is not {self.image.length} ids: they were not made by this vocabulary"
            )
        frames = [self.image.decode(ids[a + 1 : b]).pixels for a, b in zip(starts, bounds, strict=True)]
        seconds = float(marks[-1] - marks[0]) * MARK_SECONDS
        return Video(np.stack(frames), (len(marks) - 1) / seconds if seconds > 0 else 1.0)
