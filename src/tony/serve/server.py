"""The server around an application: its port, taken before long work starts, and its life."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from tony.errors import TonyError
from tony.serve.guard import LOCAL_HOSTS

if TYPE_CHECKING:
    from fastapi import FastAPI


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


def hosts_of(sock: socket.socket, host: str) -> frozenset[str] | None:
    """The names under which a server on `sock` may be addressed: those of this machine where only it reaches the
    server, else any (None)."""
    is_local = sock.getsockname()[0] in ("127.0.0.1", "::1")
    return LOCAL_HOSTS | {host.lower()} if is_local else None


def run_server(app: FastAPI, sock: socket.socket, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve `app` on `sock` until interrupted; `on_ready` gets the address once it answers. The socket is closed."""
    import uvicorn

    bound_host, bound_port = sock.getsockname()[:2]
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
