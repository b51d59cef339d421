"""A run: the folder in which everything about one model lives, and the only place where results are written."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from tony.atomic import replacing, write_json
from tony.errors import TonyError
from tony.runs.recipe import Recipe, load_recipe

PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "tokenizers",
    "safetensors",
    "pillow",
    "soundfile",
    "soxr",
    "av",
)


def commit_hash() -> str | None:
    """The commit of the source tree that runs, or None outside a checkout."""
    try:
        out = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"],
            capture_output=True, text=True, timeout=5, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return out.stdout.strip() or None


def describe_environment(recipe: Recipe, device: str) -> dict[str, Any]:
    """What environment.json holds: versions, hardware, commit and seeds."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "python": sys.version.split()[0],
        "torch": metadata.version("torch"),
        "device": device,
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory": memory,
        "os": platform.platform(),
        "commit": commit_hash(),
        "packages": [f"{name}=={metadata.version(name)}" for name in PACKAGES],
        "seeds": {"run": recipe.seed},
    }


class Run:
    """A run folder, opened. `Run.create` makes one, `Run(path)` opens one that is there."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / "recipe.toml").is_file():
            raise TonyError(
                f"{self.path}: no run here (recipe.toml is missing). Train one: tony train recipes/digits.toml"
            )

    @classmethod
    def create(cls, recipe: Recipe, root: str | Path = "runs") -> Run:
        """The run folder of `recipe` below `root`: the one that is there, or a new one.

        Raises:
            TonyError: the folder was made from another recipe.
        """
        path = Path(root) / recipe.name
        if (path / "recipe.toml").is_file():
            run = cls(path)
            if run.recipe.hash != recipe.hash:
                changed = ", ".join(_differences(run.recipe.model_dump(), recipe.model_dump()))
                raise TonyError(
                    f"{path} was made from another recipe (differs in: {changed}). "
                    f"Choose another name (name=NAME) or remove that folder"
                )
            return run
        with replacing(path / "recipe.toml") as temporary:
            temporary.write_text(recipe.to_toml(), encoding="utf-8")
        return cls(path)

    @cached_property
    def recipe(self) -> Recipe:
        return load_recipe(self.path / "recipe.toml")

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def vocabulary(self) -> Path:
        return self.path / "vocabulary"

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def is_finished(self) -> bool:
        return (self.model / "model.safetensors").is_file()

    def metrics(self) -> list[dict[str, Any]]:
        """The logged steps, oldest first; a line that a crash cut short is left out."""
        path = self.path / "metrics.jsonl"
        rows = []
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    rows.append(json.loads(line))
                except json.JSONDecodeError:
                    continue
        return rows

    def log(self, row: dict[str, Any]) -> None:
        """Append one line; NaN and infinity, which JSON does not have, become null."""
        path = self.path / "metrics.jsonl"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(_finite(row), allow_nan=False) + "\n")
        except OSError as error:
            raise TonyError(
                f"{path}: cannot be written ({error.strerror}). Free some space; the same command resumes"
            ) from None

    def truncate_metrics(self, step: int) -> None:
        """Forget the steps after `step`: they are about to be run again."""
        if not (self.path / "metrics.jsonl").is_file():
            return
        rows = [row for row in self.metrics() if row["step"] <= step]
        with replacing(self.path / "metrics.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def save_evaluation(self, suite: str, result: dict[str, Any]) -> Path:
        """Write evals/<suite>.json with what every evaluation carries; the path is returned."""
        head = {
            "suite": suite,
            "model": self.name,
            "recipe_hash": self.recipe.hash,
            "commit": commit_hash(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        path = self.path / "evals" / f"{suite}.json"
        write_json(path, head | result)
        return path

    def evaluation(self, suite: str) -> dict[str, Any] | None:
        path = self.path / "evals" / f"{suite}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    out = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            out += _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            out.append(f"{prefix}{key}")
    return out
