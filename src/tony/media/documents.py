"""Documents in JSONL: one Document a line, with the media inside it in base64 or in files beside it.

    {"parts": [{"type": "text", "text": "a cat", "role": "user"},
               {"type": "image", "path": "cat.png"},
               {"type": "audio", "data": "UklGR...", "format": "wav", "counted": false}]}

Paths are relative to the folder of the JSONL file and do not leave it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

from tony.errors import TonyError
from tony.media.document import ROLES, Document, Part, Text
from tony.media.files import decode, encode, open_file, printable, read, write_bytes
from tony.media.limits import Limits
from tony.media.sounds import encode_sound

_TYPES = ("text", "image", "audio", "video")
_KEYS = ("type", "text", "given", "path", "data", "format", "role", "counted")


def read_jsonl(path: str | os.PathLike, *, limits: Limits | None = None) -> Iterator[Document]:
    """The Documents of the JSONL file `path`, one at a time.

    Raises TonyError at once where the file cannot be opened, and at the line where one is wrong, naming file, line
    and key.
    """
    path, limits = Path(path), limits or Limits()
    # The file may be long: only a line is held at a time, so the size of a line is what is limited.
    whole = replace(limits, max_file_bytes=2**63)
    open_file(path, whole).close()
    return _documents(path, limits, whole)


def _documents(path: Path, limits: Limits, whole: Limits) -> Iterator[Document]:
    with open_file(path, whole) as file:
        number = 0
        while line := file.readline(limits.max_file_bytes + 1):
            number += 1
            where = f"{printable(path)} line {number}"
            if len(line) > limits.max_file_bytes:
                raise TonyError(
                    f"{where} is over the limit of {limits.max_file_bytes:,} bytes: put its media in files"
                )
            if line.strip():
                yield _document(line, where, path.parent, limits)


def _document(line: bytes, where: str, folder: Path, limits: Limits) -> Document:
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise TonyError(f"{where} is not UTF-8 (byte {error.start}): save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        reason = (
            f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else "too deep"
        )
        raise TonyError(f"{where} is not JSON ({reason}): put one whole object on each line") from error
    if not isinstance(record, dict) or "parts" not in record:
        raise TonyError(f'{where} has no key "parts": write {{"parts": [...]}}')
    for key in record:
        if key != "parts":
            raise TonyError(f'{where} has an unknown key {_quoted(key)}: a Document has only "parts"')
    if not isinstance(record["parts"], list):
        raise TonyError(f'{where} key "parts" is not a list: write {{"parts": [...]}}')
    return Document(
        _part(part, f"{where} key parts[{index}]", folder, limits)
        for index, part in enumerate(record["parts"])
    )


def _part(record: Any, where: str, folder: Path, limits: Limits) -> Part:
    if not isinstance(record, dict):
        raise TonyError(f'{where} is not an object: write {{"type": "text", "text": "..."}}')
    for key, value in record.items():
        if key not in _KEYS:
            raise TonyError(f"{where} has an unknown key {_quoted(key)}: use {', '.join(_KEYS)}")
        if key not in ("role", "counted", "given") and not isinstance(value, str):
            raise TonyError(f"{where}.{key} is {_quoted(value)}: give a string")
    kind = record.get("type")
    if kind not in _TYPES:
        raise TonyError(f"{where}.type is {_quoted(kind)}: use one of {', '.join(_TYPES)}")
    role, counted = record.get("role"), record.get("counted", True)
    if role is not None and role not in ROLES:
        raise TonyError(f"{where}.role is {_quoted(role)}: use one of {', '.join(ROLES)}, or leave it out")
    if not isinstance(counted, bool):
        raise TonyError(f"{where}.counted is {_quoted(counted)}: use true or false")
    sources = [key for key in ("text", "path", "data") if key in record]
    allowed = ["text", "path"] if kind == "text" else ["path", "data"]
    if len(sources) != 1 or sources[0] not in allowed:
        raise TonyError(
            f"{where} ({kind}) has {' and '.join(sources) or 'no content'}: give one of {', '.join(allowed)}"
        )
    for key, source in (("format", "data"), ("given", "text")):
        if key in record and sources != [source]:
            raise TonyError(f"{where}.{key} goes with {source} only: leave it out")
    try:
        if sources == ["text"]:
            part: Part = Text(record["text"], given=record.get("given", 0))
        elif sources == ["path"]:
            part = read(_inside(folder, record["path"]), modality=kind, limits=limits)
        else:
            part = decode(_bytes(record["data"]), record.get("format"), modality=kind, limits=limits)
    except TonyError as error:
        raise TonyError(f"{where}.{sources[0]}: {error}") from error
    return replace(part, role=role, counted=counted)


def _bytes(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise TonyError(
            "it is not base64: encode the bytes of the file with base64, without line breaks"
        ) from error


def _inside(folder: Path, relative: str) -> Path:
    """The file `relative` in `folder`; TonyError where it would lie outside, also by way of a link."""
    is_absolute = PurePosixPath(relative).is_absolute() or PureWindowsPath(relative).anchor
    if not relative or "\0" in relative or is_absolute or ".." in PureWindowsPath(relative).parts:
        raise TonyError(
            f"{_quoted(relative)} is not a path inside the folder of the JSONL: put the file there"
        )
    path = folder / relative
    try:
        is_inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a loop of links
        is_inside = False
    if not is_inside:
        raise TonyError(
            f"{_quoted(relative)} leads out of the folder of the JSONL: put the file itself there"
        )
    return path


def _quoted(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def write_jsonl(
    documents: Iterable[Document], path: str | os.PathLike, *, media: Literal["beside", "inline"] = "beside"
) -> None:
    """Writes `documents` to the JSONL file `path`, so that `read_jsonl` gives back equal ones.

    Media are kept exactly (PNG, WAV, Matroska with FFV1): "beside" puts them in the folder `<stem>.media`, named by
    their content, so that equal ones are stored once and nothing that another file needs is overwritten; "inline"
    puts them in the lines as base64. The JSONL appears whole or not at all.
    """
    if media not in ("beside", "inline"):
        raise TonyError(f'media is {media!r}: use "beside" or "inline"')
    path = Path(path)
    unfinished = path.with_name(f".tony-{secrets.token_hex(8)}.part")
    try:
        try:
            with unfinished.open("x", encoding="utf-8") as file:
                for document in documents:
                    parts = [_record(part, path, media) for part in document]
                    file.write(json.dumps({"parts": parts}, ensure_ascii=False) + "\n")
            os.replace(unfinished, path)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise TonyError(
            f"{printable(path)} cannot be written ({error.strerror}): check the folder and the disk"
        ) from error


def _record(part: Part, path: Path, media: str) -> dict[str, Any]:
    record: dict[str, Any] = {"type": part.modality}
    if isinstance(part, Text):
        record["text"] = part.text
    else:
        kind = {"image": "png", "audio": "wav", "video": "mkv"}[part.modality]
        if part.modality == "audio" and not len(part.samples):
            raise TonyError(f"{printable(path)} cannot hold sound without a sample: leave that part out")
        data = encode_sound(part, "wav", exact=True) if part.modality == "audio" else encode(part, kind)
        if media == "inline":
            record |= {"data": base64.b64encode(data).decode(), "format": kind}
        else:
            file = path.with_name(path.stem + ".media") / f"{hashlib.sha256(data).hexdigest()[:32]}.{kind}"
            file.parent.mkdir(exist_ok=True)
            if not file.exists():
                write_bytes(file, data)
            record["path"] = f"{file.parent.name}/{file.name}"
    if part.role is not None:
        record["role"] = part.role
    if not part.counted:
        record["counted"] = False
    if isinstance(part, Text) and part.given:
        record["given"] = part.given
    return record
