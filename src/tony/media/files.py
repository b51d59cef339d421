"""One part from a file or from bytes, and back. Whatever is wrong is one line that names the file and the remedy."""

from __future__ import annotations

import io
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from tony.errors import TonyError
from tony.media.clips import encode_clip, to_fps
from tony.media.completeness import is_cut_short
from tony.media.containers import read_container
from tony.media.document import Audio, Image, Modality, Part, Text, Video
from tony.media.gifs import encode_gif, read_gif
from tony.media.kinds import LABELS, READABLE, Declared, declared_by, sniff
from tony.media.limits import Limits
from tony.media.pictures import encode_picture, read_picture, to_size
from tony.media.sounds import decode_pcm16, encode_sound, read_sound

WRITABLE: dict[Modality, tuple[str, ...]] = {
    "text": ("txt",),
    "image": ("png", "jpeg"),
    "audio": ("wav", "flac", "ogg", "opus", "mp3", "pcm16"),
    "video": ("mp4", "webm", "mkv", "gif"),
}
_SPOKEN = {"text": "text", "image": "a picture", "audio": "sound", "video": "a clip"}


def read(
    path: str | os.PathLike,
    *,
    modality: Modality | None = None,
    limits: Limits | None = None,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
) -> Part:
    """The part in the file `path`: text, a picture, sound (mono) or a clip (silent), by its content.

    `modality` says what it must be, and picks the sound or the pictures of a container that has both. `fps` and
    `size` (width, height) thin and shrink a clip while it is decoded, so that a long one fits in memory.
    Raises TonyError where the file is missing, empty, cut short, mislabelled, damaged or over `limits`.
    """
    path, limits = Path(path), limits or Limits()
    name = printable(path)
    with open_file(path, limits) as file:
        return _read_part(file, name, declared_by(path.name), modality, limits, fps, size)


def decode(
    data: bytes,
    name_or_mime: str | None = None,
    *,
    modality: Modality | None = None,
    limits: Limits | None = None,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
) -> Part:
    """The part in `data`, as `read` has it; `name_or_mime` is what its sender calls it ("a.png", "wav", "image/png").

    Raw "pcm16" is taken at 24,000 Hz unless a MIME type says otherwise ("audio/pcm;rate=16000").
    """
    limits = limits or Limits()
    name = f"the data sent as {printable(name_or_mime)}" if name_or_mime else "the data"
    if not data:
        raise TonyError(f"{name} is empty: send the whole file")
    if len(data) > limits.max_bytes:
        raise TonyError(
            f"{name} has {len(data):,} bytes, over the limit of {limits.max_bytes:,}: make it smaller"
        )
    return _read_part(io.BytesIO(data), name, declared_by(name_or_mime), modality, limits, fps, size)


def encode(part: Part, format: str) -> bytes:
    """The bytes of `part` as one of txt; png, jpeg; wav, flac, ogg, opus, mp3, pcm16; mp4, webm, mkv, gif.

    Exact: txt, png, mkv; wav, flac and pcm16 to 16 bits; gif to 256 colours a frame.
    """
    kind = format.lower()
    if part.modality == "text" and declared_by(kind).kind == "text":
        kind = "txt"
    kind = {"jpg": "jpeg", "oga": "ogg", "pcm": "pcm16"}.get(kind, kind)
    if kind not in WRITABLE[part.modality]:
        raise TonyError(
            f"{_SPOKEN[part.modality]} cannot be written as {format!r}: use {', '.join(WRITABLE[part.modality])}"
        )
    match part:
        case Text():
            return part.text.encode()
        case Image():
            return encode_picture(part, kind)
        case Audio():
            return encode_sound(part, kind)
        case Video():
            return encode_gif(part) if kind == "gif" else encode_clip(part, kind)


