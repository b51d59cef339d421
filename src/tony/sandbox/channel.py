"""Frames on the one descriptor that joins candidate and judge: a four-byte length, then the bytes of a plain value."""

from __future__ import annotations

import os
import struct

from tony.sandbox.values import MOST_BYTES, BadValue

_LEAST_READ, _MOST_READ = 1 << 12, 1 << 16


class Channel:
    """One end of the descriptor. An ordinary frame costs one system call on each side."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor
        self._held = b""  # read and not yet asked for

    def write(self, content: bytes) -> None:
        data = struct.pack(">I", len(content)) + content
        sent = os.write(self._descriptor, data)
        if sent < len(data):
            rest = memoryview(data)[sent:]
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def listen(self) -> bool:
        """Wait for the first bytes, which `read` will give; False where the other side has closed or died."""
        self._held = self._receive(_LEAST_READ)
        return bool(self._held)

    def read(self) -> bytes | None:
        """The next frame, or None where the other side has closed or died.

        Raises:
            BadValue: a length above the limit; nothing of that size is read or reserved.
        """
        header = self._take(4)
        if header is None:
            return None
        size = int.from_bytes(header, "big")
        if size > MOST_BYTES:
            raise BadValue(f"a frame of {size} bytes")
        return self._take(size)

    def _take(self, size: int) -> bytes | None:
        """The next `size` bytes, or None where they do not come."""
        held = self._held
        if len(held) < size:
            parts, missing = [held], size - len(held)
            while missing > 0:
                part = self._receive(min(max(missing, _LEAST_READ), _MOST_READ))
                if not part:
                    return None
                parts.append(part)
                missing -= len(part)
            held = b"".join(parts)
        self._held = held[size:]
        return held[:size]

    def _receive(self, most: int) -> bytes:
        try:
            return os.read(self._descriptor, most)
        except ConnectionError:
            return b""


def read_all(descriptor: int) -> bytes:
    """What a file holds, from its start; the descriptor is closed."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    content = os.pread(descriptor, size, 0)
    while len(content) < size:
        content += os.pread(descriptor, size, len(content))
    os.close(descriptor)
    return content
