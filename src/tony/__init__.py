"""Tony trains one autoregressive transformer on everything a person has, and lets them talk to it.

import tony
omni = tony.load("runs/digits")
reply = omni.reply(tony.Document([tony.Text("seven")]), want=("image", "audio"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tony.errors import TonyError

if TYPE_CHECKING:
    from tony.engine.omni import Omni
    from tony.media.document import Audio, Document, Image, Text, Video

__version__ = "0.1.0"
__all__ = ["Audio", "Document", "Image", "Text", "TonyError", "Video", "load"]


def __getattr__(name: str) -> Any:
    """The kinds of parts, on first use (PEP 562): they need numpy, which `tony --help` does without."""
    if name not in __all__:
        raise AttributeError(f"module 'tony' has no attribute {name!r}")
    from tony.media import document

    return getattr(document, name)


def load(path: str) -> Omni:
    """The finished model in run folder `path`, ready to reply, stream and score."""
    from tony.engine.omni import Omni  # torch is imported here, not with `import tony`

    return Omni.load(path)