def write(part: Part, path: str | os.PathLike) -> None:
    """Writes `part` to the file `path` in the format of its ending (see `encode`), whole or not at all."""
    path = Path(path)
    data = encode(part, path.suffix[1:])
    write_bytes(path, data)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` to `path` under a temporary name in the same folder, then renames."""
    # Not tempfile: its files are private to the user, whatever the umask says.
    unfinished = path.with_name(f".tony-{secrets.token_hex(8)}.part")
    try:
        try:
            unfinished.write_bytes(data)
            os.replace(unfinished, path)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise TonyError(
            f"{printable(path)} cannot be written ({error.strerror}): check the folder and the disk"
        ) from error


def printable(name: object) -> str:
    """`name` on one line, without characters that a terminal would act on."""
    return "".join(c if c.isprintable() else "?" for c in str(name))


def open_file(path: Path, limits: Limits) -> BinaryIO:
    """`path` opened to read: a regular file of 1 to `max_file_bytes` bytes, else TonyError."""
    name = printable(path)
    try:
        about = path.stat()
        if stat.S_ISDIR(about.st_mode):
            raise TonyError(f"{name} is a folder: give a file")
        if not stat.S_ISREG(about.st_mode):  # reading a pipe or a device could wait for ever
            raise TonyError(f"{name} is not an ordinary file: copy it to one")
        if about.st_size == 0:
            raise TonyError(f"{name} is empty: export or copy it again")
        if about.st_size > limits.max_file_bytes:
            raise TonyError(
                f"{name} has {about.st_size:,} bytes, over the limit of {limits.max_file_bytes:,}: cut it shorter"
            )
        return path.open("rb")
    except FileNotFoundError as error:
        raise TonyError(f"{name} does not exist: check the name") from error
    except (OSError, ValueError) as error:
        if isinstance(error, TonyError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise TonyError(f"{name} cannot be opened ({reason}): check its permissions and name") from error


def _read_part(
    file: BinaryIO,
    name: str,
    declared: Declared,
    modality: Modality | None,
    limits: Limits,
    fps: float | None,
    size: tuple[int, int] | None,
) -> Part:
    kind = _kind_of(file, name, declared)
    modality = modality or declared.modality
    part: Part
    try:
        if kind == "text":
            part = Text(_utf8(file.read(), name))
        elif kind == "pcm16":
            part = decode_pcm16(file.read(), name, declared.rate, limits)
        elif is_cut_short(file, kind):
            raise TonyError(f"{name} is cut short: it ends before its header says; copy or export it again")
        elif kind == "gif":
            part = _gif_as(modality, read_gif(file, name, limits), fps, size)
        elif kind in ("wav", "flac", "ogg"):
            part = read_sound(file, name, limits)
        elif kind in ("mp3", "aac", "mp4", "webm"):
            part = read_container(file, name, kind, modality, limits, fps, size)
        else:
            part = read_picture(file, name, kind, limits)
    except TonyError:
        raise
    except Exception as error:  # the decoders raise nearly anything on bytes they did not expect
        raise TonyError(
            f"{name} cannot be read as {LABELS[kind]}: it is damaged or cut short; export it again"
        ) from error
    if modality is not None and part.modality != modality:
        raise TonyError(
            f"{name} is mislabelled: it holds {_SPOKEN[part.modality]} where {_SPOKEN[modality]} was announced; "
            f"give {_SPOKEN[modality]} or call it {part.modality}"
        )
    return part


def _kind_of(file: BinaryIO, name: str, declared: Declared) -> str:
    """The kind that the content of `file` has; TonyError where it is not the declared one."""
    if declared.kind in ("text", "pcm16"):
        return declared.kind
    found = sniff(file.read(64))
    file.seek(0)
    if found is None and declared.kind is None:
        raise TonyError(f"{name} is of no kind that Tony knows: give one of {READABLE}")
    if found is None:
        raise TonyError(
            f"{name} does not begin as {LABELS[declared.kind]} does: it is damaged or mislabelled; export it again"
        )
    if declared.kind not in (None, found):
        raise TonyError(
            f"{name} is mislabelled: it holds {LABELS[found]}, not {LABELS[declared.kind]}; call it {found} instead"
        )
    return found


def _utf8(data: bytes, name: str) -> str:
    found = sniff(data[:64])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = "\0"
        if found is None:
            raise TonyError(f"{name} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    if "\0" in text:
        what = LABELS[found] if found else "bytes of value 0"
        raise TonyError(f"{name} is mislabelled: it holds {what}, not UTF-8 text; call it what it is")
    return text


def _gif_as(
    modality: Modality | None, part: Image | Video, fps: float | None, size: tuple[int, int] | None
) -> Image | Video:
    """A GIF is what was asked for: a still one may be a clip of one frame, a moving one shows its first frame."""
    if modality == "image" and isinstance(part, Video):
        return Image(part.frames[0])
    if modality == "video" and isinstance(part, Image):
        part = Video(part.pixels[None], fps=1)
    if isinstance(part, Video) and fps is not None:
        part = to_fps(part, fps)
    return to_size(part, *size) if isinstance(part, Video) and size is not None else part
