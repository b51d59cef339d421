"""What the names of files in a folder say: which belong together, in which language, and on which side of the split."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

# ISO 639-1, so that "report.old.txt" is no text in the language "old".
_CODES = (
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en "
    "eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv "
    "ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne "
    "ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st "
    "su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu"
)
LANGUAGES = frozenset(_CODES.split())


def split_name(name: str) -> tuple[str, str | None]:
    """The stem of a file name and the language it carries: "cat.fr.txt" is ("cat", "fr"), "v1.2.png" ("v1.2", None)."""
    stem = name.rpartition(".")[0]
    before, _, tag = stem.rpartition(".")
    plain, _, region = tag.replace("_", "-").partition("-")
    if before and plain in LANGUAGES and re.fullmatch(r"|[A-Z][A-Za-z]{1,3}|[0-9]{3}", region):
        return before, f"{plain}-{region}" if region else plain
    return stem, None


def share(seed: int, stem: str) -> float:
    """A number in [0, 1) that is a function of seed and stem only."""
    digest = hashlib.blake2b(f"{seed}\0{stem}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def walk(folder: Path) -> Iterator[Path]:
    """Files below `folder` in a fixed order; names that begin with a dot are left out."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(root, name)


def size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def named_in(manifest: Path) -> Iterator[Path]:
    """The files that a JSONL names: they belong to its documents and are no examples by themselves."""
    with manifest.open("rb") as file:
        for line in file:
            if line.strip():
                for part in json.loads(line.decode("utf-8-sig"))["parts"]:
                    if "path" in part:
                        yield (manifest.parent / part["path"]).resolve()
