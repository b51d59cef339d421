"""Find files in a folder by a word, a picture or a sound."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tony.data.names import walk
from tony.engine import Omni
from tony.engine.embedding import Head, weights_hash
from tony.engine.omni import head_path
from tony.errors import TonyError
from tony.media import Audio, Document, Part, Text, Video, read, to_rate
from tony.media.kinds import READABLE, declared_by
from tony.search.align import align
from tony.search.index import Entry, Index

COMPONENTS = 32  # numbers kept of each document
TOGETHER = 128  # files that are read and embedded together
FRAMES_PER_SECOND = 2.0  # clips are read at; as folders are learned from
CLIP_SIDE = 128  # pixels
MODALITIES = ("text", "image", "audio", "video")
MODALITY_OF = {
    **dict.fromkeys(("png", "jpeg", "webp", "bmp"), "image"),
    **dict.fromkeys(("wav", "flac", "ogg", "mp3", "aac"), "audio"),
    "text": "text",
}  # a GIF, MP4 or WebM may be more than one


@dataclass(frozen=True)
class Hit:
    """A file that was found; `score` is the estimated cosine of its vector with the query's."""

    path: str
    modality: str
    score: float


@dataclass(frozen=True)
class Found:
    """The hits, best first, and how the index stands.

    Attributes:
        hits: at most as many as were asked for.
        files: how many the index holds.
        embedded: how many of them had to be read for this search.
        bytes_per_file: what the index keeps of each.
        skipped: a line for each file that could not be read now.
    """

    hits: tuple[Hit, ...]
    files: int
    embedded: int
    bytes_per_file: int
    skipped: tuple[str, ...]


def search(
    omni: Omni, folder: str | Path, query: Part, top: int = 10, kinds: Sequence[str] = MODALITIES,
    progress: Callable[[str], None] = lambda line: None,
) -> Found:  # fmt: skip
    """The files below `folder` that are nearest to `query`.

    The head of the run is trained if it has none; the folder's index is kept in the run folder, and only files that are
    new or changed are read.

    Raises:
        TonyError: the folder is missing or holds nothing that this run can search; an unknown kind; see `Omni.embed`.
    """
    for kind in kinds:
        if kind not in MODALITIES:
            raise TonyError(f"kind {kind!r} is unknown: choose among {', '.join(MODALITIES)}")
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise TonyError(
            f"{folder}: {'a file' if folder.exists() else 'no such folder'}. Name the folder to search in"
        )
    head = head_of(omni, progress)
    wanted = embed(omni, [query])[0]
    index, embedded, skipped = refresh(omni, head, folder, progress)
    scores = index.scores(wanted)
    order = [int(i) for i in np.argsort(-scores, kind="stable") if index.entries[i].modality in kinds][:top]
    hits = tuple(Hit(index.entries[i].name, index.entries[i].modality, float(scores[i])) for i in order)
    return Found(hits, len(index.entries), embedded, index.bytes_per_document, tuple(skipped))


def head_of(omni: Omni, progress: Callable[[str], None] = lambda line: None) -> Head:
    """The head of `omni`'s run, trained now if there is none, or one of other weights."""
    if omni.run is None:
        return omni.head
    path = head_path(omni.run)
    if path.is_file() and Head.load(path).model == weights_hash(omni.run.model):
        return omni.head
    progress("training the search head on the run's training data")
    return align(omni)


def embed(omni: Omni, parts: Sequence[Part]) -> np.ndarray:
    """Unit vectors (n, E) of parts, brought to what the network can read."""
    return omni.embed_many([Document([fitting(omni, part)]) for part in parts])


