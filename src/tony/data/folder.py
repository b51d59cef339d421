"""A person's own files as documents.

Files of one stem are one example, in sub-folders too:

    cat.png  cat.txt  cat.wav  cat.fr.txt  cat.fr.wav      the example "cat": a picture, words and their sound, and both
                                                           again in French
    story.txt                                              text alone: long ones are read section by section
    pairs.jsonl                                            the full form: explicit Documents, taken as they are

An example is shown in several seeded orders: some of its parts are the user's, the others come back. What comes back in
a language that a file name carries is asked for with a text part `fr:`, as in the digit world:

    picture, "fr:"          -> French words, French sound
    sound                   -> words, picture
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tony.data.names import named_in, share, size, split_name, walk
from tony.data.orders import Slot, arrange, sections
from tony.data.sources import Split
from tony.data.variation import varied
from tony.errors import TonyError
from tony.media import Audio, Document, Image, Part, Text, Video, read, read_jsonl, to_fps, to_rate, to_size
from tony.media.kinds import READABLE, declared_by
from tony.runs.data_recipes import FolderData

SOUND_RATE = 16_000
CLIP_SIDE = 128  # pixels: clips are shrunk to this while they are decoded
PICTURE_SIDE = 256  # pixels: bigger pictures are shrunk to this, so that many fit in memory
SECTION = 6_000  # characters: a longer text that stands alone is divided into examples of about this length
MOST_PICTURES = 2_000  # that codecs are fitted to
MOST_SOUND_SECONDS = 1_800.0
MOST_CHARACTERS = 30_000_000
MOST_KEPT = 50_000_000  # characters of long texts that are kept in memory


@dataclass(frozen=True)
class File:
    """A file and the language that its name carries."""

    path: Path
    language: str | None
    kind: str  # of media.kinds

    @property
    def is_text(self) -> bool:
        return self.kind == "text"


@dataclass(frozen=True)
class Example:
    """What belongs together: files of one stem, one section (start, end) of a long text, or one JSONL document."""

    stem: str
    files: tuple[File, ...] = ()
    section: tuple[int, int] | None = None
    document: Document | None = None


class FolderSource:
    """A `Source` of the files below a folder.

    Args:
        recipe: the `[data]` section.
        seed: the split and the orders are functions of it.

    Attributes:
        skipped: a line for each file that could not be read so far; each names its file.

    Raises:
        TonyError: the folder is missing, is none, or holds fewer than two examples; or a JSONL line is wrong.
    """

    def __init__(self, recipe: FolderData, seed: int = 0) -> None:
        self.recipe, self.seed = recipe, seed
        self.skipped: list[str] = []
        self._kept: dict[Path, str] = {}
        if not recipe.path:
            raise TonyError("data.path is empty: name the folder with your files, as in tony train my-folder")
        self.folder = Path(recipe.path).expanduser()
        if not self.folder.exists():
            raise TonyError(f"{self.folder}: no such folder. Check the name")
        if not self.folder.is_dir():
            raise TonyError(f"{self.folder}: is a file. Name the folder that holds your files")
        self.examples = self._split(self._found())

    # --- what there is --------------------------------------------------------------------------------------

    def _found(self) -> list[Example]:
        files, manifests, others = [], [], []
        for path in walk(self.folder):
            kind = declared_by(path.name).kind
            if path.suffix.lower() == ".jsonl":
                manifests.append(path)
            elif kind in (None, "pcm16"):
                others.append(path)
            else:
                files.append(path)
        examples = [example for path in manifests for example in self._documents_of(path)]
        spoken_for = {path for manifest in manifests for path in named_in(manifest)}
        by_stem: dict[str, list[File]] = {}
        for path in files:
            if path.resolve() not in spoken_for:
                stem, language = split_name(path.name)
                key = (path.parent / stem).relative_to(self.folder).as_posix()
                by_stem.setdefault(key, []).append(File(path, language, declared_by(path.name).kind or ""))
        for stem, members in by_stem.items():
            examples += self._sections(Example(stem, tuple(members)))
        if not examples:
            there = f"{len(others)} files of other kinds, such as {others[0].name}" if others else "no files"
            raise TonyError(f"{self.folder}: no example in it, only {there}. Put in {READABLE} or jsonl")
        return examples

    def _documents_of(self, path: Path) -> Iterator[Example]:
        name = path.relative_to(self.folder).as_posix()
        for number, document in enumerate(read_jsonl(path), 1):
            if len(document):
                yield Example(f"{name}:{number}", document=Document(self._small(part) for part in document))

    def _sections(self, example: Example) -> list[Example]:
        """The example, or for one long text file its sections."""
        if len(example.files) > 1 or not example.files[0].is_text:
            return [example]
        if size(example.files[0].path) <= SECTION:
            return [example]
        text = self._read(example.files[0])
        if not isinstance(text, Text):
            return []
        bounds = sections(text.text, SECTION)
        return [replace(example, stem=f"{example.stem}#{i}", section=b) for i, b in enumerate(bounds)]

    def _split(self, examples: list[Example]) -> dict[Split, list[Example]]:
        """Examples by split. What shares a file's bytes shares a side, and the hash of its first stem decides which."""
        groups = self._groups(examples)
        if len(groups) < 2:
            raise TonyError(
                f"{self.folder}: {len(examples)} example(s) that share their files are too few: "
                "two different ones are needed, one to train on and one to hold out"
            )
        ranked = sorted((share(self.seed, min(e.stem for e in group)), i) for i, group in enumerate(groups))
        num_held = sum(value < self.recipe.held_out for value, _ in ranked)
        num_held = min(max(num_held, 1), len(groups) - 1)
        held = {i for _, i in ranked[:num_held]}
        sides: dict[Split, list[Example]] = {"train": [], "heldout": []}
        for i, group in enumerate(groups):
            sides["heldout" if i in held else "train"] += group
        for split, members in sides.items():
            members.sort(key=lambda e: e.stem)
            order = np.random.default_rng([self.seed, 21, split == "train"]).permutation(len(members))
            sides[split] = [members[i] for i in order]
        return sides

    def _groups(self, examples: list[Example]) -> list[list[Example]]:
        """Examples that share a picture, a sound, a clip, or all of their text.

        One caption may well stand beside many pictures, so captions do not count.
        """
        sizes: dict[int, int] = {}
        for example in examples:
            for file in example.files:
                here = size(file.path)
                sizes[here] = sizes.get(here, 0) + 1
        leader = list(range(len(examples)))

        def root(i: int) -> int:
            while leader[i] != i:
                leader[i] = leader[leader[i]]
                i = leader[i]
            return i

        first: dict[bytes, int] = {}
        for i, example in enumerate(examples):
            for mark in self._marks(example, sizes):
                other = first.setdefault(mark, i)
                a, b = sorted((root(i), root(other)))
                leader[b] = a
        groups: dict[int, list[Example]] = {}
        for i, example in enumerate(examples):
            groups.setdefault(root(i), []).append(example)
        return list(groups.values())

    def _marks(self, example: Example, sizes: dict[int, int]) -> Iterator[bytes]:
        """Digests of what must not stand on both sides; a file of a size of its own needs none."""
        if example.document is not None:
            alone = all(isinstance(part, Text) for part in example.document)
            for part in example.document:
                if alone or not isinstance(part, Text):
                    content = part.text.encode() if isinstance(part, Text) else _array(part).tobytes()
                    yield hashlib.sha256(part.modality.encode() + content).digest()
            return
        if example.section is not None:
            text = self._words(example.files[0], example.section)
            yield hashlib.sha256(b"text" + text.encode()).digest()
            return
        alone = all(file.is_text for file in example.files)
        for file in example.files:
            if (alone or not file.is_text) and sizes[size(file.path)] > 1:
                try:
                    with file.path.open("rb") as opened:
                        yield hashlib.file_digest(opened, "sha256").digest()
                except OSError:
                    continue  # reading it will say so

    # --- reading --------------------------------------------------------------------------------------------

    def _skip(self, line: str) -> None:
        if line not in self.skipped:
            self.skipped.append(line)

    def _read(self, file: File) -> Part | None:
        """The part in `file`, brought to the size that is learned from; None where it cannot be read."""
        try:
            clip = {"fps": self.recipe.frames_per_second, "size": (CLIP_SIDE, CLIP_SIDE)}
            part = read(file.path, **(clip if file.kind in ("gif", "mp4", "webm") else {}))
        except TonyError as error:
            self._skip(str(error))
            return None
        if isinstance(part, Text) and not part.text.strip():
            self._skip(f"{file.path.name} holds no words")
            return None
        part = self._small(part)
        if isinstance(part, Audio) and not len(part.samples):
            self._skip(f"{file.path.name} holds no sound")
            return None
        return part

    def _small(self, part: Part) -> Part:
        """The part as it is learned from: sound at 16 kHz and clips up to `max_seconds`, pictures of bounded size."""
        match part:
            case Audio():
                start = part.samples[: int(self.recipe.max_seconds * part.rate)]
                return to_rate(replace(part, samples=start.copy()), SOUND_RATE)
            case Image() if max(part.width, part.height) > PICTURE_SIDE:
                return to_size(part, PICTURE_SIDE, PICTURE_SIDE)
            case Video():
                clip = replace(part, frames=part.frames[: max(1, int(self.recipe.max_seconds * part.fps))])
                most = self.recipe.frames
                return clip if len(clip.frames) <= most else to_fps(clip, clip.fps * most / len(clip.frames))
        return part

    def _words(self, file: File, section: tuple[int, int]) -> str:
        """One section of a long text; texts that were read last are kept."""
        if file.path not in self._kept:
            part = self._read(file)
            while self._kept and sum(map(len, self._kept.values())) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[file.path] = part.text if isinstance(part, Text) else ""
        return self._kept[file.path][slice(*section)]

    def slots(self, example: Example) -> list[Slot]:
        """What the files of an example hold; words and sounds in several languages share a slot."""
        if example.section is not None:
            words = self._words(example.files[0], example.section)
            return [Slot("text", {example.files[0].language: Text(words)})] if words.strip() else []
        slots: list[Slot] = []
        spoken: dict[str, dict[str | None, Part]] = {}
        for file in example.files:
            part = self._read(file)
            if isinstance(part, Text):
                part = Text(part.text.strip())
            if part is not None and part.modality in ("text", "audio"):
                spoken.setdefault(part.modality, {}).setdefault(file.language, part)
            elif part is not None:
                slots.append(Slot(part.modality, {None: part}))
        return slots + [Slot(modality, variants) for modality, variants in spoken.items()]  # type: ignore[arg-type]

    # --- the contract of a source -----------------------------------------------------------------------------

    def documents(self, split: Split) -> Iterator[Document]:
        some = False
        for example in self.examples[split]:
            if example.document is not None:
                some = True
                yield example.document
                continue
            slots = self.slots(example)
            forms = [slots]
            for form in range(1, self.recipe.variants if split == "train" else 1):
                rng = np.random.default_rng([self.seed, 23, form, *example.stem.encode()])
                forms.append([slot.map(lambda part, rng=rng: varied(part, rng)) for slot in slots])
            for order in range(self.recipe.orders if slots else 0):
                rng = np.random.default_rng([self.seed, 22, order, *example.stem.encode()])
                for document in arrange(forms[order % len(forms)], order, rng):
                    some = True
                    yield document
        if not some:
            reason = f" ({self.skipped[0]})" if self.skipped else ""
            raise TonyError(
                f"{self.folder}: nothing to read for the {split} split{reason}. Repair or add files"
            )

    def texts(self) -> Iterator[str]:
        languages: set[str] = set()
        characters = 0
        for example in self.examples["train"]:
            if example.document is not None:
                found = [part.text for part in example.document if isinstance(part, Text)]
            elif example.section is not None:
                found = [self._words(example.files[0], example.section)]
            else:
                read_ones = [self._read(file) for file in example.files if file.is_text]
                found = [part.text for part in read_ones if isinstance(part, Text)]
            languages |= {file.language for file in example.files if file.language}
            characters += sum(map(len, found))
            yield from found
            if characters > MOST_CHARACTERS:
                break
        yield from (f"{language}:" for language in sorted(languages))

    def images(self) -> list[Image]:
        """Training pictures and frames; where there are very many, those of a seeded choice of examples."""
        images: list[Image] = []
        for part in self._training_parts(VISUAL):
            if isinstance(part, Image):
                images.append(part)
            elif isinstance(part, Video):
                images += [Image(frame) for frame in part.frames]
            if len(images) >= MOST_PICTURES:
                break
        return images

    def sounds(self) -> list[Audio]:
        """Training sounds at 16 kHz, up to half an hour of them."""
        sounds: list[Audio] = []
        seconds = 0.0
        for part in self._training_parts(AUDIBLE):
            if isinstance(part, Audio):
                sounds.append(part)
                seconds += part.seconds
            if seconds >= MOST_SOUND_SECONDS:
                break
        return sounds

    def _training_parts(self, kinds: tuple[str, ...]) -> Iterator[Part | None]:
        """The parts of training documents, and of training files of these kinds."""
        for example in self.examples["train"]:
            if example.document is not None:
                yield from example.document
            yield from (self._read(file) for file in example.files if file.kind in kinds)


VISUAL = ("png", "jpeg", "webp", "bmp", "gif", "mp4", "webm")
AUDIBLE = ("wav", "flac", "ogg", "mp3", "aac", "mp4", "webm")


def _array(part: Part) -> np.ndarray:
    match part:
        case Image():
            return part.pixels
        case Audio():
            return part.samples
        case Video():
            return part.frames
    raise AssertionError(part.modality)
