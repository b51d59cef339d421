"""Draw samples of programming problems into a JSONL file that a killed run goes on with.

One unit of work is one problem at one temperature, and a call to the sampler takes one or more of them. The rows of a unit
are written together as soon as they are drawn, and a unit that a kill cut short is drawn again. Each has a random stream of
its own, so what is drawn does not depend on the calls.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tony.atomic import write_json
from tony.errors import TonyError
from tony.evals.code.problems import Problem
from tony.evals.code.sampler import Drawn, Sampler
from tony.evals.journal import whole_rows

SAMPLES = "samples.jsonl"
ASKING = 2  # changes whenever models are asked otherwise: samples of two ways are not mixed


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How samples are drawn.

    Attributes:
        n: samples of each problem at each temperature.
        temperatures: softmax temperatures; 0 is the most likely token, and then all samples are alike.
        top_p: probability mass of the nucleus.
        max_tokens: longest sample.
        seed: of all random streams.
    """

    n: int = 20
    temperatures: tuple[float, ...] = (0.2,)
    top_p: float = 0.95
    max_tokens: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n < 1 or self.max_tokens < 1 or not self.temperatures:
            raise TonyError("--n and --max-tokens are 1 or more, and there is at least one temperature")
        if not all(0 <= t <= 5 for t in self.temperatures) or not 0 < self.top_p <= 1:
            raise TonyError("temperatures lie from 0 to 5, and top-p above 0 and up to 1")


def folder_of(
    parent: Path, name: str, sampler: Sampler, problems: Mapping[str, Problem], how: Drawing
) -> Path:
    """The folder for samples of these problems by this model in this way; created, with settings.json in it.

    How many samples and at which temperatures is not part of its name: more can be added to those that are there.
    """
    asked = hashlib.sha256()
    for problem in problems.values():
        asked.update(repr((problem.task_id, problem.prompt, problem.stops)).encode("utf-8", "surrogatepass"))
    settings = {
        "asking": ASKING,
        "model": sampler.name,
        "identity": sampler.identity,
        "problems": len(problems),
        "prompts_sha256": asked.hexdigest(),
        "top_p": how.top_p,
        "max_tokens": how.max_tokens,
        "seed": how.seed,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    folder = parent / f"{name}-{digest}"
    if not (folder / "settings.json").is_file():
        write_json(folder / "settings.json", settings)
    return folder


def draw(
    sampler: Sampler,
    problems: Mapping[str, Problem],
    how: Drawing,
    path: Path,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Draw what `path` lacks; all rows asked for, in the file's order.

    A row: `task_id, sample_id, completion, temperature, mean_log_prob, num_tokens, is_stopped, seconds` (its share of the
    call that drew it); what is returned has the `line` of the file as well.

    Args:
        progress: called with (samples drawn, samples).

    Raises:
        TonyError: the file cannot be written, or the sampler fails; what was drawn is kept.
    """
    units = [(name, temperature) for temperature in how.temperatures for name in problems]
    rows, length = whole_rows(path) if path.is_file() else ([], 0)
    have: dict[tuple[str, float], list[dict[str, Any]]] = defaultdict(list)
    lines = itertools.count(1)

    def keep(rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            row["line"] = next(lines)
            have[row["task_id"], row["temperature"]].append(row)

    keep(rows)
    done = sum(min(how.n, len(have[unit])) for unit in units)
    todo = [unit for unit in units if len(have[unit]) < how.n]
    if progress:
        progress(done, how.n * len(units))

    def work(call: Sequence[tuple[str, float]]) -> Iterator[list[dict[str, Any]]]:
        (_, temperature), first = call[0], len(have[call[0]])
        before = time.perf_counter()
        drawn = sampler.complete(
            [problems[name].prompt for name, _ in call],
            how.n - first,
            how.max_tokens,
            temperature,
            how.top_p,
            problems[call[0][0]].stops,
            [seed_of(how.seed, name, temperature, first) for name, _ in call],
        )
        for index, group in drawn:
            now = time.perf_counter()
            seconds, before = (now - before) / len(group), now
            yield [_row(call[index][0], temperature, first + i, one, seconds) for i, one in enumerate(group)]

    def alike(unit: tuple[str, float]) -> tuple[float, int, tuple[str, ...]]:
        return unit[1], len(have[unit]), problems[unit[0]].stops

    calls = [
        same[i : i + sampler.together]
        for _, group in itertools.groupby(todo, alike)
        for same in [list(group)]
        for i in range(0, len(same), sampler.together)
    ]

    try:
        with path.open("ab", buffering=0) as file:
            file.truncate(length)  # a line that a full disk cut short
            for rows in _as_finished(work, calls, sampler.parallel):
                file.write(
                    "".join(json.dumps(row) + "\n" for row in rows).encode("ascii")
                )  # one call, so all or none
                keep(rows)
                done += len(rows)
                if progress:
                    progress(done, how.n * len(units))
            os.fsync(file.fileno())
    except OSError as error:
        raise TonyError(
            f"{path}: cannot be written ({error.strerror}). Free some space or choose another folder with --out; "
            "the same command goes on"
        ) from None
    return [row for unit in units for row in have[unit][: how.n]]


def seed_of(seed: int, name: str, temperature: float, first: int) -> int:
    """The seed of one unit, a function of what is drawn and of nothing else; below 2^31, as servers want it."""
    text = f"{seed}\0{name}\0{temperature}\0{first}"
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4], "big") >> 1


def _as_finished(
    work: Callable[[Any], Iterator[list[dict[str, Any]]]], todo: Sequence[Any], parallel: int
) -> Iterator[list[dict[str, Any]]]:
    """What `work` gives on each of `todo`, `parallel` at once, in the order in which it comes."""
    if parallel == 1:
        for one in todo:
            yield from work(one)
        return
    with ThreadPoolExecutor(parallel) as pool:
        waiting, rest = set(), iter(todo)
        try:
            while True:
                while len(waiting) < parallel and (unit := next(rest, None)) is not None:
                    waiting.add(pool.submit(lambda unit=unit: list(work(unit))))
                if not waiting:
                    return
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for one in finished:
                    yield from one.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _row(name: str, temperature: float, number: int, one: Drawn, seconds: float) -> dict[str, Any]:
    return {
        "task_id": name,
        "sample_id": f"T{temperature:g}-{number}",
        "completion": one.text,
        "temperature": temperature,
        "mean_log_prob": one.mean_log_prob,
        "num_tokens": one.num_tokens,
        "is_stopped": one.is_stopped,
        "seconds": round(seconds, 3),
    }
