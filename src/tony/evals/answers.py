"""Many requests answered at once by copies of a model in processes of their own.

The matrices of a model that two cores train are too small to divide: two processes of one thread each answer nearly
twice as fast as one of two threads.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Protocol

from tony.engine import Omni
from tony.media import Document

TOGETHER = 84  # requests in one job
MOST_PROCESSES = 8  # each holds the model


class Question(Protocol):
    """What is asked: a prompt, and the parts that should come back."""

    prompt: Document
    want: Sequence[str]


class Answers:
    """The replies of `omni`, computed in this process or, with an executor, in others."""

    def __init__(self, omni: Omni, executor: ProcessPoolExecutor | None = None, ahead: int = 1) -> None:
        self._omni, self._executor, self._ahead = omni, executor, ahead

    def each(
        self, sets: Iterable[tuple[Sequence[Question], int]]
    ) -> Iterator[tuple[Sequence[Question], list[Document]]]:
        """Each set of questions with its replies, in order; the i-th question of a set has random stream `seed + i`.

        Args:
            sets: pairs of questions and seed, taken from the iterable no sooner than they are needed.
        """
        waiting: list[tuple[Sequence[Question], list[Future | list[Document]]]] = []
        sets = iter(sets)
        while True:
            for questions, seed in islice(sets, self._ahead + 1 - len(waiting)):
                waiting.append((questions, self._begin(questions, seed)))
            if not waiting:
                return
            questions, jobs = waiting.pop(0)
            done = [job.result() if isinstance(job, Future) else job for job in jobs]
            yield questions, [reply for replies in done for reply in replies]

    def _begin(self, questions: Sequence[Question], seed: int) -> list[Future | list[Document]]:
        jobs: list[Future | list[Document]] = []
        for first in range(0, len(questions), TOGETHER):
            part = questions[first : first + TOGETHER]
            work = ([q.prompt for q in part], [q.want for q in part], seed + first)
            jobs.append(
                self._executor.submit(_answer, *work) if self._executor else _replies(self._omni, *work)
            )
        return jobs


@contextmanager
def answers_of(omni: Omni, processes: int | None = None) -> Iterator[Answers]:
    """The answers of a model: by `processes` (one a core) where it lives in a run folder and on a CPU, else by this one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    processes = processes or min(cores, MOST_PROCESSES)
    if processes == 1 or omni.run is None or omni.engine.device.type != "cpu":
        yield Answers(omni, ahead=0)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        processes, context, initializer=_begin_process, initargs=(str(omni.run.path),)
    ) as executor:
        try:
            yield Answers(omni, executor, ahead=processes)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


_omni: Omni | None = None  # of a process that answers


def _begin_process(run: str) -> None:
    import torch

    global _omni
    _omni = Omni.load(run)
    torch.set_num_threads(1)


def _answer(prompts: list[Document], wants: list[Sequence[str]], seed: int) -> list[Document]:
    assert _omni is not None
    return _replies(_omni, prompts, wants, seed)


def _replies(omni: Omni, prompts: list[Document], wants: list[Sequence[str]], seed: int) -> list[Document]:
    return omni.replies(prompts, wants, seed=seed)
