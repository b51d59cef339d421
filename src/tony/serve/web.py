"""What every page of Tony's is served by: an application that answers mistakes in words, and fixed lists of files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from tony.serve.errors import ApiError
from tony.serve.guard import LOCAL_HOSTS, Guard

STUDIO = Path(__file__).parent / "studio"
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def web_app(
    map_of_places: str,
    hosts: frozenset[str] | None = LOCAL_HOSTS,
    lifespan: Callable[[FastAPI], Any] | None = None,
) -> FastAPI:
    """An application without routes, behind the guard.

    Args:
        map_of_places: what is where, told to whoever asks for what is not there.
        hosts: the names under which the server may be addressed; None for any.
        lifespan: as FastAPI has it.
    """
    # FastAPI's own pages load scripts from elsewhere: off.
    app = FastAPI(title="Tony", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, hosts=hosts)

    async def http_error(request: Request, error: HTTPException) -> Response:
        path = request.url.path[:120]
        if error.status_code == 404:
            message = f"there is nothing at {path}: {map_of_places}"
        elif error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "GET")
            message = f"{request.method} is not possible at {path}: use {allowed}"
        else:
            message = str(error.detail)
        return ApiError(message, status=error.status_code, headers=dict(error.headers or {})).response()

    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    return app


def files_of(folder: Path) -> dict[str, Path]:
    """The files of a page by name: a fixed list, so no path of a request ever reaches the file system."""
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def file_response(files: dict[str, Path], name: str) -> Response:
    """One of `files`.

    Raises:
        ApiError: there is none of that name (status 404).
    """
    path = files.get(name)
    if path is None or path.suffix not in MEDIA_TYPES:
        raise ApiError(f"the page has no file {name[:80]!r}", status=404)
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers={"cache-control": "no-cache"})


async def _api_error(_: Request, error: ApiError) -> Response:
    return error.response()


async def _validation_error(_: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return ApiError(f"{name}: {first['msg']} (received {first.get('input')!r:.60})", param=name).response()
