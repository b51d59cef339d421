"""What the studio's second tab reads: the run behind the model, its training curve and its measurements.

Read only, and read anew at each request, so that the page can be open while a run is still being written.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tony.errors import TonyError
from tony.runs.recipe import load_recipe
from tony.serve.errors import ApiError, json_response

MAX_FILE_BYTES = 64 * 2**20  # of metrics.jsonl and of one evaluation; beyond that the page says so


def run_routes(omni: Any, path: Path | None) -> APIRouter:
    """Routes below /studio/api that show run folder `path` (None: the model has no run here)."""
    router = APIRouter(prefix="/studio/api")

    @router.get("/run")
    async def run() -> Response:
        return json_response(await run_in_threadpool(summary, omni, path))

    @router.get("/metrics")
    async def metrics(points: int = Query(400, ge=2, le=5000)) -> Response:
        return json_response(await run_in_threadpool(curve, path, points))

    @router.get("/evals")
    async def evals() -> Response:
        return json_response(await run_in_threadpool(evaluations, path))

    return router


def summary(omni: Any, path: Path | None) -> dict:
    """Model name and size, the recipe by section, where it was trained, and what the page may draw."""
    recipe, environment, problem = {}, {}, None
    if path is not None:
        try:
            recipe = load_recipe(path / "recipe.toml").model_dump(mode="json")
        except TonyError as error:
            problem = str(error)
        environment = _json_file(path / "environment.json") or {}
    shown = ("python", "torch", "device", "cpu", "cores", "memory", "os", "commit", "seeds")
    return {
        "model": omni.name,
        "created": int(omni.created),
        "parameters": parameters(omni),
        "run": None if path is None else path.resolve().name,
        "recipe": recipe,
        "problem": problem,
        "environment": {key: environment[key] for key in shown if key in environment},
    }


def parameters(omni: Any) -> int | None:
    """The number of parameters of the network, where the model tells it."""
    count = getattr(omni, "num_parameters", None)
    count = count() if callable(count) else count
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def curve(path: Path | None, points: int) -> dict:
    """At most `points` logged steps; each is the mean over its stretch of steps, so no spike is made up.

    `tokens`, `step` and `seconds` are those at the end of the stretch.
    """
    rows = _rows(path / "metrics.jsonl") if path is not None else []
    stretch = max(1, math.ceil(len(rows) / points))
    return {
        "logged": len(rows),
        "stretch": stretch,
        "points": [_mean(rows[start : start + stretch]) for start in range(0, len(rows), stretch)],
    }


def _rows(path: Path) -> list[dict]:
    """The objects in a JSONL file; a line that a running or killed training cut short is left out."""
    if not path.is_file():
        return []
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ApiError(f"{path.name} is larger than {MAX_FILE_BYTES} bytes: too large to show", status=413)
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _mean(rows: list[dict]) -> dict:
    last = rows[-1]
    point: dict[str, Any] = {key: _finite(last.get(key)) for key in ("step", "tokens", "seconds", "lr")}
    for key in ("loss", "grad_norm", "tokens_per_second"):
        point[key] = _mean_of([row.get(key) for row in rows])
    by_modality = [row.get("loss_by_modality") for row in rows]
    by_modality = [losses for losses in by_modality if isinstance(losses, dict)]
    names = dict.fromkeys(name for losses in by_modality for name in losses)
    point["loss_by_modality"] = {
        name: _mean_of([losses.get(name) for losses in by_modality]) for name in names
    }
    return point


def _mean_of(values: list) -> float | None:
    numbers = [value for value in map(_finite, values) if value is not None]
    return sum(numbers) / len(numbers) if numbers else None


def _finite(value: Any) -> float | int | None:
    """`value` when it is a finite number: NaN and infinity are no JSON."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None


def evaluations(path: Path | None) -> dict:
    """Every suite of evals/ by name, as its file has it."""
    suites, problems = {}, []
    for file in sorted((path / "evals").glob("*.json")) if path is not None else []:
        if file.name.endswith(".timings.json"):
            continue
        value = _json_file(file)
        if isinstance(value, dict):
            suites[file.stem] = _clean(value)
        else:
            problems.append(f"{file.name} cannot be read")
    return {"evals": suites, "problems": problems}


def _json_file(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return None
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _clean(value: Any) -> Any:
    """`value` with null in place of NaN and infinity."""
    if isinstance(value, dict):
        return {str(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return _finite(value) if isinstance(value, float) else value
