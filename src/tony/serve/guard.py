"""What every request passes first: who may ask, what is always sent back, and what a crash looks like.

Plain ASGI, outermost, so that it also covers answers that the framework itself makes.
"""

from __future__ import annotations

import logging
import uuid
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

from tony.serve.errors import ApiError

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

# The studio is plain files of our own: nothing else may be loaded, and sounds and pictures may come
# from the reply itself (data:) or from what the person has just recorded (blob:).
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_log = logging.getLogger("tony.serve")


def host_name(value: str) -> str:
    """The name in a Host header: lower case, without port and brackets; "" where it makes no sense."""
    try:
        return (urlsplit(f"//{value}").hostname or "").rstrip(".")
    except ValueError:
        return ""


class Guard:
    """ASGI middleware: Host and Origin checks, x-request-id, security headers, crashes in words.

    `hosts` are the names under which the server may be addressed, None for any. A server on the loopback
    address must check them: a page of another site whose name was re-pointed to 127.0.0.1 (DNS rebinding)
    is same-origin for the browser, and only its Host header gives it away.
    """

    def __init__(self, app, hosts: frozenset[str] | None = LOCAL_HOSTS) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
                return
            await self.app(scope, receive, send)
            return
        request_id = f"req_{uuid.uuid4().hex}"
        started = False

        async def send_with_headers(message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["x-content-type-options"] = "nosniff"
                headers["referrer-policy"] = "no-referrer"
                headers["content-security-policy"] = CONTENT_SECURITY_POLICY
            await send(message)

        try:
            self._check(scope)
            await self.app(scope, receive, send_with_headers)
        except ApiError as error:
            await error.response()(scope, receive, send_with_headers)
        except Exception:
            _log.exception("%s %s failed (%s)", scope["method"], scope["path"], request_id)
            if started:
                raise
            error = ApiError(
                f"the server failed on this request: its log has the details under {request_id}", status=500
            )
            await error.response()(scope, receive, send_with_headers)

    def _check(self, scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.hosts is not None and host_name(host) not in self.hosts:
            raise ApiError(
                f"this server does not answer to the host name {host!r}: "
                f"use one of {', '.join(sorted(self.hosts))}",
                status=403,
                code="host_not_allowed",
            )
        # A page of another site may send requests although it cannot read the answers: refuse those too.
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise ApiError(
                f"requests from pages of {origin!r} are refused: call the API from a program, "
                f"or from a page of this server",
                status=403,
                code="origin_not_allowed",
            )
