"""`tony search FOLDER QUERY`: find by word, picture, sound."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def search(
    folder: Annotated[Path, typer.Argument(help="where to look")],
    query: Annotated[str, typer.Argument(help="words, or a picture, sound or clip file")],
    run: Annotated[Path | None, typer.Option(help="a run folder; default: runs/NAME of the folder")] = None,
    kinds: Annotated[str, typer.Option(help="what to find, such as image,audio")] = "text,image,audio,video",
    top: Annotated[int, typer.Option(help="how many to show", min=1)] = 10,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the result as JSON and nothing else")
    ] = False,
) -> None:
    """Find files by meaning, across text, pictures, sounds and clips."""
    from dataclasses import asdict

    from tony.cli.show import print_json
    from tony.engine import Omni
    from tony.errors import TonyError
    from tony.media import Text
    from tony.search.search import read_part
    from tony.search.search import search as find

    if not query.strip():
        raise TonyError("the query is empty: give words, or the name of a picture or sound file")
    chosen = run if run is not None else Path("runs") / folder.expanduser().resolve().name
    if run is None and not (chosen / "recipe.toml").is_file():
        raise TonyError(
            f"{chosen}: no run for {folder}. Name one with --run, or make it: tony train {folder}"
        )
    names = [name.strip() for name in kinds.split(",") if name.strip()]
    found = find(
        Omni.load(chosen), folder, read_part(Path(query)) if is_file(query) else Text(query.strip()), top, names,
        lambda line: print(line, file=sys.stderr),
    )  # fmt: skip
    if as_json:
        print_json({"query": query, "folder": str(folder), "run": str(chosen)} | asdict(found))
        return
    for hit in found.hits:
        print(f"{hit.score:6.3f}  {hit.modality:5}  {folder / hit.path}")
    if found.skipped:
        print(f"{len(found.skipped)} files could not be read, such as {found.skipped[0]}", file=sys.stderr)


def is_file(query: str) -> bool:
    """Whether the query names a file rather than being words."""
    try:
        return Path(query).is_file()
    except OSError:  # too long for a name
        return False
