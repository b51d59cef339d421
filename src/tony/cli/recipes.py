"""Which recipe a command means: a TOML file, a recipe that comes with Tony, or a folder of files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tony.runs import Recipe, load_recipe

SHIPPED = Path(__file__).parents[3] / "recipes"


def recipe_for(source: str, overrides: Sequence[str]) -> Recipe:
    """The recipe of `source`; a folder gets recipes/folder.toml with its path and its name."""
    path = Path(source).expanduser()
    if path.is_dir():
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.resolve().name).strip("-.") or "folder"
        own = [f"name={name}", "data.kind=folder", f"data.path={path.resolve()}"]
        base = SHIPPED / "folder.toml"
        return load_recipe(base if base.is_file() else {"data": {"kind": "folder"}}, [*own, *overrides])
    if not path.is_file():
        for shipped in (SHIPPED / path.name, SHIPPED / f"{path.name}.toml"):
            if shipped.is_file():
                return load_recipe(shipped, overrides)
    return load_recipe(path, overrides)
