"""JSONL files that strangers wrote, read line by line with errors that name the line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tony.errors import TonyError

LONGEST_LINE = 512 << 20  # a 100 MB completion, its escapes included, still has a line number


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number from 1, object) of each line of a JSONL file (`.gz` too) that is not blank.

    Raises:
        TonyError: the file cannot be read, or a line is too long, no UTF-8 or no JSON object.
    """
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            while line := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise TonyError(
                        f"{path}, line {number}: longer than {LONGEST_LINE} bytes. Is it JSONL, one object a line?"
                    )
                if line.strip():
                    yield number, _object(line, f"{path}, line {number}")
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise TonyError(f"{path}: cannot be read ({reason}). Give a readable JSONL file") from None


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise TonyError(f"{where}: byte {error.start} is not UTF-8. Write the file as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise TonyError(f"{where}: not JSON ({error}). One object a line is expected") from None
    if not isinstance(value, dict):
        raise TonyError(f"{where}: a JSON {type(value).__name__} where an object is expected")
    return value


def text_of(row: dict[str, Any], name: str, where: str) -> str:
    """Field `name` of a row.

    Raises:
        TonyError: it is missing or no text.
    """
    value = row.get(name)
    if not isinstance(value, str):
        found = "is missing" if name not in row else f"is of type {type(value).__name__}"
        raise TonyError(f"{where}: field {name!r} {found}; text is expected")
    return value
