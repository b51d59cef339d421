"""The OpenAI-compatible endpoints: models and chat completions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tony.errors import TonyError
from tony.serve.answer import Answer, Sounds
from tony.serve.errors import ApiError, dumps, json_response
from tony.serve.limits import Limits
from tony.serve.request import parse_chat
from tony.serve.worker import Job, Worker

KEEP_ALIVE_SECONDS = 15.0

_log = logging.getLogger("tony.serve")


def openai_routes(omni: Any, worker: Worker, limits: Limits) -> APIRouter:
    """Routes below /v1 that answer with `omni`, which only `worker` touches."""
    router = APIRouter(prefix="/v1")
    sounds = Sounds(limits.remembered_sounds, limits.sound_lifetime_seconds)
    card = {"id": omni.name, "object": "model", "created": int(omni.created), "owned_by": "tony"}

    @router.get("/models")
    async def models() -> Response:
        return json_response({"object": "list", "data": [card]})

    @router.get("/models/{name:path}")
    async def model(name: str) -> Response:
        _check_model(name, omni.name)
        return json_response(card)

    @router.post("/chat/completions")
    async def chat_completions(request: Request) -> Response:
        body = await read_json(request, limits)
        if isinstance(body, dict) and isinstance(body.get("model"), str) and body["model"]:
            _check_model(body["model"], omni.name)
        chat = await run_in_threadpool(parse_chat, body, limits, sounds.find)
        answer = Answer(omni, chat, sounds)
        headers = {"x-tony-ignored": ", ".join(chat.ignored)} if chat.ignored else {}
        job = worker.submit(answer.chunks if chat.stream else answer.whole)
        try:
            if not chat.stream:
                return json_response(await _whole(job, request.receive), headers=headers)
            events = job.events()
            if (first := await _until_gone(anext(events, None), request.receive)) is None:
                raise _stopping()
        except BaseException as error:
            job.cancel()
            if isinstance(error, TonyError):
                raise ApiError(str(error)) from None
            raise
        return EventStream(job, first, events, headers)

    return router


def _check_model(asked: str, name: str) -> None:
    if asked != name:
        raise ApiError(
            f"there is no model {asked!r} here: this server has {name!r}",
            status=404,
            param="model",
            code="model_not_found",
        )


# --- the body ---------------------------------------------------------------------------------------------


async def read_json(request: Request, limits: Limits) -> Any:
    """The JSON value of the body; its size is checked while it is read.

    Asking for application/json also means that a page of another site cannot send the request unseen: for
    that type, browsers ask first (and are refused).
    """
    content_type = request.headers.get("content-type", "")
    mime = content_type.partition(";")[0].strip().lower()
    if mime != "application/json":
        raise ApiError(f"Content-Type is {mime[:60]!r}: send application/json")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError("Content-Encoding is not supported: send the JSON uncompressed")
    try:
        async with asyncio.timeout(limits.body_seconds):
            data = await _read(request, limits.body_bytes)
    except TimeoutError:
        raise ApiError(
            f"the body did not arrive within {limits.body_seconds:g} s: send it faster", status=408
        ) from None
    except ClientDisconnect:
        raise ApiError("the connection was closed before the body was whole") from None
    try:
        return await run_in_threadpool(json.loads, data)
    except RecursionError:
        raise ApiError("the body is nested too deeply: send a chat completion request") from None
    except ValueError as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "not UTF-8 or a number too long"
        raise ApiError(f"the body is not valid JSON: {reason}") from None


async def _read(request: Request, limit: int) -> bytes:
    too_large = ApiError(
        f"the body is larger than {limit} bytes ({limit / 2**20:g} MiB): send smaller or fewer files",
        status=413,
    )
    data, received = bytearray(), 0
    announced = request.headers.get("content-length", "")
    refused = announced.isdigit() and int(announced) > limit
    async for piece in request.stream():
        received += len(piece)
        refused = refused or received > limit
        # What follows is thrown away: closing at once would reset the connection and the client would
        # never see why. A client that sends several times the limit is cut off all the same.
        if received > 4 * limit:
            break
        if refused:
            data.clear()
        else:
            data += piece
    if refused:
        raise too_large
    return bytes(data)


# --- the answer -------------------------------------------------------------------------------------------


def _stopping() -> ApiError:
    return ApiError("the server is stopping: try again in a moment", status=503, headers={"Retry-After": "5"})


async def _gone(receive: Receive) -> None:
    """Returns when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _until_gone(awaitable: Any, receive: Receive) -> Any:
    """What `awaitable` gives; raises ClientDisconnect when the client leaves before that."""
    work = asyncio.ensure_future(awaitable)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ApiError("the client closed the connection")
        return work.result()
    finally:
        for task in (work, gone):
            task.cancel()


async def _whole(job: Job, receive: Receive) -> Any:
    """The last event of `job`: the whole answer."""

    async def last() -> Any:
        made = [event async for event in job.events()]
        if not made:
            raise _stopping()
        return made[-1]

    return await _until_gone(last(), receive)


class EventStream(Response):
    """Server-sent events of one job; cancels the job as soon as nobody reads on."""

    def __init__(self, job: Job, first: dict, events: AsyncIterator[dict], headers: dict[str, str]) -> None:
        super().__init__(headers={**headers, "cache-control": "no-store"}, media_type="text/event-stream")
        del self.headers["content-length"]
        self._job = job
        self._first = first
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_gone(receive))
        lines = self._lines()
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while not gone.done():
                line = asyncio.ensure_future(anext(lines, None))
                await asyncio.wait({line, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not line.done():
                    line.cancel()
                    break
                if (text := line.result()) is None:
                    break
                await send({"type": "http.response.body", "body": text.encode("ascii"), "more_body": True})
            if not gone.done():
                await send({"type": "http.response.body", "body": b""})
        except OSError:  # the connection broke between two events
            pass
        finally:
            self._job.cancel()
            gone.cancel()
            with contextlib.suppress(RuntimeError, asyncio.CancelledError):
                await lines.aclose()

    async def _lines(self) -> AsyncIterator[str]:
        """The text of each event, comments while there is none, an error object when the job fails."""
        yield f"data: {dumps(self._first)}\n\n"
        waiting: asyncio.Future | None = None
        try:
            while True:
                waiting = waiting or asyncio.ensure_future(anext(self._events, None))
                done, _ = await asyncio.wait({waiting}, timeout=KEEP_ALIVE_SECONDS)
                if not done:
                    yield ": keep-alive\n\n"
                    continue
                event, waiting = waiting.result(), None
                if event is None:
                    break
                yield f"data: {dumps(event)}\n\n"
            yield "data: [DONE]\n\n"
        except Exception as error:
            yield f"data: {dumps(_in_words(error).body())}\n\n"
        finally:
            if waiting is not None:
                waiting.cancel()


def _in_words(error: Exception) -> ApiError:
    """The error object for a stream that has begun: its HTTP status can no longer change."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, TonyError):
        return ApiError(str(error))
    _log.error("a stream failed", exc_info=error)
    return ApiError("the server failed while it was answering: its log has the details", status=500)
