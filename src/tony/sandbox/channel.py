"""Frames on the one descriptor that joins candidate and judge: a four-byte length, then the bytes of a plain value."""

from __future__ import annotations

import os
import struct

from tony.sandbox.values import MOST_BYTES, BadValue

_READ_BYTES = 1 << 16


def write_frame(descriptor: int, content: bytes) -> None:
    data = memoryview(struct.pack(">I", len(content)) + content)
    while data:
        data = data[os.write(descriptor, data) :]


def read_frame(descriptor: int) -> bytes | None:
    """The next frame, or None where the other side has closed or died.

    Raises:
        BadValue: a length above the limit; nothing of that size is read or reserved.
    """
    header = _read(descriptor, 4)
    if header is None:
        return None
    (size,) = struct.unpack(">I", header)
    if size > MOST_BYTES:
        raise BadValue(f"a frame of {size} bytes")
    return _read(descriptor, size)


def _read(descriptor: int, size: int) -> bytes | None:
    parts, missing = [], size
    while missing:
        try:
            part = os.read(descriptor, min(missing, _READ_BYTES))
        except ConnectionError:
            return None
        if not part:
            return None
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def read_all(descriptor: int) -> bytes:
    """What a file holds, from its start; the descriptor is closed."""
    with open(descriptor, "rb") as file:
        file.seek(0)
        return file.read()
