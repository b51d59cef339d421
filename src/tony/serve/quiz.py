"""The page of a blind quiz: who wrote this text?

The browser is told the opening and the text of the next question and nothing else: no number, name or order of items that
could say which texts are real.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from fastapi import APIRouter, FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tony.serve.errors import ApiError, json_response
from tony.serve.guard import LOCAL_HOSTS
from tony.serve.limits import Limits
from tony.serve.openai import read_json
from tony.serve.web import STUDIO, file_response, files_of, web_app

PAGE = Path(__file__).parent / "quiz_page"
SHARED = ("style.css", "element.js", "icon.svg")  # files of the studio that the page uses too
LIMITS = Limits(body_bytes=4096, body_seconds=10.0)
RATINGS = range(1, 6)


class Quiz(Protocol):
    """What the page asks of a quiz; states are fit for the browser, and None answers a token that was not given out."""

    def begin(self) -> str: ...

    def state(self, token: str) -> dict[str, Any] | None: ...

    def answer(self, token: str, place: int, rating: int) -> dict[str, Any] | None: ...


def create_quiz_app(quiz: Quiz, hosts: frozenset[str] | None = LOCAL_HOSTS) -> FastAPI:
    """The application: the page on / and its API below /quiz/api.

    Args:
        quiz: what is asked and where answers go; called from threads.
        hosts: the names under which the server may be addressed; None for any.
    """
    app = web_app("the quiz is /", hosts)
    app.include_router(quiz_routes(quiz))
    files, shared = files_of(PAGE), {name: STUDIO / name for name in SHARED}

    @app.get("/")
    async def page() -> Response:
        return file_response(files, "index.html")

    @app.get("/quiz/{name}")
    async def page_file(name: str) -> Response:
        return file_response(files, name)

    @app.get("/studio/{name}")
    async def shared_file(name: str) -> Response:
        return file_response(shared, name)

    return app


def quiz_routes(quiz: Quiz) -> APIRouter:
    """Begin, ask where one is, answer."""
    router = APIRouter(prefix="/quiz/api/participants")

    @router.post("")
    async def begin(request: Request) -> Response:
        await read_json(request, LIMITS)  # a page of another site cannot send JSON unasked
        return json_response({"token": await run_in_threadpool(quiz.begin)})

    @router.get("/{token}")
    async def state(token: str) -> Response:
        return _state(await run_in_threadpool(quiz.state, token))

    @router.post("/{token}/answers")
    async def answer(token: str, request: Request) -> Response:
        body = await read_json(request, LIMITS)
        place, rating = _whole(body, "place"), _whole(body, "rating")
        if rating not in RATINGS:
            raise ApiError(f"rating: {rating} is not from 1 to 5", param="rating")
        return _state(await run_in_threadpool(quiz.answer, token, place, rating))

    return router


def _state(state: dict[str, Any] | None) -> Response:
    if state is None:
        raise ApiError("this quiz knows no such participant: begin anew", status=404)
    return json_response(state, headers={"cache-control": "no-store"})


def _whole(body: Any, name: str) -> int:
    value = body.get(name) if isinstance(body, dict) else None
    if type(value) is not int:
        raise ApiError(f"{name}: a whole number is expected", param=name)
    return value
