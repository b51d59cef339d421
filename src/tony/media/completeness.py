"""Whether a file is as long as its own header says. Decoders hide a missing end; a person should hear of it."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO


def is_cut_short(file: BinaryIO, kind: str) -> bool:
    """True where the header of `file` (of `kind`, see `kinds.py`) promises more bytes than there are.

    False where nothing is wrong or the format does not say. Leaves the file at its beginning.
    PNG, JPEG and FLAC are not looked at: their decoders refuse a missing end by themselves.
    """
    checks = {"wav": _wav, "webp": _webp, "ogg": _ogg, "mp3": _mp3, "mp4": _mp4, "webm": _webm, "gif": _gif}
    if kind not in checks:
        return False
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        return checks[kind](file, length)
    except (struct.error, IndexError):  # the header itself ends too early
        return True
    finally:
        file.seek(0)


def _wav(file: BinaryIO, length: int) -> bool:
    order = ">" if file.read(12)[:4] == b"RIFX" else "<"
    while file.tell() < length:
        name, size = struct.unpack(order + "4sI", file.read(8))
        if name == b"data":
            # A recorder that writes to a pipe cannot go back to fill the size in: it leaves a huge one.
            return size < 0x7FFF_0000 and file.tell() + size > length
        file.seek(size + size % 2, os.SEEK_CUR)
    return True


def _webp(file: BinaryIO, length: int) -> bool:
    file.seek(4)
    return struct.unpack("<I", file.read(4))[0] + 8 > length


def _ogg(file: BinaryIO, length: int) -> bool:
    file.seek(max(0, length - 70_000))  # a page has at most 65,307 bytes
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    num_segments = page[26]
    segments = page[27 : 27 + num_segments]
    return len(segments) < num_segments or 27 + num_segments + sum(segments) > len(page)


def _mp3(file: BinaryIO, length: int) -> bool:
    """The Xing or Info tag in the first frame may hold the number of bytes of the stream."""
    head = file.read(10)
    start = 0
    if head[:3] == b"ID3":
        size = head[6:10]
        start = 10 + (size[0] << 21 | size[1] << 14 | size[2] << 7 | size[3])
    file.seek(start)
    frame = file.read(64)
    if len(frame) < 4:
        return True
    is_version_1, is_mono = frame[1] >> 3 & 3 == 3, frame[3] >> 6 == 3
    at = 4 + ((17 if is_mono else 32) if is_version_1 else (9 if is_mono else 17))
    if frame[at : at + 4] not in (b"Xing", b"Info"):
        return False
    flags = struct.unpack(">I", frame[at + 4 : at + 8])[0]
    if not flags & 2:
        return False
    at += 12 if flags & 1 else 8
    return start + struct.unpack(">I", frame[at : at + 4])[0] > length


def _mp4(file: BinaryIO, length: int) -> bool:
    """Walks the outermost boxes: (size, name), where size 1 means a 64-bit size and 0 the rest of the file."""
    start, seen = 0, set()
    while start < length:
        file.seek(start)
        size, name = struct.unpack(">I4s", file.read(8))
        if size == 1:
            size = struct.unpack(">Q", file.read(8))[0]
        seen.add(name)
        if size == 0:
            break
        if size < 8:  # not a box: players ignore such a tail
            break
        start += size
    return start > length or b"moov" not in seen


def _webm(file: BinaryIO, length: int) -> bool:
    """EBML: a header element, then one Segment, whose size may be unknown (all ones) in a live recording."""
    start = 4
    for _ in range(2):
        file.seek(start)
        size_bytes = 9 - file.read(1)[0].bit_length()
        file.seek(start)
        size = int.from_bytes(file.read(size_bytes), "big") & ((1 << 7 * size_bytes) - 1)
        is_unknown = size == (1 << 7 * size_bytes) - 1
        start += size_bytes + size
        if start > length and not is_unknown:
            return True
        start += 4  # the name of the Segment
    return False


def _gif(file: BinaryIO, length: int) -> bool:
    """Walks the blocks to the trailer, which some writers leave out: the end after a whole picture is an end too."""

    def skip_colours(flags: int) -> None:
        file.seek(3 << (flags & 7) + 1 if flags & 0x80 else 0, os.SEEK_CUR)

    file.seek(10)
    flags = file.read(3)[0]
    skip_colours(flags)
    has_picture = False
    while block := file.read(1):
        if block == b"\x3b":
            return not has_picture
        if block == b"\x2c":
            skip_colours(file.read(9)[8])
            file.seek(1, os.SEEK_CUR)  # the width of the LZW codes
        elif block == b"\x21":
            file.seek(1, os.SEEK_CUR)  # the kind of extension
        else:
            return False  # not what the standard allows, but no matter of length
        while size := file.read(1)[0]:  # data blocks, up to an empty one
            file.seek(size, os.SEEK_CUR)
        has_picture |= block == b"\x2c"
    return not has_picture or file.tell() > length
