"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tony.errors import TonyError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that becomes `path` only when the block ends well.

    A full disk or a kill in the middle leaves what was there before.

    Raises:
        TonyError: the file cannot be written.
    """
    temporary = path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        _remove(temporary, path)
        raise TonyError(
            f"{path}: cannot be written ({error.strerror or error}). Free some space or choose another folder"
        ) from None
    except BaseException:
        _remove(temporary, path)
        raise


def _remove(temporary: Path, path: Path) -> None:
    if temporary != path:  # the same while no temporary file has been made
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
