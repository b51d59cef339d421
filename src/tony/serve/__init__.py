"""The OpenAI-compatible API and the studio: one model, served to programs and to people."""

from tony.serve.app import create_app, serve
from tony.serve.limits import Limits
from tony.serve.server import reserve

__all__ = ["Limits", "create_app", "reserve", "serve"]
