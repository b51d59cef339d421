"""The API and the studio as one web application, and the server around it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response

from tony.serve.errors import json_response
from tony.serve.guard import LOCAL_HOSTS
from tony.serve.limits import Limits
from tony.serve.openai import openai_routes
from tony.serve.run_pages import run_routes
from tony.serve.server import hosts_of, reserve, run_server
from tony.serve.web import STUDIO, file_response, files_of, web_app
from tony.serve.worker import Worker


def create_app(
    omni: Any,
    run_path: str | Path | None = None,
    limits: Limits | None = None,
    hosts: frozenset[str] | None = LOCAL_HOSTS,
) -> FastAPI:
    """The application: the API below /v1, /health, and the studio on /.

    Args:
        omni: the model; only the worker thread calls it.
        run_path: the run folder that the studio's second tab shows.
        limits: how much one caller may ask for.
        hosts: the names under which the server may be addressed; None for any.
    """
    limits = limits or Limits()
    worker = Worker(limits.waiting)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        worker.stop()

    app = web_app("the API is below /v1, the studio is /", hosts, lifespan)
    app.state.worker = worker

    @app.get("/health")
    async def health() -> Response:
        return json_response({"status": "ok", "model": omni.name, "requests": worker.depth})

    app.include_router(openai_routes(omni, worker, limits))
    app.include_router(run_routes(omni, None if run_path is None else Path(run_path)))

    files = files_of(STUDIO)

    @app.get("/")
    async def studio() -> Response:
        return file_response(files, "index.html")

    @app.get("/studio/{name:path}")
    async def studio_file(name: str) -> Response:
        return file_response(files, name)

    return app


def serve(
    omni: Any,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    run_path: str | Path | None = None,
    limits: Limits | None = None,
    reserved: socket.socket | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve `omni` until interrupted; `on_ready` gets the address of the studio once it answers.

    `reserved` is a socket from `reserve`, where the port was taken before the model was made. A server that
    only this machine reaches answers to the names of this machine only; one that listens on other
    addresses answers to any name, and has no password: put it behind something that has.

    Raises:
        TonyError: the port is in use, before anything starts.
    """
    sock = reserved or reserve(host, port)
    run_server(create_app(omni, run_path, limits, hosts_of(sock, host)), sock, on_ready)
