"""The one thread that touches the model, and the bounded queue in front of it.

The event loop never computes: it hands a job over and awaits its events. Jobs are served in turns, one event
each, so two people who ask at once both see their replies grow; whoever arrives beyond the bound is told to
come back.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator

from tony.serve.errors import ApiError

_log = logging.getLogger("tony.serve")
_END = object()


class Job:
    """One reply in the making: events cross from the worker thread to the loop that asked."""

    def __init__(self, start: Callable[[], Iterator], loop: asyncio.AbstractEventLoop) -> None:
        self._start = start
        self._loop = loop
        self._events: asyncio.Queue = asyncio.Queue()
        self._cancelled = threading.Event()
        self._iterator: Iterator | None = None
        self.began = 0.0

    def cancel(self) -> None:
        """Nobody reads on: the worker closes the iterator before its next event."""
        self._cancelled.set()

    async def events(self) -> AsyncIterator:
        """The events, in order; raises what the job raised."""
        while (event := await self._events.get()) is not _END:
            if isinstance(event, BaseException):
                raise event
            yield event

    def advance(self) -> bool:
        """Make one event (worker thread). True while more may come."""
        try:
            if self._iterator is None:
                self.began = time.monotonic()
                if not self._cancelled.is_set():
                    self._iterator = iter(self._start())
            if self._cancelled.is_set():
                self.close()
                return False
            self._put(next(self._iterator))
            return True
        except StopIteration:
            self._put(_END)
        except Exception as error:
            self._put(error)
        return False

    def close(self) -> None:
        """Stop the reply where it is; the engine frees what it held."""
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()
        self._put(_END)

    def _put(self, event: object) -> None:
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:  # the loop that asked is gone: nobody reads on
            self._cancelled.set()


class Worker:
    """A thread with a bounded queue; at most `together` replies grow in turns, `waiting` more may wait."""

    def __init__(self, waiting: int, together: int = 4) -> None:
        self._bound = waiting + together
        self._together = together
        self._waiting: deque[Job] = deque()
        self._running: deque[Job] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._job_seconds = 1.0  # running mean, for Retry-After

    @property
    def depth(self) -> int:
        """Number of replies being made or waiting."""
        return len(self._waiting) + len(self._running)

    def submit(self, start: Callable[[], Iterator]) -> Job:
        """A queued job whose events are those of the iterator that `start` returns.

        Must be called on the event loop that will read them. Raises ApiError 503 with Retry-After when the
        queue is full or the server is stopping.
        """
        job = Job(start, asyncio.get_running_loop())
        with self._changed:
            if self._stopping:
                raise ApiError("the server is stopping", status=503, headers={"Retry-After": "5"})
            if self.depth >= self._bound:
                seconds = max(1, min(60, round(self._job_seconds * self.depth)))
                raise ApiError(
                    f"{self.depth} requests are already waiting: try again in {seconds} s",
                    status=503,
                    code="overloaded",
                    headers={"Retry-After": str(seconds)},
                )
            self._waiting.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="tony-engine", daemon=True)
                self._thread.start()
            self._changed.notify()
        return job

    def stop(self, timeout: float = 5.0) -> None:
        """Cancel what is left and end the thread."""
        with self._changed:
            self._stopping = True
            for job in (*self._running, *self._waiting):
                job.cancel()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._running:
                    if self._stopping:
                        return
                    self._changed.wait()
                while self._waiting and len(self._running) < self._together:
                    self._running.append(self._waiting.popleft())
                job = self._running[0]
            more = False
            try:
                more = job.advance()
            except Exception:  # closing an iterator may fail too: the thread must outlive it
                _log.exception("a reply could not be closed")
            with self._changed:
                self._running.popleft()
                if more:
                    self._running.append(job)
                else:
                    self._job_seconds += 0.2 * (time.monotonic() - job.began - self._job_seconds)