def fitting(omni: Omni, part: Part) -> Part:
    """`part` with sound and clips cut to about the context: what is beyond it would not be seen."""
    context = omni.engine.model.config.context
    match part:
        case Audio():
            return to_rate(
                replace(part, samples=part.samples[: part.rate * (context // 50 + 1)].copy()), 16_000
            )
        case Video():
            length = omni.vocabulary.image.length if omni.vocabulary.image is not None else context
            return replace(part, frames=part.frames[: context // length + 1])
        case Text():
            return replace(part, text=part.text[: 16 * context])
    return part


def index_path(omni: Omni, folder: Path) -> Path:
    """Where the run keeps the index of `folder`."""
    name = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return head_path(omni.run).with_name(f"index-{name}.safetensors")


def refresh(
    omni: Omni, head: Head, folder: Path, progress: Callable[[str], None] = lambda line: None
) -> tuple[Index, int, list[str]]:
    """(the index of `folder` as it is now, how many files were embedded for it, a line for each unreadable file)."""
    path, digest = index_path(omni, folder), head_digest(omni)
    found, unseen = entries(folder, head.modalities)
    index = None
    if path.is_file():
        try:
            index = Index.load(path)
        except TonyError:
            progress("the index is damaged: making it again")
    if index is not None and index.head != digest:
        index = None
    kept = dict(index.unchanged(found)) if index is not None else {}
    fresh = [i for i in range(len(found)) if i not in kept]
    read_ones, skipped = _embed_files(omni, head, folder, [found[i] for i in fresh], progress)
    new = {fresh[i]: own for i, own in read_ones.items()}
    skipped = unseen + skipped
    if index is not None and index.is_outgrown_by(len(kept) + len(new)):
        old = sorted(kept)
        read_ones, more = _embed_files(omni, head, folder, [found[i] for i in old], progress)
        new |= {old[i]: own for i, own in read_ones.items()}
        skipped, kept, index = skipped + more, {}, None
    here = sorted([*kept, *new])
    if not here:
        reason = skipped[0] if skipped else f"put in {READABLE}"
        raise TonyError(f"{folder}: no file in it that this run can search ({reason})")
    if index is not None and not new and len(kept) == len(index.entries):
        return index, 0, skipped
    members = [index.entries[kept[i]] if i in kept else new[i][0] for i in here]
    if index is None:
        index = Index.build(members, np.stack([new[i][1] for i in here]), head.sample, digest, COMPONENTS)
    else:
        small = index.compress(np.stack([vector for _, vector in new.values()])) if new else []
        compressed = dict(zip(new, small, strict=True))
        index = index.replaced(
            members, np.stack([index.rows[kept[i]] if i in kept else compressed[i] for i in here])
        )
    index.save(path)
    return index, len(new), skipped


def head_digest(omni: Omni) -> str:
    """What an index is bound to."""
    return hashlib.sha256(head_path(omni.run).read_bytes()).hexdigest()


def entries(folder: Path, modalities: Sequence[str]) -> tuple[list[Entry], list[str]]:
    """The files below `folder` that may hold one of `modalities` (which one is known where the kind of file says it), and a
    line for each that cannot be looked at."""
    found, skipped = [], []
    for path in walk(folder):
        declared = declared_by(path.name)
        if declared.kind in (None, "pcm16") or path.suffix.lower() == ".jsonl":
            continue
        modality = declared.modality or MODALITY_OF.get(declared.kind, "")
        if modality in ("", *modalities):
            try:
                about = path.stat()
            except OSError as error:  # a link to nowhere, or a file that has just gone
                skipped.append(f"{path.name}: {error.strerror or error}")
                continue
            found.append(
                Entry(path.relative_to(folder).as_posix(), modality, about.st_size, about.st_mtime_ns)
            )
    return found, skipped


def _embed_files(
    omni: Omni, head: Head, folder: Path, found: Sequence[Entry], progress: Callable[[str], None]
) -> tuple[dict[int, tuple[Entry, np.ndarray]], list[str]]:
    """(position in `found` -> the file with its true modality, and its vector; a line for each that cannot be read)."""
    out: dict[int, tuple[Entry, np.ndarray]] = {}
    skipped: list[str] = []
    for first in range(0, len(found), TOGETHER):
        parts: dict[int, Part] = {}
        for i in range(first, min(first + TOGETHER, len(found))):
            try:
                part = read_part(folder / found[i].name)
            except TonyError as error:
                skipped.append(str(error))
                continue
            if part.modality in head.modalities:
                parts[i] = part
            else:
                skipped.append(f"{found[i].name}: this run's search knows no {part.modality}")
        if parts:
            vectors = embed(omni, list(parts.values()))
            for (i, part), vector in zip(parts.items(), vectors, strict=True):
                out[i] = replace(found[i], modality=part.modality), vector
            progress(f"read {len(out)} of {len(found)} files")
    return out, skipped


def read_part(path: Path) -> Part:
    """The part in the file `path`; a clip small and slow, as folders are learned from.

    Raises:
        TonyError: it cannot be read, or holds nothing.
    """
    clip = {"fps": FRAMES_PER_SECOND, "size": (CLIP_SIDE, CLIP_SIDE)}
    part = read(path, **(clip if declared_by(path.name).kind in ("gif", "mp4", "webm") else {}))
    if isinstance(part, Text):
        part = Text(part.text.strip())
    if (isinstance(part, Text) and not part.text) or (isinstance(part, Audio) and not len(part.samples)):
        raise TonyError(f"{path.name} holds nothing")
    return part
