"""`tony <verb>`: one file a verb; a verb parses, calls and reports."""

from tony.cli.main import main

__all__ = ["main"]
