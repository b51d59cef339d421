"""Tux Paint's stamps as a folder that `tony train` reads: the layout of Debian's tuxpaint-stamps-default.

frog.png or frog.svg      the picture          ->  frog.png
frog.txt                  "A frog.", then lines such as "fr.utf8=Une grenouille."  ->  frog.txt, frog.fr.txt
frog_desc.ogg, frog_desc_fr.ogg   the caption, spoken                              ->  frog.ogg, frog.fr.ogg

python -m tony.data.tuxpaint PACKAGE_FOLDER OUT_FOLDER
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tony.data.packages import debian_package
from tony.errors import TonyError

# tuxpaint-stamps-default 2022.06.04-1 (GPL-2), 161 MB
SHA256 = "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34"
STAMPS = Path("/usr/share/tuxpaint/stamps")
LANGUAGES = ("en", "fr")
SVG_SIDE = 256  # pixels that a drawing is rendered at
SOUNDS = (".ogg", ".wav", ".flac", ".mp3")
_TRANSLATION = re.compile(r"^([a-z]{2,3}(?:_[A-Z]{2})?(?:@\w+)?)\.utf8=(.*)$")


def stamps() -> Path:
    """The folder of the stamps: of the package where it is installed, elsewhere fetched on first use.

    Raises:
        TonyError: the package cannot be fetched.
    """
    if STAMPS.is_dir():
        return STAMPS
    return debian_package("tuxpaint-stamps-default", SHA256) / STAMPS.relative_to("/")


def captions(path: Path) -> dict[str, str]:
    """The captions in a stamp's text file by language; the first line is English.

    Raises:
        TonyError: it is no UTF-8 text, or its first line is no caption.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TonyError(f"{path}: cannot be read as a caption ({error}). Unpack the package again") from None
    found = {"en": lines[0].strip()} if lines else {}
    if not found.get("en") or _TRANSLATION.match(lines[0]):
        raise TonyError(f"{path}: its first line is no caption. Unpack the package again")
    for line in lines[1:]:
        if (match := _TRANSLATION.match(line.strip())) and match[2].strip():
            found.setdefault(match[1], match[2].strip())
    return found


def convert(source: str | Path, target: str | Path, languages: Sequence[str] = LANGUAGES) -> dict[str, int]:
    """How many stamps, pictures, texts and sounds were written below `target`, in the sub-folders of `source`.

    Files are hard links where the file system allows, copies elsewhere. Drawings (SVG) that have no PNG are rendered
    with rsvg-convert where it is installed; elsewhere those stamps keep their captions and sounds only.

    Raises:
        TonyError: `source` holds no stamp, or `target` holds something already.
    """
    source, target = Path(source), Path(target)
    if not source.is_dir():
        raise TonyError(f"{source}: no such folder. Name the folder that the package was unpacked to")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise TonyError(f"{target}: holds something already. Name a new folder")
    root = next((path for path in sorted(source.rglob("stamps")) if path.is_dir()), source)
    stamps = [path for path in sorted(root.rglob("*.txt")) if _picture_of(path)]
    if not stamps:
        raise TonyError(
            f"{source}: no captioned stamp in it. Unpack tuxpaint-stamps-default with dpkg-deb -x there"
        )
    counts = Counter(stamps=0, pictures=0, texts=0, sounds=0, not_rendered=0)
    for path in stamps:
        stem = target / path.relative_to(root).with_suffix("")
        stem.parent.mkdir(parents=True, exist_ok=True)
        counts["stamps"] += 1
        counts["pictures" if _put_picture(_picture_of(path), stem) else "not_rendered"] += 1
        words = captions(path)
        for language in languages:
            tag = "" if language == "en" else f".{language.replace('_', '-')}"
            if language in words:
                Path(f"{stem}{tag}.txt").write_text(words[language] + "\n", encoding="utf-8")
                counts["texts"] += 1
            spoken = _spoken(path, "" if language == "en" else f"_{language}")
            if spoken is not None:
                _link(spoken, Path(f"{stem}{tag}{spoken.suffix}"))
                counts["sounds"] += 1
    return dict(counts)


def _picture_of(text: Path) -> Path | None:
    """The stamp's picture; a bitmap rather than a drawing."""
    return _first(text.with_suffix(suffix) for suffix in (".png", ".svg"))


def _spoken(text: Path, tag: str) -> Path | None:
    return _first(text.with_name(f"{text.stem}_desc{tag}{suffix}") for suffix in SOUNDS)


def _first(paths: Iterable[Path]) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _put_picture(picture: Path, stem: Path) -> bool:
    """Whether the picture could be written as `stem`.png."""
    if picture.suffix == ".png":
        _link(picture, Path(f"{stem}.png"))
        return True
    tool = shutil.which("rsvg-convert")
    if tool is None:
        return False
    size = ["-w", str(SVG_SIDE), "-h", str(SVG_SIDE), "-a", "-b", "white"]
    done = subprocess.run([tool, *size, "-o", f"{stem}.png", str(picture)], capture_output=True, check=False)
    return done.returncode == 0


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, target)


def main(arguments: Sequence[str]) -> int:
    if len(arguments) < 2:
        print("usage: python -m tony.data.tuxpaint PACKAGE_FOLDER OUT_FOLDER [LANGUAGE ...]", file=sys.stderr)
        return 2
    try:
        counts = convert(arguments[0], arguments[1], tuple(arguments[2:]) or LANGUAGES)
    except TonyError as error:
        print(error, file=sys.stderr)
        return 2
    print(", ".join(f"{number} {name.replace('_', ' ')}" for name, number in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
