"""What a run makes of held-out requests, written as files that a person can look at and listen to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tony.data.sources import open_source
from tony.engine import Omni
from tony.errors import TonyError
from tony.media import Document, Text, write
from tony.runs import Run

SUFFIX = {"text": "txt", "image": "png", "audio": "wav", "video": "gif"}


def write_samples(run: Run, most: int = 6) -> list[str]:
    """Replies to `most` held-out requests from all over the data, in `samples/` of the run; the files' paths come back.

    `0-asked-*` is what was shown, `0-truth-*` what the data answer, `0-reply-*` what the model answers.
    """
    omni = Omni.load(run.path)
    written: list[str] = []
    number = 0
    documents = list(open_source(run.recipe).documents("heldout"))
    # Neighbours are often one example in several orders.
    for i in np.random.default_rng([run.recipe.seed, 14]).permutation(len(documents)):
        document = documents[i]
        asked = [part for part in document if part.role == "user"]
        truth = [
            part
            for part in document
            if part.role == "assistant" and part.modality in ("text", "image", "audio")
        ]
        if not asked or not truth:
            continue
        try:
            reply = omni.reply(Document(asked), [part.modality for part in truth], seed=number)
        except TonyError:
            continue  # too long with the longest reply: the next one may fit
        for name, parts in (("asked", asked), ("truth", truth), ("reply", reply)):
            written += [
                _write(run.path / "samples", f"{number}-{name}-{i}", part) for i, part in enumerate(parts)
            ]
        number += 1
        if number == most:
            break
    return written


def _write(folder: Path, stem: str, part) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.{SUFFIX[part.modality]}"
    if part.modality == "text" and not part.text.strip():
        part = Text("(empty)")
    write(replace(part, role=None), path)
    return str(path)
