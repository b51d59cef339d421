"""Tux Paint's stamps become files of one stem."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tony.data.folder import FolderSource
from tony.data.tuxpaint import captions, convert, main
from tony.errors import TonyError
from tony.media import Audio, Image, Text, read, write
from tony.runs.data_recipes import FolderData


def make_package(root: Path) -> Path:
    """Two captioned stamps, one drawing, a mirrored picture without caption and a caption without picture."""
    rng = np.random.default_rng(0)
    stamps = root / "usr/share/tuxpaint/stamps/animals"
    stamps.mkdir(parents=True)
    for name in ("frog", "toad", "toad_mirror"):
        write(Image(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)), stamps / f"{name}.png")
    for name in ("frog", "toad", "newt", "ghost"):
        lines = [
            f"A {name}.",
            "de.utf8=Ein Tier.",
            f"fr.utf8=Un {name} \u00e9tonnant.",
            "pt_BR.utf8=Um bicho.",
            "gl.utf8=",
        ]
        (stamps / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (stamps / "newt.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    for name in ("frog_desc.ogg", "frog_desc_fr.ogg", "frog.ogg", "toad_desc_pt_BR.wav"):
        write(Audio(rng.uniform(-0.2, 0.2, 4_000).astype(np.float32), 16_000), stamps / name)
    return root


def test_captions_by_language(tmp_path):
    package = make_package(tmp_path)
    found = captions(next(package.rglob("frog.txt")))
    assert found == {"en": "A frog.", "de": "Ein Tier.", "fr": "Un frog \u00e9tonnant.", "pt_BR": "Um bicho."}


def test_stamps_become_files_of_one_stem(tmp_path):
    out = tmp_path / "out"
    counts = convert(make_package(tmp_path / "package"), out, ("en", "fr", "pt_BR"))
    assert counts["stamps"] == 3 and counts["sounds"] == 3 and counts["texts"] == 9
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    frog = {"frog.png", "frog.txt", "frog.fr.txt", "frog.pt-BR.txt", "frog.ogg", "frog.fr.ogg"}
    assert {name for name in names if "frog" in name} == {f"animals/{name}" for name in frog}
    assert "animals/toad.pt-BR.wav" in names
    assert not [name for name in names if "mirror" in name or "ghost" in name or name.endswith(".svg")]
    assert read(out / "animals/frog.fr.txt") == Text("Un frog \u00e9tonnant.\n")
    # The spoken caption, not the animal's own noise.
    spoken, noise = (next((tmp_path / "package").rglob(name)) for name in ("frog_desc.ogg", "frog.ogg"))
    assert (out / "animals/frog.ogg").read_bytes() == spoken.read_bytes() != noise.read_bytes()
    assert counts["pictures"] + counts["not_rendered"] == 3


def test_the_folder_source_reads_what_was_written(tmp_path):
    convert(make_package(tmp_path / "package"), tmp_path / "out")
    source = FolderSource(FolderData(path=str(tmp_path / "out"), orders=8))
    documents = [d for split in ("train", "heldout") for d in source.documents(split)]
    assert not source.skipped
    assert any(isinstance(p, Text) and p.text == "fr:" for d in documents for p in d)


def test_wrong_folders_are_one_line(tmp_path, capsys):
    with pytest.raises(TonyError, match="no such folder"):
        convert(tmp_path / "missing", tmp_path / "out")
    with pytest.raises(TonyError, match="no captioned stamp"):
        convert(tmp_path, tmp_path / "out")
    package = make_package(tmp_path / "package")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    assert main([str(package), str(tmp_path / "full")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_the_real_package(tmp_path):
    package = Path(os.environ.get("TUXPAINT_STAMPS", "/usr/share/tuxpaint/stamps"))
    if not package.is_dir():
        pytest.skip("tuxpaint-stamps-default is not there: set TUXPAINT_STAMPS to its folder")
    counts = convert(package, tmp_path / "out")
    assert counts["stamps"] > 900 and counts["sounds"] > 900 and counts["texts"] == 2 * counts["stamps"]
    source = FolderSource(FolderData(path=str(tmp_path / "out")))
    assert 0.02 < len(source.examples["heldout"]) / counts["stamps"] < 0.1
    sample = [source.slots(example) for example in source.examples["heldout"][:20]]
    assert all(sample) and not source.skipped
