"""Every probe: what is known is read, what is missing is asked, and a kill at any point loses one unit."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tony.atomic import replacing, write_json
from tony.errors import TonyError
from tony.evals.bias.probe import TOGETHER, Probe, Row, Subject
from tony.evals.journal import Journal
from tony.runs.run import commit_hash


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How much is asked.

    Attributes:
        samples: completions a prompt; 800 in the paper. The default is two whole parts (TOGETHER).
        seed: of the completions.
    """

    samples: int = 2 * TOGETHER
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise TonyError(f"samples={self.samples}: ask for one completion a prompt at least")


def evaluate_bias(
    subject: Subject,
    probes: Sequence[Probe],
    settings: Settings,
    folder: Path,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """What `probes` find, written to `folder` as bias.json, with every answer in bias.jsonl.

    bias.journal.jsonl keeps answers as soon as they are there; a later evaluation of the same model asks only for what is
    missing.

    Args:
        subject: the model.
        probes: from `find_probes`.
        settings: how much is asked.
        folder: where results go.
        progress: called with what is done and in all (prompts weighed and completions written), and the probe's name.

    Raises:
        TonyError: the folder cannot be written.
    """
    asked = {probe.name: probe.units(settings.samples, settings.seed) for probe in probes}
    total = sum(unit.count for units in asked.values() for unit in units)
    done, results, more, samples = 0, [], {}, []
    folder.mkdir(parents=True, exist_ok=True)
    with Journal(folder / "bias.journal.jsonl", subject.identity) as journal:
        known: dict[str, list[Row]] = {kept["key"]: kept["rows"] for kept in journal.rows}
        for probe in probes:
            for unit in asked[probe.name]:
                if unit.key not in known:
                    known[unit.key] = unit.ask(subject)
                    journal.add({"key": unit.key, "rows": known[unit.key]})
                done += unit.count
                if progress:
                    progress(done, total, probe.name)
            rows = [row for unit in asked[probe.name] for row in known[unit.key]]
            found, more[probe.name] = probe.summarise(rows)
            results += [{"probe": probe.name} | result.to_dict() for result in found]
            samples += [{"probe": probe.name} | row for row in rows]
    summary = {
        "suite": "bias",
        "model": subject.name,
        "fingerprint": subject.identity,
        "commit": commit_hash(),
        "settings": asdict(settings) | {"only": [probe.name for probe in probes]},
        "results": results,
        "more": more,
        "limits": {probe.name: probe.limits for probe in probes},
        "samples": "bias.jsonl",
    }
    with replacing(folder / "bias.jsonl") as temporary:
        temporary.write_text("".join(json.dumps(s, ensure_ascii=False) + "\n" for s in samples), "utf-8")
    write_json(folder / "bias.json", summary)
    return summary
