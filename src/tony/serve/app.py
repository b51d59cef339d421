"""The web application and the server around it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from tony.errors import TonyError
from tony.serve.errors import ApiError, json_response
from tony.serve.guard import LOCAL_HOSTS, Guard
from tony.serve.limits import Limits
from tony.serve.openai import openai_routes
from tony.serve.run_pages import run_routes
from tony.serve.worker import Worker

STUDIO = Path(__file__).parent / "studio"
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


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

    # FastAPI's own pages load scripts from elsewhere: off.
    app = FastAPI(title="Tony", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.worker = worker
    app.add_middleware(Guard, hosts=hosts)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)

    @app.get("/health")
    async def health() -> Response:
        return json_response({"status": "ok", "model": omni.name, "requests": worker.depth})

    app.include_router(openai_routes(omni, worker, limits))
    app.include_router(run_routes(omni, None if run_path is None else Path(run_path)))

    # A fixed list of files: no path of a request ever reaches the file system.
    files = {path.relative_to(STUDIO).as_posix(): path for path in STUDIO.rglob("*") if path.is_file()}

    @app.get("/")
    async def studio() -> Response:
        return _file(files, "index.html")

    @app.get("/studio/{name:path}")
    async def studio_file(name: str) -> Response:
        return _file(files, name)

    return app


def _file(files: dict[str, Path], name: str) -> Response:
    path = files.get(name)
    if path is None or path.suffix not in MEDIA_TYPES:
        raise ApiError(f"the studio has no file {name[:80]!r}", status=404)
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers={"cache-control": "no-cache"})


async def _api_error(_: Request, error: ApiError) -> Response:
    return error.response()


async def _http_error(request: Request, error: HTTPException) -> Response:
    path = request.url.path[:120]
    if error.status_code == 404:
        message = f"there is nothing at {path}: the API is below /v1, the studio is /"
    elif error.status_code == 405:
        message = (
            f"{request.method} is not possible at {path}: use {(error.headers or {}).get('Allow', 'GET')}"
        )
    else:
        message = str(error.detail)
    return ApiError(message, status=error.status_code, headers=dict(error.headers or {})).response()


async def _validation_error(_: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return ApiError(f"{name}: {first['msg']} (received {first.get('input')!r:.60})", param=name).response()


def reserve(host: str = "127.0.0.1", port: int = 8000) -> socket.socket:
    """A socket that holds `port` of `host`, not listening yet: take it before long work starts.

    Raises:
        TonyError: the port is in use or not allowed, or the host is not of this machine.
    """
    if not 0 <= port <= 65535:
        raise TonyError(f"port {port} does not exist: choose one from 1024 to 65535, such as --port 8000")
    try:
        return _bound(host, port)
    except socket.gaierror:
        raise TonyError(f"host {host!r} is not known: use --host 127.0.0.1") from None
    except PermissionError:
        raise TonyError(f"port {port} needs special rights: choose another with --port 8000") from None
    except OSError as error:
        if error.errno in (98, 48, 10048):  # EADDRINUSE on Linux, macOS, Windows
            other = next((p for p in range(port + 1, min(port + 100, 65536)) if _is_free(host, p)), 0)
            raise TonyError(f"port {port} is in use: choose another with --port {other}") from None
        raise TonyError(
            f"cannot listen on {host} ({error.strerror}): use --host 127.0.0.1, or an address of this machine"
        ) from None


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _is_free(host: str, port: int) -> bool:
    try:
        _bound(host, port).close()
    except OSError:
        return False
    return True


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
    import uvicorn

    sock = reserved or reserve(host, port)
    bound_host, bound_port = sock.getsockname()[:2]
    is_local = bound_host in ("127.0.0.1", "::1")
    hosts = LOCAL_HOSTS | {host.lower()} if is_local else None
    app = create_app(omni, run_path, limits, hosts)
    shown = f"[{bound_host}]" if ":" in bound_host else bound_host
    url = f"http://{'127.0.0.1' if shown in ('0.0.0.0', '[::]') else shown}:{bound_port}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if on_ready is not None and self.started:
                on_ready(url)

    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3)
    try:
        Server(config).run(sockets=[sock])
    finally:
        sock.close()
