"""The OpenAI error object, and JSON bodies that never fail to encode."""

from __future__ import annotations

import json

from starlette.responses import Response

# What the official clients switch on, by HTTP status.
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "overloaded_error",
}


class ApiError(Exception):
    """A request that is answered with an error object instead of a reply."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.headers = headers or {}

    def body(self) -> dict:
        """The error object: `{"error": {message, type, param, code}}`."""
        return {
            "error": {
                "message": str(self),
                "type": ERROR_TYPES.get(self.status, "invalid_request_error"),
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> Response:
        """The whole HTTP answer."""
        return json_response(self.body(), self.status, self.headers)


def dumps(value: object) -> str:
    """One line of pure-ASCII JSON: a lone surrogate in a quoted value cannot break the answer."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def json_response(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`value` as an `application/json` answer."""
    return Response(dumps(value), status, headers, media_type="application/json")
