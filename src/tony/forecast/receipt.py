"""The receipt: a forecast written down with its inputs, their hashes and the time, before the target is trained."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tony.atomic import write_json
from tony.errors import TonyError
from tony.forecast.interval import Bootstrap
from tony.forecast.ladder import Ladder
from tony.runs import commit_hash

FIELDS = ("name", "recipe", "N", "D", "C", "loss", "sha256", "finished")


def digest(value: Any) -> str:
    """SHA-256 of a JSON value, independent of spaces and of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def make_receipt(
    ladder: Ladder, points: list[dict[str, Any]], found: Bootstrap, warnings: Sequence[str] = ()
) -> dict[str, Any]:
    """The forecast of the ladder's target with everything that it was made from, and what there was to warn of."""
    target, law = ladder.target, found.law
    at = {"N": float(target.n), "D": float(target.tokens), "C": target.flops}
    forecast = found.predict(**at)
    inputs = [{name: point[name] for name in FIELDS} | {"seed": point.get("seed", 0)} for point in points]
    receipt = {
        "kind": "forecast",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit_hash(),
        "domain": ladder.base.name,
        "inputs": inputs,
        "inputs_sha256": digest(inputs),
        "law": {
            "form": law.form.name,
            "formula": law.form.formula,
            "constants": {k: list(v) for k, v in found.constants().items()},
            "irreducible": law.irreducible,
            "rows": [int(line) for line in law.runs.lines],
        },
        "beside": [
            {"form": other.law.form.name, "loss": float(other.law.predict(**at))} for other in found.beside
        ],
        "target": {
            "recipe": target.recipe.hash,
            "name": target.recipe.name,
            **at,
            "runs": [rung.recipe.hash for rung in ladder.targets],
        },
        "beyond": target.flops / ladder.largest,
        "forecast": {
            "loss": forecast.loss,
            "low": forecast.low,
            "high": forecast.high,
            "level": forecast.level,
            "half_width": forecast.half_width,
            "reducible": forecast.loss - law.irreducible,
            "warnings": [*forecast.warnings, *warnings],
        },
    }
    return receipt | {"sha256": digest(receipt)}


def save_receipt(path: Path, receipt: dict[str, Any]) -> dict[str, Any]:
    """Write a receipt, or give back the one that is there for the same inputs: a forecast is not made anew.

    Raises:
        TonyError: there is one from other inputs.
    """
    if path.is_file():
        old = read_receipt(path)
        same_inputs = old["inputs_sha256"] == receipt["inputs_sha256"]
        if same_inputs and target_runs(old) == target_runs(receipt):
            return old
        raise TonyError(f"{path}: a forecast from other runs. Keep it elsewhere, or remove it")
    write_json(path, receipt)
    return receipt


def check_receipt(path: Path, ladder: Ladder) -> None:
    """Whether a forecast by `ladder` may be kept at `path`, before anything is trained.

    Raises:
        TonyError: there is one of another target, or something else.
    """
    if path.is_file() and read_receipt(path)["target"]["recipe"] != ladder.target.recipe.hash:
        raise TonyError(
            f"{path}: a forecast of another target. Give --receipt another file, or remove that one"
        )


def read_receipt(path: Path) -> dict[str, Any]:
    """The receipt in a file.

    Raises:
        TonyError: it is none, or was changed since.
    """
    try:
        receipt = json.loads(path.read_text(encoding="utf-8"))
        body = {k: v for k, v in receipt.items() if k not in ("sha256", "confirmation")}
        intact = receipt["sha256"] == digest(body)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise TonyError(f"{path}: no receipt ({error}). Make one: tony forecast RECIPE") from None
    if not intact:
        raise TonyError(f"{path}: was changed after it was written. A forecast counts as it stood: remove it")
    return receipt


def target_runs(receipt: dict[str, Any]) -> list[str]:
    """The recipes of the runs that confirm a receipt; one, in receipts from before there could be several."""
    target = receipt["target"]
    return target.get("runs", [target["recipe"]])


def other_forms(receipt: dict[str, Any]) -> list[dict[str, Any]]:
    """What forms that the runs cannot tell from the law say of the target; in older receipts it was one at most."""
    found = receipt["beside"] or []
    return [found] if isinstance(found, dict) else found


def confirm(path: Path, points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The receipt with what was measured, the mean of the target's runs, written beside the forecast.

    Raises:
        TonyError: the target is another one, or one of its runs was finished before the forecast was written.
    """
    receipt = read_receipt(path)
    if [point["recipe"] for point in points] != target_runs(receipt):
        raise TonyError(f"{path}: forecasts another target. Make the forecast of this one first")
    if min(point["finished"] for point in points) < receipt["created"]:
        raise TonyError(f"{path}: was written after the target was trained, so it forecasts nothing")
    forecast = receipt["forecast"]
    losses = [point["loss"] for point in points]
    loss = statistics.fmean(losses)
    receipt["confirmation"] = {
        "loss": loss,
        "losses": losses,
        # Of the test windows, which all runs share.
        "standard_error": statistics.fmean(point["standard_error"] for point in points),
        "error": forecast["loss"] / loss - 1,
        "inside": forecast["low"] <= loss <= forecast["high"],
        "finished": max(point["finished"] for point in points),
        "seconds": sum(point["seconds"] for point in points),
        "sha256": [point["sha256"] for point in points],
    }
    write_json(path, receipt)
    return receipt
