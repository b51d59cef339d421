"""What an evaluation has found so far, appended to a JSONL file, so that a killed one goes on.

The first line says what is measured and how; a file that says anything else belongs to another evaluation and is begun again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tony.errors import TonyError


def whole_rows(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The objects of a JSONL file up to the first line that is not whole, and how many bytes their lines take."""
    rows: list[dict[str, Any]] = []
    length = 0
    with path.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n") or not isinstance(row, dict):
                break
            rows.append(row)
            length += len(line)
    return rows, length


class Journal:
    """An append-only JSONL file with a head.

    Attributes:
        rows: what an earlier, interrupted evaluation of the same head has left.
        replaced: whether a file with another head was there.
    """

    def __init__(self, path: Path, head: dict[str, Any]):
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self.replaced = False
        try:
            whole = self._read(head)
            self._file = path.open("r+b" if whole else "wb")
            self._file.truncate(whole)  # a line that a kill cut short
            self._file.seek(whole)
            if not whole:
                self.add(head)
        except OSError as error:
            raise self._unwritable(error) from None

    def _read(self, head: dict[str, Any]) -> int:
        """Read what is there; the length in bytes of its whole lines."""
        if not self.path.is_file():
            return 0
        rows, whole = whole_rows(self.path)
        if rows[:1] != [head]:
            self.replaced = self.path.stat().st_size > 0
            return 0
        self.rows = rows[1:]
        return whole

    def add(self, row: dict[str, Any]) -> None:
        """Append one row; it is out of this process's hands before the next."""
        try:
            self._file.write(json.dumps(row).encode("ascii") + b"\n")
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> TonyError:
        return TonyError(
            f"{self.path}: cannot be written ({error.strerror}). Free some space or correct the permission; "
            "the same command goes on"
        )

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
